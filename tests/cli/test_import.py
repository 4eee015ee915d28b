"""`conduitstore import`: bad lines one by one, and that good ones go in whatever stands between."""

import gzip
import json

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore.importer import Importer
from conduitstore.ndjson import Line

from .conftest import ALICE, Room, ndjson

MARK = "bad-apple"


def bodies(path, room):
    with conduitstore.open(path) as store:
        events, _ = store.rooms.timeline.page(room.id, None, "f", 1_000)
        return [event.pdu["content"].get("body") for event in events]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("version", [str(number) for number in range(3, 13)])
def test_events_go_in_whatever_the_packing_and_room_version(cli, path, tmp_path, pack, version):
    room = Room(version)
    file = tmp_path / "events"
    file.write_bytes(pack(ndjson(room.create, room.message("one"), room.message("two"))))
    result = cli("import", file, "--path", path)
    assert (result.exit_code, result.stdout) == (0, "3 events imported\n")
    assert result.stderr == ""
    assert bodies(path, room) == [None, "one", "two"]


def test_bare_pdus_are_named_by_their_content_once_the_version_is_known(cli, path, room):
    records = [room.create, room.message("one")]
    result = cli("import", "-", "--path", path, stdin=ndjson(*(r["pdu"] for r in records)))
    assert result.exit_code == 0
    later = room.message("in another run: the version is in the store")
    assert cli("import", "-", "--path", path, stdin=ndjson(later["pdu"])).exit_code == 0
    with conduitstore.open(path) as store:
        for record in [*records, later]:
            assert store.rooms.timeline.get(record["event_id"]) is not None


def test_a_bare_pdu_of_a_known_version_may_also_say_its_id(cli, path, room):
    named = [record["pdu"] | {"event_id": record["event_id"]} for record in [room.create]]
    assert cli("import", "-", "--path", path, stdin=ndjson(*named)).exit_code == 0


def test_room_versions_1_and_2_carry_their_id(cli, path):
    pdu = Room("11").message("old")["pdu"] | {"event_id": "$old:example.org"}
    record = {"event_id": "$old:example.org", "room_version": "1", "pdu": pdu}
    assert cli("import", "-", "--path", path, stdin=ndjson(record)).exit_code == 0


BAD = {
    "text": ("not JSON", lambda _: f'"{MARK}'.encode()),
    "not UTF-8": ("not JSON", lambda _: b'{"\xff": "bad-apple"}'),
    "a number of too many digits": ("not JSON", lambda _: b'{"depth": ' + b"9" * 5_000 + b"}"),
    "nested too deeply": ("not JSON", lambda _: b'{"pdu": ' + b"[" * 200_000),
    "a list": ("not an event", lambda _: f'["{MARK}"]'.encode()),
    "null": ("not an event", lambda _: b"null"),
    "no type": ("not an event", lambda room: changed(room, lambda pdu: pdu.pop("type"))),
    "no sender": ("not an event", lambda room: changed(room, lambda pdu: pdu.pop("sender"))),
    "no room": ("not an event", lambda room: changed(room, lambda pdu: pdu.pop("room_id"))),
    "content of text": ("not an event", lambda room: changed(room, content=MARK)),
    "time of text": ("not an event", lambda room: changed(room, origin_server_ts="now")),
    "lone surrogate": ("not an event", lambda room: changed(room, content={"body": "\ud800"})),
    "too large": ("not an event", lambda room: line(room.message(MARK, x="x" * 70_000))),
    "id is a number": ("not an event", lambda room: line(room.message(MARK) | {"event_id": 5})),
    "unknown membership": ("not an event", lambda room: line(room.member("@b:x", MARK))),
    "member without a name": ("not an event", lambda room: line(room.member("", "join", x=MARK))),
    "of another room": (
        "not an event",
        lambda _: line(
            {"room_version": "12", "pdu": Room("12").create["pdu"] | {"room_id": "!bad-apple:x"}}
        ),
    ),
    "over-long sender": (
        "over-long id",
        lambda room: line(room.message(MARK, sender="@" + "a" * 255)),
    ),
    "over-long in bytes": (
        "over-long id",
        lambda room: line(room.member("@" + "é" * 128, "join", x=MARK)),
    ),
    "over-long event id": (
        "over-long id",
        lambda room: line({"event_id": "$" + "a" * 255, "pdu": room.message(MARK)["pdu"]}),
    ),
    "no id, no version": (
        "no event id",
        lambda _: line({"pdu": Room("11").message(MARK, room_id="!elsewhere:x")["pdu"]}),
    ),
    "another event's id": (
        "event id mismatch",
        lambda room: line(room.message(MARK) | {"event_id": room.message("other")["event_id"]}),
    ),
    "changed content": (
        "event id mismatch",
        lambda room: line(
            room.message("x") | {"pdu": room.message("x")["pdu"] | {"hashes": {"sha256": MARK}}}
        ),
    ),
    "room version 99": (
        "unknown room version",
        lambda room: line(room.message(MARK) | {"room_version": "99"}),
    ),
    "again": ("duplicate", lambda room: line(room.message("before"))),
    "over-long line": ("over-long line", lambda _: b"x" * (1024 * 1024 + 1)),
}


def line(record):
    return json.dumps(record).encode()


def changed(room, change=None, **fields):
    record = room.message(MARK)
    pdu = record["pdu"] | fields
    if change:
        change(pdu)
    return line(record | {"pdu": pdu})


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_and_the_rest_goes_in(cli, path, room, name):
    kind, bad = BAD[name]
    good = ndjson(room.create, room.message("before")), ndjson(room.message("after"))
    result = cli("import", "-", "--path", path, stdin=good[0] + bad(room) + b"\n" + good[1])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"line 3: {kind}: ")
    assert result.stderr.endswith(f"\n3 events imported; 1 lines refused: 1 {kind}\n")
    assert result.stderr.count("\n") == 2
    assert bodies(path, room) == [None, "before", "after"]
    assert traces_of(path, MARK.encode()) == []


def traces_of(path, mark):
    with conduitstore.open(path) as store:
        return [
            (name, key)
            for name in store.db.tree_names()
            for key, value in store.db.open_tree(name)
            if mark in key + value
        ]


def test_what_a_refused_line_had_written_is_gone(path, room):
    """The member's name is found wanting only when its event is stored already."""
    with conduitstore.open(path) as store:
        before = {name: list(store.db.open_tree(name)) for name in store.db.tree_names()}
        (refusal,) = Importer(store).run([Line(1, line(room.member("", "join")))])
        after = {name: list(store.db.open_tree(name)) for name in store.db.tree_names()}
    assert refusal.kind == "not an event"
    assert {name: rows for name, rows in after.items() if rows != before.get(name, [])} == {}


def test_a_cut_file_gives_what_it_holds(cli, path, tmp_path, room):
    records = [room.create, *(room.message(f"message {n}") for n in range(2_000))]
    file = tmp_path / "cut.gz"
    file.write_bytes(gzip.compress(ndjson(*records))[:-100])
    result = cli("import", file, "--path", path)
    assert result.exit_code == 1
    assert "1 damaged stream" in result.stderr
    assert 0 < len(bodies(path, room)) < 2_001


def test_a_second_import_changes_nothing(cli, path, room):
    records = ndjson(room.create, room.member(ALICE, "join"), room.message("once"))
    assert cli("import", "-", "--path", path, stdin=records).exit_code == 0
    with conduitstore.open(path) as store:
        before = [(name, list(store.db.open_tree(name))) for name in store.db.tree_names()]
    result = cli("import", "-", "--path", path, stdin=records)
    assert (result.exit_code, result.stderr.count(": duplicate: ")) == (1, 3)
    with conduitstore.open(path) as store:
        assert before == [(name, list(store.db.open_tree(name))) for name in store.db.tree_names()]


def test_an_event_that_was_an_outlier_finds_its_place(cli, path, room):
    with conduitstore.open(path) as store:
        store.rooms.timeline.add_outlier(room.create["pdu"], room.create["event_id"])
    assert cli("import", "-", "--path", path, stdin=ndjson(room.create)).exit_code == 0


def test_a_second_create_event_does_not_change_a_rooms_version(cli, path, room):
    assert cli("import", "-", "--path", path, stdin=ndjson(room.create["pdu"])).exit_code == 0
    other = Room("10").event("m.room.create", {"room_version": "10"}, state_key="", room_id=room.id)
    message = room.message("still version 11")
    bare = ndjson(other["pdu"], message["pdu"])
    assert cli("import", "-", "--path", path, stdin=bare).exit_code == 0
    with conduitstore.open(path) as store:
        assert store.rooms.timeline.get(message["event_id"]) is not None


def test_memberships_follow_the_member_events(cli, path, room):
    stripped = {"type": "m.room.name", "content": {"name": "Kitchen"}}
    invite = room.member("@invited:x", "invite", unsigned={"invite_room_state": [stripped]})
    gone = room.member("@gone:x", "leave")
    records = [
        room.create,
        room.member("@joined:x", "join"),
        invite,
        room.member("@knocking:x", "knock"),
        room.member("@gone:x", "join"),
        gone,
        room.member("@banned:x", "ban"),
        room.member("@odd:x", "invite", unsigned={"invite_room_state": "no list"}),
    ]
    assert cli("import", "-", "--path", path, stdin=ndjson(*records)).exit_code == 0
    with conduitstore.open(path) as store:
        members = store.rooms.members
        assert members.joined_members(room.id) == ["@joined:x"]
        assert members.invited_members(room.id) == ["@invited:x", "@odd:x"]
        assert members.change("@invited:x", room.id, "invite").events == [stripped]
        assert members.is_knocked("@knocking:x", room.id)
        left = gone["pdu"] | {"event_id": gone["event_id"]}
        assert members.change("@gone:x", room.id, "leave").events == [left]
        assert members.is_left("@banned:x", room.id)


def test_every_event_finds_its_room_with_a_state_and_an_end(cli, path, room):
    name = room.event("m.room.name", {"name": "Kitchen"}, state_key="")
    records = [room.message("early"), room.create, room.member("@a:x", "join"), name]
    assert cli("import", "-", "--path", path, stdin=ndjson(*records)).exit_code == 0
    with conduitstore.open(path) as store:
        ids = [record["event_id"] for record in records]
        states = [store.rooms.state.before(event_id) for event_id in ids]
        states.append(store.rooms.state.current(room.id))
        sizes = [len(store.rooms.state_accessor.full_ids(state)) for state in states]
        assert sizes == [0, 0, 1, 2, 3]
        assert store.rooms.state_accessor.name(room.id) == "Kitchen"
        assert ids[-1] in store.rooms.state.forward_extremities(room.id)


def test_blank_lines_are_nothing(cli, path, room):
    result = cli("import", "-", "--path", path, stdin=b"\n \r\n" + ndjson(room.create) + b"\n\n")
    assert (result.exit_code, result.stdout) == (0, "1 events imported\n")


def test_what_a_line_says_cannot_move_the_cursor(cli, path):
    result = cli("import", "-", "--path", path, stdin=b'{"type": "\\u001b[2J\\u009b"}\n')
    assert result.exit_code == 1
    assert not set(result.stderr) & set("\x1b\x9b")


@pytest.mark.parametrize("arguments", [["-"], ["no-such-file", "--path", "x"], []])
def test_a_wrong_call_is_status_2(cli, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert cli("import", *arguments).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_something_else_is_left_alone(cli, tmp_path, room):
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    result = cli("import", "-", "--path", tmp_path, stdin=ndjson(room.create))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert [other] == list(tmp_path.iterdir())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NEARLY_PDU = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["m.room.create", "m.room.member", "m.room.message"]) | JSON,
        "sender": st.just(ALICE) | JSON,
        "room_id": st.just("!r:x") | JSON,
        "content": st.fixed_dictionaries(
            {}, optional={"membership": JSON, "room_version": st.just("11") | JSON}
        )
        | JSON,
        "origin_server_ts": st.integers() | JSON,
        "state_key": st.just("") | JSON,
        "event_id": st.just("$id") | JSON,
        "unsigned": JSON,
    },
)
RECORD = NEARLY_PDU | st.fixed_dictionaries(
    {"pdu": NEARLY_PDU | JSON}, optional={"event_id": JSON, "room_version": JSON}
)


@given(st.lists(RECORD.map(lambda record: json.dumps(record).encode()) | st.binary(), max_size=8))
def test_no_line_is_a_surprise(lines):
    with conduitstore.open(":memory:") as store:
        outcomes = list(Importer(store).run(Line(n, text) for n, text in enumerate(lines)))
        assert len(outcomes) == sum(bool(text.strip()) for text in lines)
        assert len(store.db.open_tree("pduid_pdu")) == outcomes.count(None)
        assert len(store.db.open_tree("eventid_pduid")) == outcomes.count(None)


def test_json_is_read_as_utf_8_only(cli, path, room):
    line = json.dumps(room.create)
    result = cli("import", "-", "--path", path, stdin=line.encode("utf-16"))
    assert "not JSON" in result.stderr
    assert cli("import", "-", "--path", path, stdin=line.encode("utf-8-sig")).exit_code == 0


def test_stripped_state_of_strangers_is_taken_as_far_as_it_is_events(cli, path, room):
    shown = {"invite_room_state": [{"type": "m.room.name"}, "x", None, 5]}
    invite = room.member("@b:example.org", "invite", unsigned=shown)
    assert cli("import", "-", "--path", path, stdin=ndjson(room.create, invite)).exit_code == 0
    with conduitstore.open(path) as store:
        change = store.rooms.members.change("@b:example.org", room.id, "invite")
        assert change.events == [{"type": "m.room.name"}]
