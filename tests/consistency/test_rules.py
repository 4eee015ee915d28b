"""Each rule sees just what breaks it, and a store that the parts made breaks none."""

import json

import pytest
from lived import OTHER, ROOM, WHOLE, A, B

from conduitstore.codec.states import pack_diff, unpack_diff
from conduitstore.consistency import RULES, check
from conduitstore.schema import TREES


def violations(store):
    with store.snapshot() as view:
        return list(check(view.keyspace))


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


def event_with_a_rooms_number(db):
    number = short_of(db, ROOM)
    db.open_tree("eventid_shorteventid").insert(b"$x", number)
    db.open_tree("shorteventid_eventid").insert(number, b"$x")


def counter_behind(db):
    db.open_tree("global").insert(b"c", u64(5))


def counter_ahead(db):
    db.open_tree("global").insert(b"c", u64(1 << 50))


MEMBER = (A, ROOM)
POINTERS = ("userid_masterkeyid", "userid_selfsigningkeyid", "userid_usersigningkeyid")

# Rule -> what breaks it, and it alone.
BREAKINGS = {
    0: [
        put("userroomid_joined", MEMBER, b"short"),
        lambda db: db.open_tree("todeviceid_events").insert(b"no count", b"{}"),
        lambda db: db.open_tree("users_of_my_own"),
        put("userid_displayname", (A,), b"\xff"),
    ],
    1: [
        counter_behind,
        counter_ahead,
        both(
            put("eventid_shorteventid", ("$x",), u64(1 << 50)),
            put("shorteventid_eventid", (1 << 50,), b"$x"),
        ),
    ],
    2: [
        drop_first("eventid_pduid"),
        drop_first("pduid_pdu"),
        outlier_in_the_timeline,
        event_twice,
        first("pduid_pdu", lambda _: event(event_id="$another")),
        first("pduid_pdu", lambda _: event()),
    ],
    3: [room_without_a_number, two_rooms_of_one_number, number_of_no_room],
    4: [
        drop_first("eventid_shorteventid"),
        drop_first("shorteventid_eventid"),
        drop_first("statekey_shortstatekey"),
        put("statekey_shortstatekey", ("m.unused", ""), u64(3)),
        event_with_a_rooms_number,
    ],
    5: [
        missing_state,
        state_in_itself,
        first("shorteventid_shortstatehash", lambda _: u64(4)),
    ],
    6: [
        rewritten(lambda diff: diff._replace(removed=[*diff.removed, b"x" * 16])),
        rewritten(lambda diff: diff._replace(added=[*diff.added, b"x" * 16])),
        twice_in_it,
        drop_first("statehash_shortstatehash"),
    ],
    7: [
        drop("roomid_pduleaves", WHOLE, "$w99"),
        put("roomid_pduleaves", (WHOLE, "$unknown"), b"$unknown"),
        drop("roomid_shortstatehash", WHOLE),
    ],
    8: [
        drop("userroomid_joined", A, ROOM),
        drop("userroomid_invitestate", "@c:three.test", ROOM),
        drop("roomuserid_knockcount", ROOM, "@d:three.test"),
        drop("roomuseroncejoinedids", ROOM, A),
        both(
            drop("roomuserid_joined", WHOLE, "@m1:one.test"),
            drop("userroomid_joined", "@m1:one.test", WHOLE),
            put("roomid_joinedcount", (WHOLE,), u64(19)),
            put("roomserverid_joinedcount", (WHOLE, "one.test"), u64(19)),
        ),
        both(
            put("userroomid_leftstate", MEMBER, b"[]"),
            put("roomuserid_leftcount", (ROOM, A), u64(1)),
        ),
    ],
    9: [
        put("roomid_joinedcount", (ROOM,), u64(7)),
        put("roomid_invitedcount", ("!none:x",), u64(1)),
        drop("roomid_invitedcount", ROOM),
        drop("roomserverids", ROOM, "one.test"),
        drop("serverroomids", "one.test", ROOM),
        drop("roomserverid_joinedcount", ROOM, "two.test"),
        put("roomserverid_joinedcount", (ROOM, "two.test"), u64(2)),
        both(
            put("roomserverid_joinedcount", (ROOM, "no.test"), u64(2)),
            put("roomserverids", (ROOM, "no.test"), b""),
            put("serverroomids", ("no.test", ROOM), b""),
        ),
    ],
    10: [
        drop("userdeviceid_token", A, "D"),
        drop("token_userdeviceid", f"token of {A} D"),
        put("token_userdeviceid", ("another",), key("userdeviceid_token", A, "D")),
    ],
    11: [
        put("todeviceid_events", (A, "gone", 1), b"{}"),
        drop("userid_password", B),
        put("userdeviceidalgorithm_fallback", (A, "gone", "a"), b"{}"),
        put("onetimekeyuploads", (A, "D", "signed_curve25519", 1, "none"), b""),
        put("onetimekeyid_onetimekeys", (A, "D", '"a:b"'), b"{}"),
        drop_first("onetimekeyuploads"),
    ],
    12: [
        drop("roomusertype_roomuserdataid", ROOM, A, "m.tag"),
        drop_first("roomuserdataid_accountdata"),
        put("roomuserdataid_accountdata", (ROOM, A, 1, "m.tag"), b"{}"),
    ],
    13: [
        put("readreceiptid_readreceipt", (ROOM, 1, A), b"{}"),
        drop("roomuserthreadid_readreceiptid", ROOM, A, ""),
        drop_first("readreceiptid_readreceipt"),
    ],
    14: [
        drop_first("backupid_etag"),
        put("backupid_etag", (A, "7"), u64(1)),
        put("backupkeyid_backup", (A, "7", ROOM, "s"), b"{}"),
        drop_first("backupkeyid_backup"),
        drop_first("backupid_keystotal"),
    ],
    15: [first(tree, lambda value: value + b"x") for tree in POINTERS],
    18: [both_queues],
}
CASES = [(rule, breaking) for rule, breakings in BREAKINGS.items() for breaking in breakings]


def test_what_the_parts_made_breaks_no_rule(store):
    assert violations(store) == []


@pytest.mark.parametrize(("rule", "breaking"), CASES)
def test_what_breaks_a_rule_is_reported_under_it_alone(store, rule, breaking):
    breaking(store.db)
    found = violations(store)
    assert found
    assert {violation.rule for violation in found} == {rule}, found


def test_every_rule_is_broken_here():
    assert [rule.number for rule in RULES] == list(BREAKINGS)


def test_a_violation_is_one_line_that_names_the_row(store):
    store.db.open_tree("userroomid_joined").insert(key("userroomid_joined", *MEMBER), b"bad")
    (violation,) = violations(store)
    assert str(violation).startswith("rule 0: userroomid_joined: b'@a:one.test\\xff!r:one.test': ")


def test_a_check_goes_on_behind_every_damage(store):
    """Rows of every tree replaced by rubbish: much is reported, nothing is raised."""
    for name in TREES:
        tree = store.db.open_tree(name)
        for number, (found, _) in enumerate(list(tree)):
            if number % 2:
                tree.insert(found, b"\xff\x00rubbish")
        tree.insert(b"\xff", b"\xff")
        tree.insert(b"x" * 2_000, b"")
    found = violations(store)
    assert {violation.tree for violation in found if violation.rule == 0} == TREES.keys()
