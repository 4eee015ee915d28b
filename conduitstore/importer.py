"""Events from NDJSON into a store: what is good goes in, what is bad is named by its line.

A line is either ``{"event_id", "room_version", "pdu"}`` or a bare PDU. An event's id is taken from
its ``event_id``, and computed from its content where the room's version is known: from the line, or
from a create event earlier in the file or in the store. Where both are there they must agree.

- Each line is one commit: it goes in whole or not at all.
- State is what the state events say in the order they come, and members follow it: nothing is
  resolved.
- Memory is bounded: one line of :mod:`conduitstore.ndjson` and a cache of room versions.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

from conduitstore.codec.events import ROOM_VERSIONS, check_pdu, event_id_of, room_id_of
from conduitstore.codec.keys import TEXT_BYTES_MAX
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.ndjson import Line
from conduitstore.parts.holder import Parts
from conduitstore.store import Store
from conduitstore.types import EventId, JsonObject, RoomId

_VERSIONS_CACHED = 10_000
_ID_FIELDS = ("event_id", "room_id", "sender", "type", "state_key")


class Refusal(NamedTuple):
    """A line that was not stored, and why; refusals are counted by kind."""

    line: int
    kind: str
    reason: str


class _RefusedError(Exception):
    """Carries kind and reason out of the line's own transaction, which it undoes."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class _Named(NamedTuple):
    """A checked event with its id and its room's."""

    event_id: EventId
    room: RoomId
    pdu: JsonObject


class Importer:
    """Takes lines into one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._versions: dict[str, str] = {}

    def run(self, lines: Iterable[Line]) -> Iterator[Refusal | None]:
        """Import ``lines`` one by one; None for each that went in. Blank lines are nothing."""
        return (self._import(line) for line in lines if line.fault or line.content.strip())

    def _import(self, line: Line) -> Refusal | None:
        try:
            record = _parse(line)
            self._store.transaction(lambda tx: self._store_event(tx, record))
        except _RefusedError as refused:
            return Refusal(line.number, refused.kind, str(refused))
        except InvalidArgumentError as error:
            return Refusal(line.number, "not an event", str(error))
        return None

    def _store_event(self, tx: Parts, record: JsonObject) -> None:
        event = self._named(tx, record)
        if tx.rooms.timeline.position(event.event_id) is not None:
            _refuse("duplicate", f"{event.event_id} is already stored")
        tx.rooms.append(event.pdu, event.event_id, event.room)

    def _named(self, tx: Parts, record: JsonObject) -> _Named:
        pdu = record["pdu"] if isinstance(record.get("pdu"), dict) else record
        given = record.get("event_id")
        if not isinstance(given, str | None):
            _refuse("not an event", f"its event_id must be text, not {shown(given)}")
        _check_ids(pdu | {"event_id": given})
        check_pdu(pdu)
        version = self._version(tx, record, pdu)
        if version is None:
            if given is None:
                _refuse("no event id", "it has no event_id, and its room's version is not known")
            return _Named(EventId(given), RoomId(pdu["room_id"]), pdu)
        if version not in ROOM_VERSIONS:
            _refuse("unknown room version", f"{shown(version)}: 1 to 12 are known")
        event_id, room = event_id_of(pdu, version), room_id_of(pdu, version)
        if given not in (None, event_id):
            _refuse("event id mismatch", f"it says {given}, its content says {event_id}")
        if pdu["type"] == "m.room.create" and self._stored_version(tx, room) is None:
            self._remember(room, version)
        return _Named(event_id, room, pdu)

    def _version(self, tx: Parts, record: JsonObject, pdu: JsonObject) -> str | None:
        version = record.get("room_version") if record is not pdu else None
        if version is None and pdu["type"] == "m.room.create":
            version = _version_in(pdu)
        if version is None:
            version = self._versions.get(pdu["room_id"]) or self._stored_version(tx, pdu["room_id"])
        return version if version is None else str(version)

    def _stored_version(self, tx: Parts, room: RoomId) -> str | None:
        """From the create event, where the room's first event is one."""
        events, _ = tx.rooms.timeline.page(room, None, "f", 1)
        if not events or events[0].pdu["type"] != "m.room.create":
            return None
        version = _version_in(events[0].pdu)
        self._remember(room, version)
        return version

    def _remember(self, room: RoomId, version: str) -> None:
        if len(self._versions) >= _VERSIONS_CACHED:
            self._versions.clear()
        self._versions[room] = version


def _refuse(kind: str, reason: str) -> NoReturn:
    raise _RefusedError(kind, reason)


def _parse(line: Line) -> JsonObject:
    if line.fault is not None:
        kind, _, reason = line.fault.partition(": ")
        _refuse(kind, reason)
    try:
        # As text: of bytes, Python would guess UTF-16 and UTF-32 too.
        record: Any = json.loads(line.content.removeprefix(BOM_UTF8).decode())
    except RecursionError:
        _refuse("not JSON", "it is nested too deeply")
    except ValueError as error:
        _refuse("not JSON", str(error))
    if not isinstance(record, dict):
        _refuse("not an event", f"an event is a JSON object, not {type(record).__name__}")
    return record


def _check_ids(pdu: JsonObject) -> None:
    for field in _ID_FIELDS:
        text = pdu.get(field)
        size_bytes = len(text.encode(errors="replace")) if isinstance(text, str) else 0
        if size_bytes > TEXT_BYTES_MAX:
            _refuse("over-long id", f"its {field} has {size_bytes} bytes, of {TEXT_BYTES_MAX}")


def _version_in(create: JsonObject) -> str:
    return str(create["content"].get("room_version", "1"))
