"""Each rule sees just what breaks it, and a store that the parts made breaks none."""

import json

import pytest
from lived import OTHER, ROOM, A, B

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


def event_with_a_rooms_number(db):
    number = short_of(db, ROOM)
    db.open_tree("eventid_shorteventid").insert(b"$x", number)
    db.open_tree("shorteventid_eventid").insert(number, b"$x")


def counter_behind(db):
    db.open_tree("global").insert(b"c", u64(5))


def counter_ahead(db):
    db.open_tree("global").insert(b"c", u64(1 << 50))


MEMBER = (A, ROOM)

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
    3: [room_without_a_number, two_rooms_of_one_number],
    4: [
        drop_first("eventid_shorteventid"),
        drop_first("shorteventid_eventid"),
        drop_first("statekey_shortstatekey"),
        drop_first("shortstatekey_statekey"),
        event_with_a_rooms_number,
    ],
    8: [
        drop("userroomid_joined", A, ROOM),
        drop("userroomid_invitestate", "@c:three.test", ROOM),
        drop("roomuserid_knockcount", ROOM, "@d:three.test"),
        drop("roomuseroncejoinedids", ROOM, A),
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
