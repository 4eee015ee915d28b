"""`page`, `trees` and `scan`, and how commands fail."""

import json
import re

import pytest

import conduitstore
from conduitstore import engine
from conduitstore.cli.display import Screen, event_row, one_line, time_text
from conduitstore.schema import TREES
from conduitstore.types import Appservice, FederationServer, PushGateway

from .conftest import ALICE

READING = [["page", "!room:example.org"], ["trees"], ["scan", "pduid_pdu"]]


def bodies(result):
    return [line.split()[-1] for line in result.stdout.splitlines() if "message " in line]


def test_pages_go_back_and_forward_with_the_tokens_shown(cli, filled, room):
    newest = cli("page", room.id, "--path", filled, "--limit", 2)
    assert bodies(newest) == ["29", "28"]
    option, token = newest.stdout.splitlines()[-1].removeprefix("more: ").split()
    assert option == "--back"
    assert bodies(cli("page", room.id, "--path", filled, "--limit", 3, "--back", token)) == [
        "27",
        "26",
        "25",
    ]
    assert bodies(cli("page", room.id, "--path", filled, "--forward", token)) == ["29"]
    oldest = cli("page", room.id, "--path", filled, "--forward", "start", "--limit", 3)
    assert bodies(oldest) == ["0", "1"]
    everything = cli("page", room.id, "--path", filled, "--limit", 100)
    assert bodies(everything) == [str(n) for n in reversed(range(30))]
    assert everything.stdout.endswith("(no more)\n")


def test_a_token_of_a_backfilled_event_begins_with_a_minus(cli, filled, room):
    old = room.message("backfilled 0")
    with conduitstore.open(filled) as store:
        position = store.rooms.timeline.prepend_backfilled(old["pdu"], old["event_id"], room.id)
    assert position < 0
    result = cli("page", room.id, "--path", filled, "--forward", position, "--limit", 3)
    assert bodies(result) == ["0", "1"]


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["page", "!nowhere:x"], 1, "the store has no events of !nowhere:x"),
        (["page", "!room:example.org", "--back", "yesterday"], 1, "not a timeline token"),
        (["page", "!room:example.org", "--back", "1", "--forward", "2"], 2, "exclude each other"),
        (["page", "!room:example.org", "--limit", "0"], 2, "--limit"),
        (["scan", "no_tree"], 1, "no tree 'no_tree'"),
        (["scan", "pduid_pdu", "three"], 1, "is a number"),
        (["scan", "todeviceid_events", "a/b/1/more"], 1, "user / device / count"),
        (["scan", "todeviceid_events", "/PHONE"], 1, "must not be empty"),
        (["scan", "pduid_pdu", "-1"], 2, "-1"),
    ],
)
def test_a_mistake_is_told_in_one_line(cli, filled, arguments, status, reason):
    result = cli(*arguments, "--path", filled)
    assert result.exit_code == status
    assert reason in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("arguments", READING)
def test_to_read_creates_nothing(cli, tmp_path, arguments):
    for place in (tmp_path / "missing", tmp_path):
        result = cli(*arguments, "--path", place)
        assert (result.exit_code, result.stderr) == (1, f"Error: there is no store at {place}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", READING)
def test_reading_works_beside_a_holder_and_shows_its_newest_commit(cli, filled, arguments, room):
    before = cli(*arguments, "--path", filled)
    assert before.exit_code == 0
    with conduitstore.open(filled) as store:
        event = room.message("message 30")
        store.rooms.timeline.append(event["pdu"], event["event_id"], room.id)
        store.db.insert(b"in the default tree", b"1")
        beside = cli(*arguments, "--path", filled)
    assert beside.exit_code == 0
    assert beside.stdout != before.stdout


def test_writing_beside_a_holder_is_refused_in_one_line(cli, filled, tmp_path):
    (tmp_path / "events").write_text("")
    with conduitstore.open(filled):
        result = cli("import", tmp_path / "events", "--path", filled)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", READING)
def test_a_directory_of_something_else_is_not_touched(cli, tmp_path, arguments):
    (tmp_path / "notes.txt").write_text("mine")
    assert cli(*arguments, "--path", tmp_path).exit_code == 1
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_trees_add_up(cli, filled):
    lines = cli("trees", "--path", filled).stdout.splitlines()
    rows = {
        name: [int(cell.replace(",", "")) for cell in cells[:3]]
        for name, *cells in (line.split() for line in lines[1:])
    }
    total = rows.pop("all")
    assert total == [sum(column) for column in zip(*rows.values(), strict=True)]
    with engine.open(filled) as db:
        for name, (entries, keys_bytes, values_bytes) in rows.items():
            stored = list(db.open_tree(name))
            assert entries == len(stored)
            assert keys_bytes == sum(len(key) for key, _ in stored)
            assert values_bytes == sum(len(value) for _, value in stored)
    assert rows["pduid_pdu"][0] == 31
    assert TREES["pduid_pdu"].meaning in "\n".join(lines)


def test_trees_that_nobody_owns_are_told_apart(cli, filled):
    with engine.open(filled) as db:
        db.open_tree("users").insert(b"k", b"v")
        db.open_tree("mine").insert(b"k", b"v")
        db.insert(b"in the default tree", b"")
    shown = cli("trees", "--path", filled).stdout
    assert "retired: " in shown
    assert "not in the schema" in shown
    assert "__default__" in shown


def rows_of(result):
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_scan_decodes_keys_and_values(cli, filled):
    rows = rows_of(cli("scan", "todeviceid_events", "--path", filled, "--json"))
    assert [row["value"]["content"] for row in rows] == [{"text": "one"}, {"text": "two"}]
    assert {row["key"]["user"] for row in rows} == {ALICE}
    assert {row["key"]["device"] for row in rows} == {"PHONE/1"}
    table = cli("scan", "todeviceid_events", "--path", filled).stdout.splitlines()
    assert table[0].split() == ["user", "device", "count", "value"]
    assert len(table) == 3


@pytest.mark.parametrize(
    ("prefix", "total"),
    [
        ("", 2),
        (ALICE, 2),
        (ALICE[:-1], 0),
        (f"{ALICE}/PHONE%2F1", 2),
        (f"{ALICE}/PHONE", 0),
        ("@bob:example.org", 0),
    ],
)
def test_a_prefix_is_whole_fields(cli, filled, prefix, total):
    result = cli("scan", "todeviceid_events", prefix, "--path", filled, "--json")
    assert len(rows_of(result)) == total


def test_a_prefix_may_go_down_to_a_number(cli, filled):
    first, _ = rows_of(cli("scan", "todeviceid_events", "--path", filled, "--json"))
    prefix = f"{ALICE}/PHONE%2F1/{first['key']['count']}"
    assert rows_of(cli("scan", "todeviceid_events", prefix, "--path", filled, "--json")) == [first]


def test_scan_limits_and_reverses(cli, filled):
    every = rows_of(cli("scan", "pduid_pdu", "--path", filled, "--json"))
    assert len(every) == 31
    last = rows_of(cli("scan", "pduid_pdu", "--path", filled, "--json", "--reverse", "--limit", 3))
    assert last == every[:-4:-1]


def test_rows_that_fit_no_schema_are_shown_as_bytes(cli, filled):
    with engine.open(filled) as db:
        db.open_tree("mine").insert(b"k\xff\x1b[2J", b"v\n")
        db.open_tree("userid_devicelistversion").insert(b"\xff\xfe", b"short")
    for name in ("mine", "userid_devicelistversion"):
        result = cli("scan", name, "--path", filled)
        assert "\\xff" in result.stdout
        assert "\x1b" not in result.stdout
    assert rows_of(cli("scan", "mine", "k", "--path", filled, "--json")) == [
        {"key": {"key": "k\\xff\\x1b[2J"}, "value": "v\\n"}
    ]


def test_a_strange_events_text_is_only_text(room):
    pdu = room.message("\x1b]0;title\x07 [bold]\u202egnp.exe\nsecond line")["pdu"]
    _, _, text = event_row(pdu)
    shown = one_line(text)
    assert shown.isprintable()
    assert "[bold]" in shown
    for content in ({}, {"body": 5}, {"body": None}, {"body": ["x"]}):
        assert event_row(pdu | {"content": content})
    assert event_row(pdu | {"type": "m.reaction", "content": {"m.relates_to": 1}})


def test_a_table_fits_the_terminal_and_is_whole_elsewhere(monkeypatch, capsys):
    rows = [("aa", 1_000, "x" * 200), ("後ろ", 5, "short")]
    Screen().table(("name", "total", "text"), rows)
    plain = capsys.readouterr().out.splitlines()
    assert plain == ["name  total  text", "aa    1,000  " + "x" * 200, "後ろ      5  short"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    Screen().table(("name", "total", "text"), rows)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert shown == [plain[0], "aa    1,000  " + "x" * 26 + "…", plain[2]]


@pytest.mark.parametrize("time_ms", [10**30, -(10**30), 10**15, 0])
def test_times_no_calendar_knows_are_shown_as_numbers(time_ms):
    assert time_text(time_ms)


def test_every_command_explains_itself(cli):
    overview = cli("--help").stdout
    for name in ("demo", "import", "page", "trees", "scan"):
        assert name in overview
        assert cli(name, "--help").exit_code == 0
    assert conduitstore.__version__ in cli("--version").stdout


def test_arguments_that_are_no_text(cli, filled):
    with engine.open(filled) as db:
        db.open_tree("of_another").insert(b"key", b"value")
    for tree in ("of_another", "eventid_pduid"):
        result = cli("scan", tree, "\udcff", "--path", filled)
        assert result.exit_code == 1
        assert "valid text" in result.stderr


def test_a_message_without_text_is_shown_by_its_type(room):
    assert event_row(room.event("m.room.message", {})["pdu"])[-1] == "[m.room.message]"


def test_scan_finds_the_queue_of_each_kind_of_destination(cli, filled):
    phone = PushGateway("@a:example.org", "push key")
    with conduitstore.open(filled) as store:
        for destination in (phone, Appservice("bridge"), FederationServer("one.test")):
            store.sending.queue_edus([(destination, {"n": 1})])
    for prefix in ("$@a:example.org push key", "+bridge", "one.test"):
        result = cli("scan", "servernameevent_data", prefix, "--path", filled, "--json")
        (row,) = rows_of(result)
        assert row["value"] == {"n": 1}
        assert prefix.split()[-1].strip("+") in row["key"]["destination"]
