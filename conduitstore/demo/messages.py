"""Messages made up on the spot, for what the history cannot show: something new."""

from __future__ import annotations

import time

from conduitstore.codec.events import event_id_of
from conduitstore.types import EventId, JsonObject, RoomId, UserId

ROOM_VERSION = "11"


def message(room: RoomId, sender: UserId, body: str, depth: int) -> tuple[JsonObject, EventId]:
    """A text message and its id; nothing signs it, since the store would not look."""
    pdu: JsonObject = {
        "type": "m.room.message",
        "room_id": room,
        "sender": sender,
        "content": {"msgtype": "m.text", "body": body},
        "origin_server_ts": time.time_ns() // 1_000_000,
        "depth": depth,
        "prev_events": [],
        "auth_events": [],
    }
    return pdu, event_id_of(pdu, ROOM_VERSION)
