"""A long poll and the answer that follows it."""

import asyncio

import pytest

import conduitstore
from conduitstore.sync import sync

A, B, ROOM = "@a:one.test", "@b:one.test", "!r:one.test"
LONG_MS = 60_000


@pytest.fixture
def store():
    with conduitstore.open(":memory:") as store:
        store.users.create(A, None)
        store.devices.create(A, "D", "token")
        store.rooms.members.mark_joined(A, ROOM)
        yield store


def answer_since(store, since):
    with store.snapshot() as view:
        return sync(view, A, "D", since)


async def woken_by(store, since, write):
    """What a client is told that waits while another thread writes."""
    waiting = store.changes.wait(A, "D", since, LONG_MS)
    await asyncio.to_thread(write)
    assert await asyncio.wait_for(waiting, 60) is True
    return answer_since(store, since)


def test_defect_16_who_is_woken_reads_the_news(store):
    """The wake-up comes after the commit, and the answer is read after the wake-up."""

    async def poll():
        since = store.globals.current_count()
        for n in range(50):
            answer = await woken_by(
                store, since, lambda n=n: store.to_device.queue(B, A, "D", "t", {"n": n})
            )
            assert [event["content"] for _, event in answer.to_device] == [{"n": n}]
            since = answer.next_batch

    asyncio.run(poll())


def test_defect_16_who_is_woken_reads_all_of_the_commit(store):
    event = {
        "type": "m.room.message",
        "room_id": ROOM,
        "sender": B,
        "content": {"body": "tea"},
        "origin_server_ts": 1_000,
    }

    def write(tx):
        tx.to_device.queue(B, A, "D", "t", {})
        tx.rooms.append(event, "$1", ROOM)
        tx.rooms.user_counters.increment(ROOM, [A])

    async def poll():
        answer = await woken_by(
            store, store.globals.current_count(), lambda: store.transaction(write)
        )
        room = answer.joined[ROOM]
        assert [event.event_id for event in room.timeline.events] == ["$1"]
        assert (room.unread.total.notifications, len(answer.to_device)) == (1, 1)

    asyncio.run(poll())


def test_defect_17_who_is_in_a_room_without_a_number_waits_and_syncs(store):
    assert store.rooms.short.room(ROOM) is None

    async def poll():
        answer = await woken_by(
            store,
            store.globals.current_count(),
            lambda: store.to_device.queue(B, A, "D", "t", {}),
        )
        assert len(answer.to_device) == 1

    asyncio.run(poll())
