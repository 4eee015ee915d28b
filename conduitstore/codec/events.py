"""PDUs: their shape, their ids, and what a redaction leaves of them, in room versions 1 to 12.

- Versions 1 and 2 carry their id in ``event_id``; later ones are named by their reference hash.
- The store keeps every event with its ``event_id`` inside, as Conduit does. In versions 3 and
  later that field is no part of the event, so hashing leaves it out.
- A version 12 create event has no ``room_id``: the room is named after the event.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from conduitstore.codec.keys import TEXT_BYTES_MAX
from conduitstore.codec.values import pack_canonical_json
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.types import EventId, JsonObject, RoomId

PDU_BYTES_MAX = 65_536
"""The most an event may have in federation format, signatures included."""

TIME_MS_MAX = (1 << 63) - 1
"""The latest time an event may say it is from; the earliest is as far back."""

ROOM_VERSIONS = {str(number): number for number in range(1, 13)}

_VERSIONS_BEFORE_12 = list(ROOM_VERSIONS)[:11]

_KEPT = {
    "auth_events", "content", "depth", "event_id", "hashes", "origin_server_ts", "prev_events",
    "room_id", "sender", "signatures", "state_key", "type",
}  # fmt: skip
_KEPT_BEFORE_11 = _KEPT | {"membership", "origin", "prev_state"}

_POWER_LEVELS = [
    "ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default",
]  # fmt: skip

# Event type -> what redaction keeps of its content: (key, first version, last version).
_KEPT_CONTENT: dict[str, list[tuple[str, int, int]]] = {
    "m.room.aliases": [("aliases", 1, 5)],
    "m.room.create": [("creator", 1, 10)],  # From version 11 on, all of it: see _kept_content.
    "m.room.history_visibility": [("history_visibility", 1, 12)],
    "m.room.join_rules": [("join_rule", 1, 12), ("allow", 8, 12)],
    "m.room.member": [("membership", 1, 12), ("join_authorised_via_users_server", 9, 12)],
    "m.room.power_levels": [*((key, 1, 12) for key in _POWER_LEVELS), ("invite", 11, 12)],
    "m.room.redaction": [("redacts", 11, 12)],
}


def _number(room_version: str) -> int:
    number = ROOM_VERSIONS.get(room_version)
    if number is None:
        raise InvalidArgumentError(f"unknown room version {shown(room_version)}: 1 to 12 are known")
    return number


def _kept_content(event_type: object, content: Mapping[str, Any], version: int) -> JsonObject:
    if event_type == "m.room.create" and version >= 11:
        return dict(content)
    rules = _KEPT_CONTENT.get(event_type, []) if isinstance(event_type, str) else []
    kept = {
        key: content[key]
        for key, first, last in rules
        if first <= version <= last and key in content
    }
    invite = content.get("third_party_invite")
    if event_type == "m.room.member" and version >= 11 and isinstance(invite, Mapping):
        kept["third_party_invite"] = {key: invite[key] for key in ("signed",) if key in invite}
    return kept


def redact(pdu: Mapping[str, Any], room_version: str) -> JsonObject:
    """A copy with only what the room version protects; ``unsigned`` goes too."""
    version = _number(room_version)
    kept_keys = _KEPT if version >= 11 else _KEPT_BEFORE_11
    kept = {key: value for key, value in pdu.items() if key in kept_keys}
    content = pdu.get("content")
    kept["content"] = _kept_content(
        pdu.get("type"), content if isinstance(content, Mapping) else {}, version
    )
    return kept


def reference_hash(pdu: Mapping[str, Any], room_version: str) -> bytes:
    """The SHA-256 that names the event from version 3 on."""
    kept = redact(pdu, room_version)
    kept.pop("signatures", None)
    if _number(room_version) >= 3:
        kept.pop("event_id", None)
    return sha256(pack_canonical_json(kept)).digest()


def event_id_of(pdu: Mapping[str, Any], room_version: str) -> EventId:
    """The event's id: its own field in versions 1 and 2, its reference hash later."""
    version = _number(room_version)
    if version < 3:
        event_id = pdu.get("event_id")
        if not isinstance(event_id, str):
            raise InvalidArgumentError(f"room version {room_version} needs a text event_id")
        return EventId(event_id)
    digest = reference_hash(pdu, room_version)
    encode = base64.b64encode if version == 3 else base64.urlsafe_b64encode
    return EventId("$" + encode(digest).decode().rstrip("="))


def room_id_of(pdu: Mapping[str, Any], room_version: str) -> RoomId:
    """The room the event belongs to, also for a version 12 create event, which does not say."""
    if _number(room_version) >= 12 and pdu.get("type") == "m.room.create":
        return RoomId("!" + event_id_of(pdu, room_version)[1:])
    room_id = pdu.get("room_id")
    if not isinstance(room_id, str):
        raise InvalidArgumentError("the event has no text room_id")
    return RoomId(room_id)


def previous_events(pdu: Mapping[str, Any]) -> list[EventId]:
    """The ids in ``prev_events``; room versions 1 and 2 have them in pairs with a hash."""
    named = pdu.get("prev_events")
    items = named if isinstance(named, list) else ()
    ids = [item[0] if isinstance(item, list) and item else item for item in items]
    return [EventId(event) for event in ids if isinstance(event, str)]


def check_pdu(pdu: object) -> JsonObject:
    """``pdu`` itself, or an :class:`InvalidArgumentError` that says what is wrong with it.

    The shape only: whether the event is allowed, or hashes to its id, is the homeserver's to say.
    """
    encode_pdu(pdu)
    assert isinstance(pdu, dict)
    return pdu


def encode_pdu(pdu: object, event_id: str | None = None) -> bytes:
    """Canonical JSON of a checked PDU, with ``event_id`` inside where one is given."""
    shaped = _check_shape(pdu)
    if event_id is not None:
        said = shaped.get("event_id", event_id)
        if said != event_id:
            raise InvalidArgumentError(f"the event says it is {shown(said)}, not {shown(event_id)}")
        shaped = {**shaped, "event_id": event_id}
    encoded = pack_canonical_json(shaped)
    if len(encoded) > PDU_BYTES_MAX:
        # What the store and the server add does not count, and is rarely the reason: look again.
        bare = {key: shaped[key] for key in shaped if key not in ("event_id", "unsigned")}
        size_bytes = len(pack_canonical_json(bare))
        if size_bytes > PDU_BYTES_MAX:
            raise InvalidArgumentError(
                f"an event has at most {PDU_BYTES_MAX} bytes, this one has {size_bytes}"
            )
    return encoded


def _check_shape(pdu: object) -> JsonObject:
    if not isinstance(pdu, dict):
        raise InvalidArgumentError(f"an event is a JSON object, not {type(pdu).__name__}")
    if not isinstance(pdu.get("content"), dict):
        raise InvalidArgumentError("an event's content must be an object")
    time_ms = pdu.get("origin_server_ts")
    if type(time_ms) is not int or not -TIME_MS_MAX <= time_ms <= TIME_MS_MAX:
        raise InvalidArgumentError("an event's origin_server_ts must be an int of 64 bits")
    for key in ("type", "sender"):
        _check_id(pdu, key)
    if "room_id" in pdu or not _names_its_room(pdu):
        _check_id(pdu, "room_id")
    for key in ("state_key", "event_id"):
        if key in pdu:
            _check_id(pdu, key)
    return pdu


def _names_its_room(pdu: JsonObject) -> bool:
    """A create event of version 12, or of one we do not know and do not judge."""
    version = pdu["content"].get("room_version", "1")
    return pdu["type"] == "m.room.create" and version not in _VERSIONS_BEFORE_12


def _check_id(pdu: JsonObject, key: str) -> None:
    text = pdu.get(key)
    if not isinstance(text, str):
        raise InvalidArgumentError(f"an event's {key} must be text, not {shown(text)}")
    # The fast answer first: text this short is fine however it is encoded.
    if len(text) * 4 > TEXT_BYTES_MAX:
        size_bytes = len(text.encode(errors="surrogatepass"))
        if size_bytes > TEXT_BYTES_MAX:
            raise InvalidArgumentError(
                f"an event's {key} has at most {TEXT_BYTES_MAX} bytes, this one has {size_bytes}"
            )
