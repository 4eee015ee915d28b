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


def test_a_room_is_found_by_its_number(store):
    short = store.rooms.short
    numbers = [short.get_or_create_room(room) for room in ("!a:x", "!b:x", "!a:x")]
    assert numbers[0] == numbers[2]
    assert [short.room_id(number) for number in numbers] == ["!a:x", "!b:x", "!a:x"]
    assert short.room_id(short.get_or_create_event("$e")) is None
    assert short.event_many(["$none", "$e"]) == [None, short.event("$e")]
    assert short.state_key_many([("t", "k")]) == [None]
    key = short.get_or_create_state_key("t", "k")
    assert short.state_key_many([("t", "j"), ("t", "k")]) == [None, key]


def test_defect_10_numbers_stay_injective_among_threads(store):
    """One number for each id, one id for each number, across all kinds and all ways to ask."""
    start = threading.Barrier(4)

    def race():
        short = store.rooms.short
        start.wait()
        for n in range(15):
            short.get_or_create_event_many([f"$e{n}", f"$e{n + 1}", f"$e{n}"])
            short.get_or_create_state_key("m.room.member", f"@{n}:x")
            short.get_or_create_room(f"!{n}:x")
            store.rooms.state_compressor.save({("m.room.member", f"@{n}:x"): f"$e{n}"})

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = []
    for there, back in (
        ("roomid_shortroomid", "shortroomid_room"),
        ("eventid_shorteventid", "shorteventid_eventid"),
        ("statekey_shortstatekey", "shortstatekey_statekey"),
    ):
        forward, reverse = (dict(iter(store.db.open_tree(name))) for name in (there, back))
        assert {number: name for name, number in forward.items()} == reverse
        given += reverse
    given += [number for _, number in store.db.open_tree("statehash_shortstatehash")]
    assert len(given) == len(set(given)) == 15 + 16 + 15 + 15


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
