"""Write a store of the newest schema that every later release must be able to migrate.

    python tools/make_golden_schema.py    # refuses to touch a version that is there

``tests/golden/schema-<version>.stream`` is an exported store with a row or more in the trees that
parts of that version filled; ``tests/golden/test_schema.py`` imports it, migrates it, checks it and
reads it through the parts. Run this before a migration is added: afterwards nothing can write the
earlier schema any more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import conduitstore
from conduitstore.parts.holder import Parts
from conduitstore.types import (
    AccessToken,
    Count,
    DeviceId,
    EventId,
    JsonObject,
    RoomId,
    UserId,
)

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
USERS = [UserId("@ann:one.test"), UserId("@ben:two.test")]
ROOMS = [RoomId("!attic:one.test"), RoomId("!cellar:one.test")]


def fill(store: Parts) -> None:
    """Accounts, devices, queues, account data; two rooms with events, members and receipts."""
    for user in USERS:
        store.users.create(user, f"hash of {user}")
        store.devices.create(user, DeviceId("PHONE"), AccessToken(f"token of {user}"))
        store.to_device.queue(user, user, DeviceId("PHONE"), "m.test", {"for": user})
        store.account_data.update(None, user, "m.direct", {"is": user})
    for room in ROOMS:
        for number in range(20):
            event = _message(room, number)
            store.rooms.timeline.append(event, EventId(f"${number}{room}"), room)
        for user in USERS:
            store.rooms.members.mark_joined(user, room)
            store.rooms.receipts.update(user, room, _receipt(room, user))
            store.rooms.receipts.set_private_read(user, room, Count(3))
    store.rooms.members.mark_left(USERS[1], ROOMS[1])


def _message(room: RoomId, number: int) -> JsonObject:
    return {
        "auth_events": [],
        "content": {"body": f"message {number}", "msgtype": "m.text"},
        "depth": number,
        "hashes": {"sha256": "x"},
        "origin_server_ts": 1_700_000_000_000 + number,
        "prev_events": [f"${number - 1}{room}"] if number else [],
        "room_id": room,
        "sender": USERS[number % 2],
        "signatures": {},
        "type": "m.room.message",
    }


def _receipt(room: RoomId, user: UserId) -> JsonObject:
    content = {f"$19{room}": {"m.read": {user: {"ts": 1_700_000_000_000}}}}
    return {"type": "m.receipt", "content": content}


def main() -> None:
    """Make the store of the schema that this version writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    with conduitstore.open(":memory:") as store:
        version = store.globals.schema_version()
    path = GOLDEN / f"schema-{version}.stream"
    if path.exists():
        parser.error(f"{path} is there: what a release wrote is never changed")
    with conduitstore.open(":memory:") as store:
        fill(store)
        path.write_bytes(b"".join(store.db.export()))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
