"""Ways to break a store: what a row needs that nothing wrote and nothing would."""

import json

from lived import OTHER, ROOM, WHOLE, A, message

from conduitstore.codec.states import pack_diff, unpack_diff
from conduitstore.parts.holder import Parts
from conduitstore.schema import TREES


def u64(number):
    return number.to_bytes(8)


def key(tree, *fields):
    return TREES[tree].key.pack(*fields)


def put(tree, fields, value):
    """A row as it never was."""
    return lambda db: db.open_tree(tree).insert(key(tree, *fields), value)


def drop(tree, *fields):
    """A row that is missing."""

    def breaking(db):
        assert db.open_tree(tree).remove(key(tree, *fields)) is not None

    return breaking


def first(tree, change):
    """The first row of a tree, with another value."""

    def breaking(db):
        found, value = db.open_tree(tree).first()
        db.open_tree(tree).insert(found, change(value))

    return breaking


def drop_first(tree):
    return lambda db: db.open_tree(tree).pop_min()


def both(*breakings):
    def breaking(db):
        for one in breakings:
            one(db)

    return breaking


def event(**fields):
    return json.dumps({"type": "m", "content": {}, **fields}).encode()


def outlier_in_the_timeline(db):
    event_id, _ = db.open_tree("eventid_pduid").first()
    db.open_tree("eventid_outlierpdu").insert(event_id, event(event_id=event_id.decode()))


def short_of(db, room):
    return db.open_tree("roomid_shortroomid").get(key("roomid_shortroomid", room))


def event_twice(db):
    pdus = db.open_tree("pduid_pdu")
    (found, value) = pdus.first()
    pdus.insert(found[:15] + b"\x01", value)


def room_without_a_number(db):
    tree = db.open_tree("roomid_shortroomid")
    tree.remove(key("roomid_shortroomid", OTHER))


def two_rooms_of_one_number(db):
    db.open_tree("roomid_shortroomid").insert(b"!third:x", short_of(db, ROOM))


def number_of_no_room(db):
    """A room that forgot its number whole."""
    number = db.open_tree("roomid_shortroomid").remove(key("roomid_shortroomid", OTHER))
    db.open_tree("shortroomid_room").remove(number)


def number_without_its_event(db):
    """Of an event that is in no state."""
    number = db.open_tree("eventid_shorteventid").get(f"${ROOM}{A}0".encode())
    db.open_tree("shorteventid_eventid").remove(number)


def bare_timeline(db):
    """Events of a room that nobody gave a state."""
    Parts(db).rooms.timeline.append(message(1, "!bare:one.test"), "$bare", "!bare:one.test")


DIFFS = "shortstatehash_statediff"


def newest_state(db):
    return db.open_tree("roomid_shortstatehash").get(WHOLE.encode())


def missing_state(db):
    """The empty state before the first event, which no other is built on."""
    number, value = db.open_tree(DIFFS).first()
    assert value == u64(0)
    db.open_tree(DIFFS).remove(number)


def state_in_itself(db):
    db.open_tree(DIFFS).insert(newest_state(db), newest_state(db))


def rewritten(change):
    """The newest state, with another difference."""

    def breaking(db):
        tree, number = db.open_tree(DIFFS), newest_state(db)
        value = pack_diff(change(unpack_diff(DIFFS, tree.get(number))))
        tree.insert(number, value)

    return breaking


def name_in_it(db):
    tree = db.open_tree("statekey_shortstatekey")
    return tree.get(key("statekey_shortstatekey", "m.room.name", ""))


def twice_in_it(db):
    """A second event for a state key that the newest state has."""
    diffs, number = db.open_tree(DIFFS), newest_state(db)
    diff = unpack_diff(DIFFS, diffs.get(number))
    event = db.open_tree("eventid_shorteventid").get(b"$w1")
    added = sorted([*diff.added, name_in_it(db) + event])
    diffs.insert(number, pack_diff(diff._replace(added=added)))


def old_state_as_current(db):
    """As if a room's state had been set by half."""
    history = db.open_tree("roomcount_shortstatehash")
    number = db.open_tree("roomid_shortroomid").get(WHOLE.encode())
    keys = list(history.keys(number))
    name_before = history.get(keys[-2])
    db.open_tree("roomid_shortstatehash").insert(WHOLE.encode(), name_before)


def both_queues(db):
    found, value = db.open_tree("servercurrentevent_data").first()
    db.open_tree("servernameevent_data").insert(found, value)


def file_of_two_kinds(db):
    """As another kind too, with the usage of that kind as it would be."""
    (_, created, file), size = listed(db, "kindcreatedfilehash_size")
    (_, accessed, _), _ = listed(db, "kindaccessedfilehash_size")
    for tree, secs in (
        ("kindcreatedfilehash_size", created),
        ("kindaccessedfilehash_size", accessed),
    ):
        db.open_tree(tree).insert(key(tree, "thumbnail", secs, file), size)
    files, total = 2, 7_000 + int.from_bytes(size)
    db.open_tree("mediakind_usage").insert(b"thumbnail", u64(files) + u64(total))


def listed(db, tree):
    found, size = db.open_tree(tree).first()
    return TREES[tree].key.unpack(found), size


def event_with_a_rooms_number(db):
    number = short_of(db, ROOM)
    db.open_tree("eventid_shorteventid").insert(b"$x", number)
    db.open_tree("shorteventid_eventid").insert(number, b"$x")


def counter_behind(db):
    db.open_tree("global").insert(b"c", u64(5))


def counter_ahead(db):
    db.open_tree("global").insert(b"c", u64(1 << 50))
