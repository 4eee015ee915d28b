"""Arguments as a client, a foreign server or a tired caller gives them: nothing is kept."""

import sys

import pytest

from conduitstore import InvalidArgumentError
from conduitstore.parts.presence import Presence
from conduitstore.sync import sync

A, ROOM, OTHER = "@a:one.test", "!r:one.test", "!other:one.test"
NOT_IDS = ["", "\ud800", "é" * 128, b"@a:one.test", None, 5, ["@a:one.test"], {}]
NOT_COUNTS = [-1, 1 << 64, True, 1.5, float("nan"), "1", b"1", None]


def nested(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def receipt(user, event="$1"):
    return {"type": "m.receipt", "content": {event: {"m.read": {user: {"ts": 1}}}}}


def refuses(store, rows, call):
    """``call`` is refused on the store, and inside a transaction that goes on without it."""
    before = rows()
    with pytest.raises(InvalidArgumentError):
        call(store)

    def go_on(tx):
        with pytest.raises(InvalidArgumentError):
            call(tx)

    store.transaction(go_on)
    assert rows() == before


@pytest.mark.parametrize("bad", [*NOT_IDS, nested(5_000)], ids=range(len(NOT_IDS) + 1))
def test_what_is_no_id(store, rows, message, bad):
    pdu = {key: value for key, value in message().items() if key != "room_id"}
    create = pdu | {"type": "m.room.create", "content": {"room_version": "12"}}
    for call in (
        lambda parts: parts.users.create(bad, None),
        lambda parts: parts.users.displayname(bad),
        lambda parts: parts.to_device.queue(A, bad, "D", "t", {}),
        lambda parts: parts.keys.add_cross_signing_keys(bad, {"keys": {"k": "M" * 43}}),
        lambda parts: parts.key_changes.mark(bad),
        lambda parts: parts.key_changes.since(bad, 0, 9),
        lambda parts: parts.keys.master_key(bad),
        lambda parts: parts.account_data.changes_since(None, bad, 0, 9),
        lambda parts: parts.rooms.short.get_or_create_event(bad),
        lambda parts: parts.rooms.timeline.append(create, "$1", bad),
        lambda parts: parts.rooms.timeline.append(message(), bad, ROOM),
        lambda parts: parts.rooms.members.mark_joined(bad, ROOM),
        lambda parts: parts.rooms.members.mark_left(A, bad),
        lambda parts: parts.rooms.receipts.update(bad, ROOM, receipt(A)),
        lambda parts: parts.rooms.receipts.set_private_read(bad, ROOM, 1),
        lambda parts: parts.rooms.user_counters.increment(ROOM, [A, bad]),
        lambda parts: parts.rooms.user_counters.increment(ROOM, [A], [bad]),
        lambda parts: parts.rooms.user_counters.increment(bad, [A]),
        lambda parts: parts.rooms.user_counters.increment(ROOM, [A], thread=bad),
        lambda parts: parts.rooms.user_counters.reset(bad, ROOM),
        lambda parts: parts.rooms.sharing.shared_rooms([bad]),
        lambda parts: parts.presence.update(bad, Presence("online")),
        lambda parts: parts.presence.ping(bad, 5),
        lambda parts: parts.rooms.pdu_metadata.mark_referenced(ROOM, ["$1", bad]),
        lambda parts: parts.rooms.pdu_metadata.mark_soft_failed(bad),
        lambda parts: parts.rooms.pdu_metadata.relations(bad, None, "b", 5),
        lambda parts: parts.rooms.originals.keep(bad, message(), 5),
        lambda parts: parts.rooms.timeline.remove(bad),
        lambda parts: parts.rooms.threads.page(bad, None, 5),
        lambda parts: parts.rooms.search.find(bad, "tea", 5),
        lambda parts: parts.rooms.timestamps.nearest(bad, 5, "f"),
        lambda parts: parts.rooms.retention.purge(bad, 5),
        lambda parts: parts.rooms.alias.set(bad, ROOM, A),
        lambda parts: parts.rooms.alias.set("#a:x", bad, A),
        lambda parts: parts.rooms.alias.set("#a:x", ROOM, bad),
        lambda parts: parts.rooms.alias.remove(bad),
        lambda parts: parts.rooms.alias.of_room(bad),
        lambda parts: parts.rooms.directory.set_public(bad),
        lambda parts: parts.rooms.metadata.ban(bad),
        lambda parts: parts.rooms.metadata.disable(bad),
        lambda parts: parts.rooms.metadata.lower_min_depth(bad, 5),
        lambda parts: parts.rooms.lazy_loading.witness(A, "D", ROOM, [bad], since=0, token=1),
        lambda parts: parts.rooms.lazy_loading.witness(A, "D", bad, [A], since=0, token=1),
    ):
        refuses(store, rows, call)


@pytest.mark.parametrize("bad", ["", 0, False, b"", [], {}])
def test_what_is_no_room_is_not_taken_for_no_room(store, rows, bad):
    for call in (
        lambda parts: parts.account_data.update(bad, A, "m.tag", {}),
        lambda parts: parts.account_data.get(bad, A, "m.tag"),
        lambda parts: parts.account_data.changes_since(bad, A, 0, 9),
    ):
        refuses(store, rows, call)


@pytest.mark.parametrize("bad", NOT_COUNTS)
def test_what_is_no_count(store, rows, bad):
    store.users.create(A, None)
    store.devices.create(A, "D", "token")
    for call in (
        lambda parts: parts.to_device.events_since(A, "D", bad, 9),
        lambda parts: parts.to_device.forget_until(A, "D", bad),
        lambda parts: parts.key_changes.since(ROOM, bad, 9),
        lambda parts: parts.key_changes.since_many([ROOM, A], 0, bad),
        lambda parts: parts.rooms.receipts.set_private_read(A, ROOM, bad),
        lambda parts: parts.rooms.receipts.set_private_read(A, ROOM, bad, "$t"),
        lambda parts: parts.rooms.receipts.since(ROOM, 0, bad),
        lambda parts: parts.rooms.receipts.private_since(A, ROOM, bad, 9),
        lambda parts: parts.presence.since(bad, 9),
        lambda parts: parts.rooms.metadata.lower_min_depth(ROOM, bad),
        lambda parts: parts.rooms.lazy_loading.witness(A, "D", ROOM, [A], since=bad, token=9),
        lambda parts: parts.rooms.lazy_loading.witness(A, "D", ROOM, [A], since=0, token=bad),
        lambda parts: parts.rooms.lazy_loading.was_sent(A, "D", ROOM, A, bad),
        lambda parts: parts.presence.ping(A, bad),
        lambda parts: parts.presence.update(A, Presence("online", last_active_ts=bad)),
        lambda parts: sync(parts, A, "D", bad),
        lambda parts: parts.rooms.members.changes_since(A, "leave", 0, bad),
        lambda parts: parts.rooms.short.event_id(bad),
        lambda parts: parts.devices.set_last_seen({(A, "D"): bad}),
    ):
        refuses(store, rows, call)


@pytest.mark.parametrize("bad", [{A: ["D"]}, {A: {"D": []}}, {A: None}, ["D"], "x", None])
def test_to_device_messages_of_another_shape(store, rows, bad):
    refuses(store, rows, lambda parts: parts.to_device.queue_many(A, "t", bad))


@pytest.mark.parametrize("bad", ["state", {"type": "t"}, [1], ["t"], [{}, None], 5, None])
def test_stripped_state_that_is_no_list_of_events(store, rows, bad):
    refuses(store, rows, lambda parts: parts.rooms.members.mark_invited(A, ROOM, bad))
    refuses(store, rows, lambda parts: parts.rooms.members.mark_left(A, ROOM, bad))


def test_json_that_could_be_written_but_not_always_read(store, rows, message):
    deep = message(content=nested(127))
    store.rooms.timeline.append(deep, "$deep", ROOM)

    def read_deep_down(frames):
        return read_deep_down(frames - 1) if frames else store.rooms.timeline.get("$deep")

    assert read_deep_down(sys.getrecursionlimit() - 400).pdu["content"] == deep["content"]
    refuses(
        store,
        rows,
        lambda parts: parts.rooms.timeline.append(message(content=nested(128)), "$deeper", ROOM),
    )
    refuses(store, rows, lambda parts: parts.account_data.update(None, A, "t", nested(600)))


def test_wide_json_is_not_deep(store, message):
    wide = message(content={"list": [[{}] for _ in range(1_000)]})
    store.rooms.timeline.append(wide, "$wide", ROOM)
    assert store.rooms.timeline.get("$wide").pdu["content"] == wide["content"]


def test_times_of_more_than_64_bits(store, rows, message):
    for time_ms in (1 << 63, -(1 << 63), 10**4_000, True, 1.0, None):
        refuses(
            store,
            rows,
            lambda parts, time_ms=time_ms: parts.rooms.timeline.append(
                message(origin_server_ts=time_ms), "$1", ROOM
            ),
        )


def test_an_event_is_replaced_within_its_room_only(store, rows, message):
    store.rooms.timeline.append(message(0), "$0", ROOM)
    store.rooms.timeline.append(message(1, room=OTHER), "$1", OTHER)
    refuses(store, rows, lambda parts: parts.rooms.timeline.replace(message(2, room=OTHER), "$0"))
    store.rooms.timeline.replace(message(2), "$0")
    assert store.rooms.timeline.get("$0").pdu["content"] == {"body": "message 2"}


def test_pages_longer_than_anything(store, message):
    store.rooms.timeline.append(message(0), "$0", ROOM)
    for limit in (1 << 31, 1 << 63, 1 << 70):
        events, more = store.rooms.timeline.page(ROOM, None, "b", limit)
        assert (len(events), more) == (1, None)
        assert not store.rooms.timeline.since(ROOM, 0, 99, limit).limited
