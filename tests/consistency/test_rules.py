"""Each rule sees just what breaks it, and a store that the parts made breaks none."""

import pytest
from breakings import (
    bare_timeline,
    both,
    both_queues,
    counter_ahead,
    counter_behind,
    drop,
    drop_first,
    event,
    event_twice,
    event_with_a_rooms_number,
    file_of_two_kinds,
    first,
    key,
    missing_state,
    number_of_no_room,
    number_without_its_event,
    old_state_as_current,
    outlier_in_the_timeline,
    put,
    rewritten,
    room_without_a_number,
    state_in_itself,
    twice_in_it,
    two_rooms_of_one_number,
    u64,
)
from lived import FILES, ROOM, WHOLE, A, B

import conduitstore
from conduitstore.consistency import RULES, check
from conduitstore.files import DirectoryFiles
from conduitstore.schema import TREES
from conduitstore.types import Mxc


def violations(store):
    with store.snapshot() as view:
        return list(check(view.keyspace))


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
        drop("eventid_pduid", "$r0"),
        drop_first("pduid_pdu"),
        outlier_in_the_timeline,
        event_twice,
        first("pduid_pdu", lambda _: event(event_id="$another")),
        first("pduid_pdu", lambda _: event()),
    ],
    3: [room_without_a_number, two_rooms_of_one_number, number_of_no_room],
    4: [
        drop_first("eventid_shorteventid"),
        number_without_its_event,
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
        put("roomid_pduleaves", (WHOLE, f"$old{ROOM}{A}"), b""),
        drop("roomid_shortstatehash", WHOLE),
        both(drop("roomid_shortstatehash", WHOLE), drop("roomid_pduleaves", WHOLE, "$w99")),
        old_state_as_current,
        bare_timeline,
    ],
    8: [
        drop("userroomid_joined", A, ROOM),
        drop("userroomid_invitestate", "@c:three.test", ROOM),
        both(
            drop("roomuserid_knockcount", ROOM, "@d:three.test"),
            drop("roomid_knockedcount", ROOM),
        ),
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
        put("userdeviceid_tokenexpires", (A, "gone"), u64(1)),
        drop("refreshtoken_userdeviceid", "refreshed 0"),
        put("refreshtoken_userdeviceid", ("another",), key("userdeviceid_refresh", A, "D")),
        drop("spentrefresh_userdeviceid", "refresh 0"),
        drop("userdeviceid_spentrefresh", A, "D"),
        both(
            drop("refreshtoken_userdeviceid", "refreshed 0"),
            drop("userdeviceid_refresh", A, "D"),
        ),
    ],
    11: [
        put("todeviceid_events", (A, "gone", 1), b"{}"),
        drop("userid_password", B),
        put("userdeviceidalgorithm_fallback", (A, "gone", "a"), b"{}"),
        put("onetimekeyuploads", (A, "D", "signed_curve25519", 1, "none"), b""),
        put("onetimekeyid_onetimekeys", (A, "D", '"a:b"'), b"{}"),
        drop_first("onetimekeyuploads"),
        put("senderkey_pusher", ("@nobody:one.test", "key"), b"{}"),
        put("senderkey_deviceid", (A, "key 0"), b"gone"),
        put("senderkey_deviceid", (A, "no pusher"), b"D"),
        put("userid_dehydrateddevice", (B,), b'{"device_id":"gone","device_data":{}}'),
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
    16: [
        drop_first("servernamemediaid_metadata"),
        drop_first("filehash_servername_mediaid"),
        put("filehash_servername_mediaid", (FILES[0], "one.test", "m4"), b""),
        drop_first("thumbnailid_metadata"),
        drop_first("filehash_thumbnailid"),
        drop_first("servernamemediaid_userlocalpart"),
        drop_first("servername_userlocalpart_mediaid"),
        put("servername_userlocalpart_mediaid", ("one.test", "a", "m4"), b""),
        put("filehash_metadata", (FILES[5],), u64(1) * 3),
        drop("filehash_metadata", FILES[1]),
        put("filehash_removal", (FILES[1],), u64(1)),
        drop("blocked_servername_mediaid", "one.test", "m0"),
        drop_first("kindaccessedfilehash_size"),
        drop_first("kindcreatedfilehash_size"),
        file_of_two_kinds,
        first("kindaccessedfilehash_size", lambda _: u64(999)),
        put("mediakind_usage", ("local",), u64(9) * 2),
        put("mediakind_usage", ("odd",), u64(1) * 2),
        drop_first("mediakind_usage"),
        drop_first("mediaid_pending"),
        drop_first("userid_pending"),
        drop_first("expiresms_mediaid"),
        put("userid_pending", (A, "mxc://one.test/none"), u64(1)),
    ],
    17: [
        drop_first("alias_roomid"),
        drop_first("alias_userid"),
        drop_first("aliasid_alias"),
        put("alias_userid", ("nobodys",), b"@a:one.test"),
        put("aliasid_alias", (ROOM, 1), b"#nobodys:one.test"),
        first("aliasid_alias", lambda _: b"#alias2r:one.test"),
        first("alias_roomid", lambda _: b"!elsewhere:one.test"),
    ],
    18: [both_queues],
}
CASES = [(rule, breaking) for rule, breakings in BREAKINGS.items() for breaking in breakings]


def test_what_the_parts_made_breaks_no_rule(store):
    assert violations(store) == []


@pytest.mark.parametrize(("rule", "breaking"), CASES)
def test_what_breaks_a_rule_is_reported_under_it_alone(found, rule, breaking):
    violations = found(breaking, check)
    assert violations
    assert {violation.rule for violation in violations} == {rule}, violations


def test_the_bytes_of_media_are_held_against_their_rows(tmp_path):
    files, mxc = DirectoryFiles(tmp_path), [Mxc("one.test", str(n)) for n in range(4)]
    with conduitstore.open(":memory:", media_files=files) as store:
        hashes = [store.media.files.upload(m, [b"x" * n]) for n, m in enumerate(mxc)]
        places = {path.stat().st_size: path for path in tmp_path.rglob("*") if path.is_file()}
        with store.snapshot() as view:
            assert list(check(view.keyspace, files)) == []
        files.remove(hashes[0])
        places[1].write_bytes(b"longer")
        places[2].write_bytes(b"yy")
        with store.snapshot() as view:
            assert list(check(view.keyspace)) == []
            found = {violation.key.hex(): violation for violation in check(view.keyspace, files)}
    assert found.keys() == set(hashes[:3])
    assert {violation.rule for violation in found.values()} == {16}
    said = [found[file].text for file in hashes[:3]]
    assert said == [
        "the file is not there",
        "the file has 6 bytes, not 1",
        "the file holds other bytes",
    ]


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
