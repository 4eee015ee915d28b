"""Ids, redactions and shapes of events; on real ones where the recorded corpus is at hand."""

import gzip
import json
from pathlib import Path

import pytest

from conduitstore.codec.events import (
    PDU_BYTES_MAX,
    check_pdu,
    encode_pdu,
    event_id_of,
    redact,
    room_id_of,
)
from conduitstore.codec.values import pack_canonical_json
from conduitstore.errors import InvalidArgumentError

VERSIONS = [str(number) for number in range(1, 13)]


def corpus():
    """The recorded events, in a folder beside the repository or above it."""
    name = Path("shared/corpora/two-servers/pdus.ndjson.gz")
    for folder in Path(__file__).resolve().parents:
        if (folder / name).exists():
            with gzip.open(folder / name, "rt") as lines:
                return [json.loads(line) for line in lines]
    pytest.skip(f"the recorded events ({name}) are not on this machine")
    return None


def test_every_recorded_event_is_named_by_its_content():
    lines = corpus()
    assert len(lines) == 6_750
    for line in lines:
        pdu, version, event_id = line["pdu"], line["room_version"], line["event_id"]
        assert event_id_of(pdu, version) == event_id
        assert event_id_of({**pdu, "event_id": event_id}, version) == event_id
        assert event_id_of(redact(pdu, version), version) == event_id
        stored = json.loads(encode_pdu(pdu, event_id))
        assert stored.pop("event_id") == event_id
        assert stored == check_pdu(pdu)
        expected = pdu.get("room_id", "!" + event_id[1:])
        assert room_id_of(pdu, version) == expected


def pdu(**changes):
    event = {
        "auth_events": [],
        "content": {"body": "hi", "msgtype": "m.text"},
        "depth": 3,
        "hashes": {"sha256": "x"},
        "origin_server_ts": 1_000,
        "prev_events": ["$parent"],
        "room_id": "!r:x",
        "sender": "@a:x",
        "signatures": {"x": {"ed25519:1": "s"}},
        "type": "m.room.message",
        "unsigned": {"age": 1},
    } | changes
    return {key: value for key, value in event.items() if value is not ...}


def test_versions_1_and_2_carry_their_id():
    assert event_id_of(pdu(event_id="$own:x"), "1") == "$own:x"
    assert event_id_of(pdu(event_id="$own:x"), "2") == "$own:x"
    with pytest.raises(InvalidArgumentError, match="event_id"):
        event_id_of(pdu(), "2")


def test_version_3_writes_its_hash_in_the_other_alphabet():
    # The same bytes in both alphabets; a depth is looked for whose hash shows the difference.
    for depth in range(100):
        old, new = (event_id_of(pdu(depth=depth), version) for version in ("3", "4"))
        assert old.translate(str.maketrans("+/", "-_")) == new
        assert len(old) == len(new) == 44
        if old != new:
            return
    pytest.fail("no hash had + or / in it")


def test_the_hash_covers_what_redaction_keeps_and_nothing_else():
    name = event_id_of(pdu(), "6")
    assert event_id_of(pdu(content={}), "6") == name
    assert event_id_of(pdu(signatures={}, unsigned={}), "6") == name
    assert event_id_of(pdu(event_id="$as-stored"), "6") == name
    assert event_id_of(pdu(extra=1), "6") == name
    assert event_id_of(pdu(depth=4), "6") != name
    assert event_id_of(pdu(hashes={}), "6") != name


REDACTIONS = [
    # type, key, the versions that keep it
    ("m.room.member", "membership", range(1, 13)),
    ("m.room.member", "displayname", []),
    ("m.room.member", "join_authorised_via_users_server", range(9, 13)),
    ("m.room.create", "creator", range(1, 13)),
    ("m.room.create", "room_version", range(11, 13)),
    ("m.room.join_rules", "join_rule", range(1, 13)),
    ("m.room.join_rules", "allow", range(8, 13)),
    ("m.room.power_levels", "users", range(1, 13)),
    ("m.room.power_levels", "notifications", []),
    ("m.room.power_levels", "invite", range(11, 13)),
    ("m.room.aliases", "aliases", range(1, 6)),
    ("m.room.history_visibility", "history_visibility", range(1, 13)),
    ("m.room.redaction", "redacts", range(11, 13)),
    ("m.room.message", "body", []),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("event_type", "key", "kept_by"), REDACTIONS)
def test_redaction_by_room_version(event_type, key, kept_by, version):
    kept = redact(pdu(type=event_type, content={key: "value"}), version)
    assert kept["content"] == ({key: "value"} if int(version) in kept_by else {})


@pytest.mark.parametrize("version", VERSIONS)
def test_redaction_of_the_top_level(version):
    extra = {"origin": "x", "membership": "join", "prev_state": [], "redacts": "$e", "other": 1}
    kept = redact(pdu(state_key="", event_id="$e", **extra), version)
    always = set(pdu(state_key="", event_id="$e")) - {"unsigned"}
    before_11 = {"origin", "membership", "prev_state"} if int(version) < 11 else set()
    assert set(kept) == always | before_11


def test_redaction_of_a_third_party_invite():
    invite = {"third_party_invite": {"signed": {"mxid": "@a:x"}, "display_name": "A"}}
    event = pdu(type="m.room.member", content=invite)
    assert redact(event, "10")["content"] == {}
    assert redact(event, "11")["content"] == {"third_party_invite": {"signed": {"mxid": "@a:x"}}}
    without = pdu(type="m.room.member", content={"third_party_invite": {"display_name": "A"}})
    assert redact(without, "11")["content"] == {"third_party_invite": {}}


def test_redaction_changes_nothing_in_place():
    event = pdu()
    redact(event, "11")
    assert event == pdu()


def test_unknown_room_versions_are_named():
    with pytest.raises(InvalidArgumentError, match="unknown room version"):
        redact(pdu(), "org.example")


def test_the_room_of_a_version_12_create_event():
    create = pdu(type="m.room.create", state_key="", room_id=...)
    assert room_id_of(create, "12") == "!" + event_id_of(create, "12")[1:]
    assert room_id_of(pdu(type="m.room.create"), "11") == "!r:x"
    with pytest.raises(InvalidArgumentError, match="room_id"):
        room_id_of(create, "11")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"type": ...}, "type"),
        ({"type": 5}, "type"),
        ({"sender": None}, "sender"),
        ({"sender": "@" + "a" * 255}, "sender"),
        ({"sender": "@" + "ä" * 127 + "a"}, "sender"),
        ({"room_id": ...}, "room_id"),
        ({"room_id": ["!r:x"]}, "room_id"),
        ({"type": "m.room.create", "room_id": 1}, "room_id"),
        ({"type": "m.room.create", "room_id": ...}, "room_id"),
        ({"type": "m.room.create", "room_id": ..., "content": {"room_version": "11"}}, "room_id"),
        ({"state_key": "k" * 256}, "state_key"),
        ({"state_key": 1}, "state_key"),
        ({"event_id": "$" + "e" * 255}, "event_id"),
        ({"origin_server_ts": "1000"}, "origin_server_ts"),
        ({"origin_server_ts": True}, "origin_server_ts"),
        ({"origin_server_ts": 1.5}, "origin_server_ts"),
        ({"content": []}, "content"),
        ({"content": ...}, "content"),
        ({"content": {"body": "\ud800"}}, "JSON"),
        ({"content": {"body": float("nan")}}, "JSON"),
        ({"content": {"body": "x" * PDU_BYTES_MAX}}, "65536 bytes"),
    ],
)
def test_what_is_wrong_with_an_event(changes, complaint):
    with pytest.raises(InvalidArgumentError, match=complaint):
        check_pdu(pdu(**changes))


@pytest.mark.parametrize("version", ["12", "org.example.13"])
def test_a_create_event_may_name_its_room(version):
    create = pdu(type="m.room.create", state_key="", room_id=..., content={"room_version": version})
    assert check_pdu(create) is create


@pytest.mark.parametrize("value", [None, [], "text", 5])
def test_an_event_is_an_object(value):
    with pytest.raises(InvalidArgumentError, match="object"):
        check_pdu(value)


def test_the_size_limit_is_exact_and_leaves_out_what_the_store_adds():
    spare = PDU_BYTES_MAX - len(pack_canonical_json(pdu(content={"body": ""}, unsigned=...)))
    largest = pdu(content={"body": "x" * spare}, unsigned=...)
    assert len(pack_canonical_json(largest)) == PDU_BYTES_MAX
    assert encode_pdu({**largest, "unsigned": {"age": 1}}, "$e")
    with pytest.raises(InvalidArgumentError, match="65537"):
        check_pdu(pdu(content={"body": "x" * (spare + 1)}, unsigned=...))


def test_an_event_is_stored_canonically_with_its_id():
    assert encode_pdu(pdu(), "$e") == pack_canonical_json({**pdu(), "event_id": "$e"})
    assert encode_pdu(pdu(event_id="$e"), "$e") == encode_pdu(pdu(), "$e")
    with pytest.raises(InvalidArgumentError, match=r"\$other"):
        encode_pdu(pdu(event_id="$other"), "$e")
