"""Short ids."""

import threading

import pytest

from conduitstore import InvalidArgumentError


def test_an_id_keeps_its_number(store):
    short = store.rooms.short
    assert short.room("!r:x") is None
    assert short.event("$e") is None
    assert short.state_key("m.room.name", "") is None
    numbers = [
        short.get_or_create_room("!r:x"),
        short.get_or_create_event("$e"),
        short.get_or_create_state_key("m.room.name", ""),
        short.get_or_create_state_key("m.room.member", "@a:x"),
    ]
    assert numbers == [1, 2, 3, 4]
    assert numbers == [
        short.get_or_create_room("!r:x"),
        short.get_or_create_event("$e"),
        short.get_or_create_state_key("m.room.name", ""),
        short.get_or_create_state_key("m.room.member", "@a:x"),
    ]
    assert numbers[:3] == [
        short.room("!r:x"),
        short.event("$e"),
        short.state_key("m.room.name", ""),
    ]


def test_and_back(store):
    short = store.rooms.short
    event, key = short.get_or_create_event("$e"), short.get_or_create_state_key("t", "k")
    assert short.event_id(event) == "$e"
    assert short.state_key_id(key) == ("t", "k")
    assert short.event_id(key) is None
    assert short.state_key_id(event) is None


def test_many_at_once_in_one_commit(store):
    short = store.rooms.short
    before = store.db.sequence
    events = short.get_or_create_event_many(["$a", "$b", "$a", "$c"])
    assert store.db.sequence == before + 1
    assert events[0] == events[2]
    assert len(set(events)) == 3
    keys = short.get_or_create_state_key_many([("t", "a"), ("t", "b"), ("t", "a")])
    assert short.event_id_many([*events, 999]) == ["$a", "$b", "$a", "$c", None]
    assert short.state_key_id_many([*keys, 999]) == [("t", "a"), ("t", "b"), ("t", "a"), None]
    room = short.get_or_create_room("!r:x")
    assert short.room_many(["!none:x", "!r:x"]) == [None, room]


def test_racing_threads_agree_on_one_number(store):
    start = threading.Barrier(4)
    found = []

    def race():
        start.wait()
        found.append([store.rooms.short.get_or_create_event(f"${n}") for n in range(30)])

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == found[2] == found[3]
    assert len(store.db.open_tree("eventid_shorteventid")) == 30
    assert len(store.db.open_tree("shorteventid_eventid")) == 30


@pytest.mark.parametrize("event", ["", "$" + "e" * 255, None])
def test_bad_ids_leave_nothing(store, event, rows):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        store.rooms.short.get_or_create_event_many(["$good", event])
    assert rows() == before
