"""The demo, on the beginning of its history so that it stays quick, and what it promises."""

import asyncio
import json
import signal
import subprocess

import pytest
import zstandard

import conduitstore
from conduitstore.changes import Changes
from conduitstore.cli import demo as scenes
from conduitstore.demo.history import PACKED, History
from conduitstore.demo.kill import Kill, _compare, kill_a_writer
from conduitstore.demo.replay import Tally, replay, wrong_memberships, wrong_states
from conduitstore.errors import InvalidArgumentError

BEGINNING = 1_500


def pack(path, operations, joined, state=None, **header):
    """A history file."""
    lines = [{"format": 1, "source": "a test", "totals": {}, **header}, *operations]
    text = b"".join(
        json.dumps(line).encode() + b"\n"
        for line in [*lines, {"joined": joined, "state": state or {}}]
    )
    path.write_bytes(zstandard.compress(text))
    return path


@pytest.fixture(scope="module")
def beginning():
    """The first operations, and who is joined after them."""
    operations = [operation for operation, _ in zip(History(), range(BEGINNING), strict=False)]
    joined = {}
    for operation in operations:
        for user, membership in operation.get("members", ()):
            users = joined.setdefault(operation["room"], set())
            (users.add if membership == "join" else users.discard)(user)
    return operations, {room: sorted(users) for room, users in joined.items() if users}


@pytest.fixture
def short_history(tmp_path, beginning):
    return pack(tmp_path / "history.zst", *beginning)


def test_the_packed_history_replays_to_the_members_and_state_the_server_ended_with():
    history, tally = History(), Tally()
    with conduitstore.open(":memory:") as store:
        assert len(list(replay(store, tally.watch(history)))) == len(history)
        assert wrong_memberships(store, history) == wrong_states(store, history) == []
        assert sum(map(len, history.state.values())) == 377
        for room in tally.events:
            leaves = store.rooms.state.forward_extremities(room)
            assert leaves
            assert all(store.rooms.timeline.position(leaf) is not None for leaf in leaves)
        members = store.rooms.members
        assert sum(members.joined_total(room) for room in history.joined) == sum(
            map(len, history.joined.values())
        )
        for room, total in tally.events.items():
            events, more = store.rooms.timeline.page(room, None, "f", 10_000)
            assert (len(events), more) == (total, None)
        assert store.users.total() == history.totals["user"]
    assert tally.operations == history.totals
    assert PACKED.stat().st_size < 2_000_000


def test_backfill_ends_up_before_everything_else_in_its_order():
    """What a room was before its server joined, oldest first, as its depth says."""
    backfilled = {operation["room"] for operation in History() if operation["do"] == "backfill"}
    operations = [operation for operation in History() if operation.get("room") in backfilled]
    events = [operation for operation in operations if "pdu" in operation]
    with conduitstore.open(":memory:") as store:
        list(replay(store, events))
        for room in backfilled:
            events, _ = store.rooms.timeline.page(room, None, "f", 10_000)
            depths = [event.pdu["depth"] for event in events if event.position < 0]
            assert depths == sorted(depths)
            assert events[0].pdu["type"] == "m.room.create"


def test_the_demo_shows_its_scenes(cli, short_history):
    result = cli("demo", "--history", short_history)
    assert result.exit_code == 0, result.output
    for words in (
        "Joined members checked",
        "State checked",
        "The busiest room: Choir",
        "two pages back:",
        "A long poll from",
        "Is anybody awake?",
        "Delivered, delivered again on a retry, acknowledged by the next token, gone.",
        "Nothing acknowledged was lost.",
        "pduid_pdu",
        "more trees are empty",
    ):
        assert words in result.output


def test_the_demos_store_can_be_kept_and_looked_at(cli, short_history, path):
    result = cli("demo", "--history", short_history, "--path", path)
    assert result.exit_code == 0, result.output
    assert "writer:demo.test" in cli("page", "!killed:demo.test", "--path", path).stdout
    again = cli("demo", "--history", short_history, "--path", path)
    assert again.exit_code == 1
    assert "already holds a store" in again.stderr


def test_a_membership_that_differs_is_told(cli, tmp_path, beginning):
    operations, joined = beginning
    room = next(iter(joined))
    wrong = pack(tmp_path / "wrong.zst", operations, joined | {room: joined[room][1:]})
    result = cli("demo", "--history", wrong)
    assert result.exit_code == 1
    assert f"{room}: joined users differ" in result.output


def test_a_state_that_differs_is_told(cli, tmp_path, beginning):
    room = next(iter(beginning[1]))
    state = {room: [["m.room.create", "", "$another"]]}
    result = cli("demo", "--history", pack(tmp_path / "wrong.zst", *beginning, state))
    assert result.exit_code == 1
    assert f"{room}: the state differs" in result.output


def test_a_long_poll_that_nothing_wakes_is_told(cli, short_history, monkeypatch):
    async def time_out():
        return False

    monkeypatch.setattr(Changes, "wait", lambda *_, **__: asyncio.ensure_future(time_out()))
    result = cli("demo", "--history", short_history)
    assert result.exit_code == 1
    assert "It was not woken" in result.output


def test_a_lost_event_is_told(cli, short_history, monkeypatch):
    lost = Kill(["$a", "$b"], ["$b"], stored_total=1, was_killed=True, was_recovered=True)
    monkeypatch.setattr(scenes, "kill_a_writer", lambda _path: lost)
    result = cli("demo", "--history", short_history)
    assert result.exit_code == 1
    assert "lost: $b" in result.output


def test_a_history_that_is_cut_or_newer_is_refused(cli, tmp_path, beginning):
    newer = pack(tmp_path / "newer.zst", *beginning, format=2)
    assert "has format 2" in cli("demo", "--history", newer).stderr
    for number, text in enumerate([b"", b"text", b"[]\n", b'{"format": 1}']):
        other = tmp_path / f"other-{number}"
        other.write_bytes(text)
        result = cli("demo", "--history", other)
        assert (result.exit_code, result.stderr) == (1, f"Error: {other} is not a packed history\n")
    cut = tmp_path / "cut.zst"
    cut.write_bytes(PACKED.read_bytes()[:-10])
    with pytest.raises(InvalidArgumentError, match="damaged stream"):
        History(cut)


def test_what_a_killed_writer_acknowledged_is_there(path):
    kill = kill_a_writer(path, acknowledged_least=50)
    assert kill.was_killed
    assert kill.was_recovered
    assert len(kill.acknowledged) >= 50
    assert len(set(kill.acknowledged)) == len(kill.acknowledged)
    assert kill.missing == []
    assert kill.stored_total - len(kill.acknowledged) in (0, 1)
    assert _compare(path, ["$never-stored"], was_killed=True).missing == ["$never-stored"]


def test_a_writer_that_ends_by_itself_was_not_killed(path, capfd):
    with conduitstore.open(path), pytest.raises(conduitstore.LockedError):
        kill_a_writer(path, acknowledged_least=1)
    assert "LockedError" in capfd.readouterr().err


def test_no_process_is_left_behind(path, monkeypatch):
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    kill_a_writer(path, acknowledged_least=1)
    assert [process.returncode for process in started] == [-signal.SIGKILL], "and waited for"
