"""docs/admin.md: each command and each example works, in the order of the page."""

import re
import shlex
from pathlib import Path

import pytest

import conduitstore
from conduitstore.files import DirectoryFiles
from conduitstore.types import Mxc

PAGE = Path(__file__).parents[2] / "docs" / "admin.md"
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
ROOM, SPAM = "!tea:example.org", "@spam:example.org"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with a store and media, as the page names them."""
    monkeypatch.chdir(tmp_path)
    files = DirectoryFiles("homeserver-media")
    with conduitstore.open("homeserver-data", media_files=files) as store:
        for number in range(5):
            pdu = {
                "type": "m.room.message" if number else "m.room.create",
                "sender": SPAM,
                "room_id": ROOM,
                "content": {"body": str(number)},
                "origin_server_ts": number,
                "prev_events": [f"${number - 1}"],
            }
            if not number:
                pdu["state_key"] = ""
            store.rooms.append(pdu, f"${number}", ROOM)
        store.media.files.upload(Mxc("example.org", "1"), [b"one"], uploader=SPAM)
        store.media.files.upload(Mxc("spam.example", "2"), [b"two"], kind="remote")
    return tmp_path


def test_each_command_and_example_works(cli, here):
    commands = 0
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "docs/admin.md", "exec"), {})
            continue
        for line in text.splitlines():
            name, *arguments = shlex.split(line)
            assert name == "conduitstore"
            result = cli(*arguments)
            assert result.exit_code == 0, f"{line}\n{result.output}"
            commands += 1
    assert commands > 15
    assert (here / "homeserver-restored").is_dir()
    with conduitstore.open("homeserver-data", read_only=True) as store:
        assert store.rooms.short.room(ROOM) is None
    with conduitstore.open("homeserver-restored", read_only=True) as store:
        assert store.rooms.timeline.position("$1") is not None


def test_every_command_of_the_table_is_there(cli):
    table = PAGE.read_text().partition("\n## ")[0]
    named = set(re.findall(r"`conduitstore ([a-z-]+)[^`]*`", table))
    assert len(named) > 10
    for name in named:
        assert cli(name, "--help").exit_code == 0
