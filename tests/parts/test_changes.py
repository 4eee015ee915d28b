"""Long polls: never lost, woken after the commit, gone when cancelled."""

import asyncio

import pytest
from polls import LONG_MS, A, B, assert_nothing_is_kept, now, on_a_loop, start_hub

from conduitstore import InvalidArgumentError, changes
from conduitstore.engine import Batch

ROOM, OTHER = "!r:one.test", "!other:one.test"
SHORT_MS = 30


@pytest.fixture
def joined(store, message):
    """A is in ROOM, which has an event; B is in OTHER, which has one too."""
    store.users.create(A, None)
    store.devices.create(A, "D", "token")
    store.rooms.members.mark_joined(A, ROOM)
    store.rooms.members.mark_joined(B, OTHER)
    store.rooms.append(message(0, type="m.room.encryption", state_key=""), "$0", ROOM)
    store.rooms.timeline.append(message(0, room=OTHER), "$1", OTHER)
    return store


def receipt(user):
    return {"type": "m.receipt", "content": {"$0": {"m.read": {user: {"ts": 1}}}}}


def count(*counted):
    """Counters go with the event they count, which draws the count."""

    def run(tx):
        tx.globals.draw()
        tx.rooms.user_counters.increment(ROOM, *counted)

    return run


WRITES = {
    "to-device": lambda s, _: s.to_device.queue(B, A, "D", "t", {}),
    "to-device fan-out": lambda s, _: s.to_device.queue_many(B, "t", {B: {"X": {}}, A: {"D": {}}}),
    "event": lambda s, message: s.rooms.timeline.append(message(5), "$5", ROOM),
    "receipt": lambda s, _: s.rooms.receipts.update(B, ROOM, receipt(B)),
    "one-time keys": lambda s, _: s.one_time_keys.add(A, "D", {"x:1": {}}),
    "own keys": lambda s, _: s.key_changes.mark(A),
    "keys in the room": lambda s, _: (
        s.rooms.members.mark_joined(B, ROOM),
        s.key_changes.mark(B),
    ),
    "state": lambda s, _: s.rooms.state.set_current(ROOM, s.rooms.state_compressor.save({})),
    "account data": lambda s, _: s.account_data.update(None, A, "t", {}),
    "room account data": lambda s, _: s.account_data.update(ROOM, A, "t", {}),
    "join": lambda s, _: s.rooms.members.mark_joined(A, OTHER),
    "invite": lambda s, _: s.rooms.members.mark_invited(A, OTHER),
    "knock": lambda s, _: s.rooms.members.mark_knocked(A, OTHER),
    "leave": lambda s, _: s.rooms.members.mark_left(A, ROOM),
    "private marker": lambda s, _: s.rooms.receipts.set_private_read(A, ROOM, 1),
    "private marker of a thread": lambda s, _: s.rooms.receipts.set_private_read(A, ROOM, 1, "$t"),
    "counter": lambda s, _: s.transaction(count([A], [])),
    "highlight": lambda s, _: s.transaction(count([], [A])),
    "counter of a thread": lambda s, _: s.transaction(count([A], [], "$t")),
    "highlight of a thread": lambda s, _: s.transaction(count([], [A], "$t")),
    "reading": lambda s, _: s.rooms.user_counters.reset(A, ROOM),
    "typing": lambda s, _: s.typing.add(B, ROOM, LONG_MS),
    "transaction": lambda s, _: s.transaction(lambda tx: tx.to_device.queue(B, A, "D", "t", {})),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
@on_a_loop
async def test_what_wakes(joined, message, write):
    await start_hub(joined)
    # While waiting.
    waiting = joined.changes.wait(A, "D", now(joined), LONG_MS)
    await asyncio.to_thread(write, joined, message)
    assert await waiting is True
    assert_nothing_is_kept(joined)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
@on_a_loop
async def test_what_was_written_before_waiting_is_not_missed(joined, message, write):
    await start_hub(joined)
    since = now(joined)
    write(joined, message)
    assert await joined.changes.wait(A, "D", since, LONG_MS) is True
    assert await joined.changes.wait(A, "D", now(joined), SHORT_MS) is False
    assert_nothing_is_kept(joined)


@on_a_loop
async def test_defect_16_registration_happens_at_the_call(joined, message):
    await start_hub(joined)
    waiting = joined.changes.wait(A, "D", now(joined), LONG_MS)
    joined.rooms.timeline.append(message(5), "$5", ROOM)  # Nothing was awaited in between.
    assert await waiting is True


@on_a_loop
async def test_what_does_not_concern_the_user_does_not_wake(joined, message):
    await start_hub(joined)
    waiting = joined.changes.wait(A, "D", now(joined), SHORT_MS)
    joined.rooms.timeline.append(message(5, room=OTHER), "$5", OTHER)
    joined.rooms.receipts.update(B, OTHER, receipt(B))
    joined.to_device.queue(A, A, "D2", "t", {})
    joined.to_device.queue(A, "@a:one.tests", "D", "t", {})
    joined.account_data.update(ROOM, B, "t", {})
    joined.rooms.members.mark_left(B, OTHER)
    joined.rooms.user_counters.increment(ROOM, [B], [B])
    joined.typing.add(B, OTHER, 1_000)
    joined.users.set_displayname(A, "x")
    assert await waiting is False
    assert_nothing_is_kept(joined)


@on_a_loop
async def test_what_was_seen_does_not_wake_because_others_wrote_since(joined, message):
    await start_hub(joined)
    joined.to_device.queue(B, A, "D", "t", {})
    joined.rooms.append(message(4), "$4", ROOM)
    joined.rooms.receipts.update(B, ROOM, receipt(B))
    joined.key_changes.mark(A)
    since = now(joined)
    joined.rooms.append(message(5, room=OTHER), "$5", OTHER)
    assert now(joined) > since
    waiting = joined.changes.wait(A, "D", since, LONG_MS)
    assert not waiting.done()
    waiting.cancel()
    assert joined.changes.wait(A, "D", since - 1, LONG_MS).done()


@on_a_loop
async def test_those_who_are_not_concerned_go_on_waiting(joined):
    await start_hub(joined)
    since = now(joined)
    first, second = (joined.changes.wait(user, "D", since, LONG_MS) for user in (A, B))
    joined.to_device.queue(B, A, "D", "t", {})
    assert await first is True
    assert not second.done()
    joined.to_device.queue(A, B, "D", "t", {})
    assert await second is True


@on_a_loop
async def test_defect_16_batches_increments_and_removals_wake(joined):
    await start_hub(joined)
    waiting = joined.changes.wait(A, "D", now(joined), LONG_MS)
    joined.transaction(count([A], []))
    assert await waiting is True
    joined.to_device.queue(B, A, "D", "t", {})
    waiting = joined.changes.wait(A, "D", now(joined), LONG_MS)
    joined.to_device.forget_until(A, "D", now(joined))
    assert await waiting is True
    waiting = joined.changes.wait(A, "D", now(joined), LONG_MS)
    key = f"{A}\xff{ROOM}".encode("latin1")
    joined.db.apply_batch(Batch().insert("userroomid_invitestate", key, b"[]"))
    assert await waiting is True


@on_a_loop
async def test_keys_that_are_not_ours_disturb_nobody(joined):
    await start_hub(joined)
    waiting = joined.changes.wait(A, "D", now(joined), LONG_MS)
    joined.db.open_tree("todeviceid_events").insert(b"no such shape", b"")
    joined.to_device.queue(B, A, "D", "t", {})
    assert await waiting is True


@on_a_loop
async def test_a_waiter_that_joins_a_room_is_woken_and_then_waits_for_it(joined, message):
    await start_hub(joined)
    waiting = joined.changes.wait(A, "D", now(joined), LONG_MS)
    joined.rooms.members.mark_joined(A, OTHER)
    assert await waiting is True
    waiting = joined.changes.wait(A, "D", now(joined), LONG_MS)
    joined.rooms.timeline.append(message(5, room=OTHER), "$5", OTHER)
    assert await waiting is True


@on_a_loop
async def test_the_first_event_of_a_room_wakes(store, message):
    store.rooms.members.mark_joined(A, ROOM)
    await start_hub(store)
    waiting = store.changes.wait(A, "D", now(store), LONG_MS)
    store.rooms.timeline.append(message(0), "$0", ROOM)
    assert await waiting is True


@on_a_loop
async def test_what_came_before_the_hub_counts_as_changed(joined):
    assert await joined.changes.wait(A, "D", now(joined) - 1, LONG_MS) is True
    assert await joined.changes.wait(A, "D", now(joined), 0) is False


@on_a_loop
async def test_a_timeout_is_no_change(joined):
    await start_hub(joined)
    for timeout_ms in (-5, 0, SHORT_MS):
        assert await joined.changes.wait(A, "D", now(joined), timeout_ms) is False
    assert_nothing_is_kept(joined)


@on_a_loop
async def test_cancelling_frees_everything(joined):
    await start_hub(joined)
    waiting = [joined.changes.wait(user, "D", now(joined), LONG_MS) for user in (A, A, B)]
    hub = joined.changes
    assert {len(waiters) for waiters in hub._waiters.values()} == {1, 2}
    task = asyncio.ensure_future(asyncio.wait_for(waiting[0], 60))
    await asyncio.sleep(0)
    task.cancel()
    for future in waiting[1:]:
        future.cancel()
    await asyncio.gather(task, *waiting, return_exceptions=True)
    assert_nothing_is_kept(joined)
    joined.to_device.queue(B, A, "D", "t", {})
    assert_nothing_is_kept(joined)


@on_a_loop
async def test_a_queue_that_overflows_wakes_everybody(joined, monkeypatch):
    monkeypatch.setattr(changes, "EVENTS_QUEUED_MAX", 4)
    await start_hub(joined)
    since = now(joined)
    waiting = [joined.changes.wait(user, "D", since, LONG_MS) for user in (A, B)]
    joined.to_device.queue_many(B, "t", {"@c:x": {f"D{n}": {} for n in range(9)}})
    assert await asyncio.gather(*waiting) == [True, True]
    # Nobody knows what was dropped, so it concerns everyone who has not seen it.
    assert await joined.changes.wait(A, "D", since, LONG_MS) is True
    assert await joined.changes.wait(A, "D", now(joined), 0) is False


@on_a_loop
async def test_what_is_remembered_is_bounded(joined, monkeypatch):
    monkeypatch.setattr(changes, "TOPICS_REMEMBERED_MAX", 10)
    await start_hub(joined)
    since = now(joined)
    for n in range(30):
        joined.account_data.update(None, f"@{n}:x", "t", {})
        await joined.changes.wait(B, "D", now(joined), 0)
    assert len(joined.changes._newest) <= 10
    assert await joined.changes.wait(A, "D", since, LONG_MS) is True  # Spurious, never lost.
    assert await joined.changes.wait(A, "D", now(joined), 0) is False


@on_a_loop
async def test_device_ids_of_any_length(joined):
    device = "D" * 300
    await start_hub(joined)
    waiting = joined.changes.wait(A, device, now(joined), LONG_MS)
    joined.to_device.queue(B, A, device, "t", {})
    assert await waiting is True


@on_a_loop
async def test_closing_the_store_ends_the_wait(joined):
    waiting = joined.changes.wait(A, "D", now(joined), LONG_MS)
    joined.close()
    assert await waiting is False
    assert_nothing_is_kept(joined)


@on_a_loop
async def test_closing_the_engine_ends_nothing_badly(joined):
    await start_hub(joined)
    waiting = joined.changes.wait(A, "D", now(joined), SHORT_MS)
    joined.to_device.queue(B, A, "D", "t", {})
    joined.db.close()
    assert await waiting in (True, False)


def test_waiting_needs_a_loop(joined):
    with pytest.raises(InvalidArgumentError, match="event loop"):
        joined.changes.wait(A, "D", 0, 0)


@pytest.mark.parametrize("timeout_ms", [float("nan"), "5", None, True, b"5"])
@on_a_loop
async def test_a_timeout_that_is_none(joined, timeout_ms):
    await start_hub(joined)
    with pytest.raises(InvalidArgumentError):
        joined.changes.wait(A, "D", now(joined), timeout_ms)
    assert_nothing_is_kept(joined)


@pytest.mark.parametrize("timeout_ms", [float("inf"), 10**400])
@on_a_loop
async def test_a_timeout_longer_than_a_loop_can_wait(joined, timeout_ms):
    await start_hub(joined)
    waiting = joined.changes.wait(A, "D", now(joined), timeout_ms)
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.sleep(0)
    assert_nothing_is_kept(joined)


@pytest.mark.parametrize("since", [-1, True, "5", None, float("nan"), 1 << 64])
@on_a_loop
async def test_a_since_token_that_is_none(joined, since):
    with pytest.raises(InvalidArgumentError):
        joined.changes.wait(A, "D", since, SHORT_MS)
    assert_nothing_is_kept(joined)


def test_a_loop_closed_with_waiters_on_it_is_forgotten(joined):
    async def wait_and_leave():
        joined.changes.wait(A, "D", now(joined), LONG_MS)
        joined.changes.wait(B, "D", now(joined), LONG_MS)

    asyncio.run(start_hub(joined))
    for _ in range(3):
        asyncio.run(wait_and_leave())
        assert len(joined.changes._loops) == 1  # The newest: nobody has looked since.
    asyncio.run(start_hub(joined))
