"""What an event says of other events, and the text to find it by.

What is no id is no mention: anybody may write anything into an event.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeGuard

from conduitstore.codec.events import ids_in
from conduitstore.codec.keys import TEXT_BYTES_MAX
from conduitstore.types import EventId, JsonObject


class Relation(NamedTuple):
    """What an event is to another one of its room: ``m.thread``, ``m.replace``, ..."""

    rel_type: str
    to: EventId


def relation_in(pdu: JsonObject) -> Relation | None:
    """The relation that ``m.relates_to`` says; a rich reply alone is none."""
    content = pdu.get("content")
    relates_to = content.get("m.relates_to") if isinstance(content, dict) else None
    if not isinstance(relates_to, dict):
        return None
    rel_type, to = relates_to.get("rel_type"), relates_to.get("event_id")
    if not isinstance(rel_type, str) or not _is_id(to) or to == pdu.get("event_id"):
        return None
    return Relation(rel_type, to)


def previous_in(pdu: JsonObject) -> list[EventId]:
    """The events in ``prev_events`` that there may be, each once."""
    return list(dict.fromkeys(event for event in ids_in(pdu, "prev_events") if _is_id(event)))


def text_in(pdu: JsonObject) -> str:
    """The body of a message; of everything else, nothing."""
    content = pdu.get("content")
    body = content.get("body") if isinstance(content, dict) else None
    return body if isinstance(body, str) and pdu.get("type") == "m.room.message" else ""


def _is_id(value: Any) -> TypeGuard[EventId]:
    # The fast answers first: most ids are short.
    return (
        isinstance(value, str)
        and 0 < len(value) <= TEXT_BYTES_MAX
        and (len(value) * 4 <= TEXT_BYTES_MAX or len(value.encode()) <= TEXT_BYTES_MAX)
    )


def with_relations_of(new: JsonObject, old: JsonObject) -> JsonObject:
    """``new`` with the notes of the store's own that ``old`` has."""
    noted = old.get("unsigned")
    if not isinstance(noted, dict) or "m.relations" not in noted:
        return new
    unsigned = new.get("unsigned")
    kept = unsigned if isinstance(unsigned, dict) else {}
    return new | {"unsigned": kept | {"m.relations": noted["m.relations"]}}
