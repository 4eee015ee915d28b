"""rebuild, gc, delete-room, purge-media."""

import json

import pytest

import conduitstore
from conduitstore import engine
from conduitstore.files import DirectoryFiles
from conduitstore.types import Mxc


def test_rebuild_mends_what_it_is_told_to(cli, filled):
    with engine.open(filled) as db:
        db.open_tree("token_userdeviceid").remove(b"token")
        db.open_tree("shortroomid_room").clear()
    result = cli("rebuild", "token_userdeviceid", "serverroomids", "--path", filled)
    assert result.stdout == "token_userdeviceid: 1 rows mended\nserverroomids: was right\n"
    result = cli("rebuild", "--path", filled)
    assert "shortroomid_room: 1 rows mended\n" in result.stdout
    assert "token_userdeviceid: was right\n" in result.stdout
    assert cli("check", "--path", filled).exit_code == 0


def test_rebuild_refuses_what_follows_from_nothing(cli, filled):
    result = cli("rebuild", "pduid_pdu", "--path", filled)
    assert result.exit_code == 1
    assert "nothing to rebuild it from" in result.stderr


def sizes(path):
    with engine.open(path, read_only=True) as db:
        return {name: len(db.open_tree(name)) for name in db.tree_names()}


def told(output):
    """Tree and the last number of each line of a table."""
    lines = [line.split() for line in output.splitlines()[1:-1]]
    return {line[0]: int(line[-1].replace(",", "")) for line in lines}


# gc ---------------------------------------------------------------------------------------------
@pytest.fixture
def littered(filled, room):
    with conduitstore.open(filled) as store:
        # The room could do without all messages but the newest.
        (newest,), _ = store.rooms.timeline.page(room.id, None, "b", 1)
        store.rooms.state.set_forward_extremities(room.id, [newest.event_id])
        for number in range(3):
            store.to_device.queue("@b:x", "@b:x", f"GONE{number}", "m.test", {})
            store.transaction_ids.record("@b:x", None, str(number), "", 5)
    return filled


def test_gc_removes_what_is_dead_and_says_so(cli, littered):
    before = sizes(littered)
    result = cli("gc", "--path", littered)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].split() == ["tree", "looked", "at", "removed"]
    removed = {tree: total for tree, total in told(result.stdout).items() if total}
    assert removed == {
        "todeviceid_events": 3,
        "userdevicetxnid_response": 3,
        "userdevicetxnid_recordedms": 3,
    }
    assert result.stdout.splitlines()[-1] == "9 rows removed"
    after = sizes(littered)
    assert {tree: before[tree] - after[tree] for tree in removed} == removed
    assert cli("check", "--path", littered).exit_code == 0


def test_a_dry_run_of_gc_works_beside_a_server_and_removes_nothing(cli, littered):
    before = sizes(littered)
    with conduitstore.open(littered):
        result = cli("gc", "--path", littered, "--dry-run", "--messages-days", 1)
        assert cli("gc", "--path", littered).exit_code == 1
    assert told(result.stdout)["todeviceid_events"] == 3
    assert told(result.stdout)["pduid_pdu"] == 29
    assert result.stdout.splitlines()[-1] == "38 rows would go"
    assert sizes(littered) == before


def test_gc_as_json(cli, littered):
    result = cli("gc", "--path", littered, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"tree": "todeviceid_events", "looked_at": 5, "removed": 3} in lines


def test_gc_forgets_messages_only_when_told(cli, littered):
    before = sizes(littered)["pduid_pdu"]
    cli("gc", "--path", littered)
    assert sizes(littered)["pduid_pdu"] == before
    cli("gc", "--path", littered, "--messages-days", 36_500)
    assert sizes(littered)["pduid_pdu"] == before
    cli("gc", "--path", littered, "--messages-days", 1)
    assert sizes(littered)["pduid_pdu"] < before
    assert cli("check", "--path", littered).exit_code == 0
    assert cli("gc", "--path", littered, "--messages-days", -1).exit_code == 2


# delete-room ------------------------------------------------------------------------------------
def test_delete_room_asks_and_says_what_went(cli, filled, room):
    before = sizes(filled)
    assert cli("delete-room", room.id, "--path", filled, stdin="n\n").exit_code == 1
    assert sizes(filled) == before
    dry = cli("delete-room", room.id, "--path", filled, "--dry-run")
    assert sizes(filled) == before
    result = cli("delete-room", room.id, "--path", filled, stdin="y\n")
    assert "and its 1 members?" in result.stderr
    assert told(result.stdout) == told(dry.stdout)
    assert told(dry.stdout)["pduid_pdu"] == before["pduid_pdu"] == 31
    after = sizes(filled)
    assert {tree: before[tree] - after[tree] for tree in before if before[tree] > after[tree]} == (
        told(result.stdout)
    )
    assert cli("check", "--path", filled).exit_code == 0
    again = cli("delete-room", room.id, "--path", filled, "--yes")
    assert set(told(again.stdout)) <= {"shortstatehash_statediff", "statehash_shortstatehash"}


# purge-media ------------------------------------------------------------------------------------
@pytest.fixture
def media(filled, tmp_path):
    files = tmp_path / "media"
    with conduitstore.open(filled, media_files=DirectoryFiles(files)) as store:
        for number in range(3):
            uploader = "@alice:example.org" if number else None
            store.media.files.upload(
                Mxc("example.org", str(number)),
                [b"bytes %d" % number],
                content_type="image/png" if number == 1 else "text/plain",
                uploader=uploader,
            )
    return files


def total_files(media):
    return sum(1 for _ in DirectoryFiles(media, read_only=True).hashes())


def test_purge_media_by_name_takes_the_bytes_along(cli, filled, media):
    names = ("mxc://example.org/1", "mxc://example.org/none")
    dry = cli("purge-media", *names, "--path", filled, "--dry-run")
    assert dry.stdout == "1 files would go\n"
    assert cli("purge-media", *names, "--path", filled, stdin="n\n").exit_code == 1
    assert total_files(media) == 3
    result = cli("purge-media", *names, "--path", filled, "--media", media, stdin="y\n")
    assert "and 1 files with them?" in result.stderr
    assert result.stdout == "1 files are gone\n"
    assert total_files(media) == 2
    assert cli("check", "--path", filled, "--media", media).exit_code == 0


def test_purge_media_by_what_they_are(cli, filled, media):
    uploader = ("--uploader", "@alice:example.org")
    result = cli("purge-media", "--path", filled, *uploader, "--older-days", 1, "--yes")
    assert result.stdout == "0 files are gone\n"
    result = cli("purge-media", "--path", filled, *uploader, "--type", "image", "--yes")
    assert result.stdout == "1 files are gone\n"
    result = cli("purge-media", "--path", filled, "--server", "example.org", "--yes")
    assert result.stdout == "2 files are gone\n"
    assert total_files(media) == 3
    cli("gc", "--path", filled, "--media", media)
    assert total_files(media) == 0


@pytest.mark.parametrize(
    "wrong", [(), ("mxc://x/1", "--server", "x"), ("x/1",), ("mxc://x",), ("mxc:///1",)]
)
def test_purge_media_is_told_which(cli, filled, wrong):
    assert cli("purge-media", *wrong, "--path", filled, "--yes").exit_code == 2


def test_a_directory_of_media_that_is_not_there_is_not_made(cli, filled, tmp_path):
    result = cli("gc", "--path", filled, "--media", tmp_path / "none")
    assert result.exit_code == 1
    assert "there is no directory" in result.stderr
    assert not (tmp_path / "none").exists()
