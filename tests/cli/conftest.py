"""Commands run in this process, on stores in a temporary directory."""

import json

import pytest
from click.testing import CliRunner

import conduitstore
from conduitstore.cli.app import app
from conduitstore.codec.events import event_id_of, room_id_of

ALICE = "@alice:example.org"


@pytest.fixture
def cli():
    """Run a command; anything but a planned exit fails the test with its traceback."""

    def run(*arguments, stdin=None):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def path(tmp_path):
    """Where a store may be made."""
    return tmp_path / "store"


class Room:
    """Events of one room, as records of the longer form; the first creates it."""

    def __init__(self, version="11"):
        self.version = version
        named = {} if version == "12" else {"room_id": "!room:example.org"}
        self.create = self.event("m.room.create", {"room_version": version}, state_key="", **named)
        self.id = room_id_of(self.create["pdu"], version)

    def event(self, type, content, **fields):
        pdu = {
            "type": type,
            "sender": ALICE,
            "content": content,
            "origin_server_ts": 1_700_000_000_000,
            "depth": 1,
            "prev_events": [],
            "auth_events": [],
            "hashes": {"sha256": json.dumps(content)},
            **({"room_id": self.id} if hasattr(self, "id") else {}),
            **fields,
        }
        return {
            "event_id": event_id_of(pdu, self.version),
            "room_version": self.version,
            "pdu": pdu,
        }

    def message(self, body, **fields):
        return self.event("m.room.message", {"msgtype": "m.text", "body": body}, **fields)

    def member(self, user, membership, **fields):
        return self.event("m.room.member", {"membership": membership}, state_key=user, **fields)


@pytest.fixture
def room():
    return Room()


def ndjson(*records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.fixture
def filled(path, room):
    """A store with a room of thirty messages, one joined user and a device with two messages."""
    with conduitstore.open(path) as store:
        for record in [room.create, *(room.message(f"message {n}") for n in range(30))]:
            store.rooms.append(record["pdu"], record["event_id"], room.id)
        join = room.member(ALICE, "join")
        store.rooms.timeline.add_outlier(join["pdu"], join["event_id"])
        state = store.rooms.state_compressor.change(
            store.rooms.state.current(room.id), {("m.room.member", ALICE): join["event_id"]}
        )
        store.rooms.state.set_current(room.id, state)
        store.users.create(ALICE, None)
        store.devices.create(ALICE, "PHONE/1", "token")
        for text in ("one", "two"):
            store.to_device.queue(ALICE, ALICE, "PHONE/1", "m.test", {"text": text})
    return path
