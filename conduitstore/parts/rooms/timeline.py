"""Events in the order this server took them in, room by room, and the outliers beside them.

- An event received forwards is at the count drawn for it; one fetched later from another server
  ("backfill") is at that count's negative, so it sorts before everything already there.
- An event id is in the timeline or among the outliers, never in both.
- The event's id is stored inside it, as Conduit does, also where the room version leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from conduitstore.codec.events import encode_pdu
from conduitstore.codec.positions import PDU_ID, keys_after, keys_before, parse_token, token_of
from conduitstore.codec.values import unpack_json_object
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import Item, check_limit
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent
from conduitstore.schema import TREES
from conduitstore.types import (
    Count,
    Direction,
    EventId,
    JsonObject,
    PduCount,
    PduToken,
    RoomId,
    ShortEventId,
    ShortRoomId,
    StoredEvent,
    TimelineSlice,
)

_EVENT = TREES["eventid_pduid"].key.pack
_START = PduCount(0)
"""Normal(0): where an empty room's timeline ends."""


class ShortIds(Protocol):
    """Numbers for rooms and events."""

    def room(self, room: RoomId) -> ShortRoomId | None: ...
    def get_or_create_room(self, room: RoomId) -> ShortRoomId: ...
    def get_or_create_event(self, event: EventId) -> ShortEventId: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def short(self) -> ShortIds: ...


class TimelineNear(Near, Protocol):
    """The short ids that timeline keys are made of."""

    @property
    def rooms(self) -> RoomParts: ...


class Timeline(Part[TimelineNear]):
    """Trees: ``pduid_pdu``, ``eventid_pduid`` and ``eventid_outlierpdu``."""

    _pdus = TreeOf("pduid_pdu")
    _pdu_ids = TreeOf("eventid_pduid")
    _outliers = TreeOf("eventid_outlierpdu")

    # Writing ------------------------------------------------------------------------------------
    @atomic
    def append(self, pdu: JsonObject, event_id: EventId, room: RoomId) -> PduCount:
        """Put a new event at the end of its room; one that was an outlier stops being one.

        ``room`` is given because a version 12 create event does not say it.
        Source: Conduit, append_pdu.

        Raises:
            InvalidArgumentError: not a PDU, of another room, or already in a timeline.
        """
        return self._place(pdu, event_id, room, 1)

    @atomic
    def prepend_backfilled(self, pdu: JsonObject, event_id: EventId, room: RoomId) -> PduCount:
        """Put an event before all that the room has; otherwise like :meth:`append`.

        Source: Conduit, prepend_backfill_pdu.
        """
        return self._place(pdu, event_id, room, -1)

    def _place(self, pdu: JsonObject, event_id: EventId, room: RoomId, sign: int) -> PduCount:
        value = encode_pdu(pdu, event_id)
        if pdu.get("room_id", room) != room:
            raise InvalidArgumentError(f"{event_id} is of room {pdu['room_id']}, not {shown(room)}")
        key = _EVENT(event_id)
        if self._pdu_ids.contains_key(key):
            raise InvalidArgumentError(f"{event_id} is in a timeline already")
        short = self._near.rooms.short
        short_room = short.get_or_create_room(room)
        short.get_or_create_event(event_id)
        position = PduCount(sign * self._near.globals.draw())
        pdu_id = PDU_ID.pack(short_room, position)
        self._pdus.insert(pdu_id, value)
        self._pdu_ids.insert(key, pdu_id)
        self._outliers.remove(key)
        return position

    @atomic
    def replace(self, pdu: JsonObject, event_id: EventId) -> None:
        """Rewrite an event where it is, as for a redaction. Source: Conduit, replace_pdu.

        Raises:
            InvalidArgumentError: not a PDU, of another room, or not in a timeline.
        """
        value = encode_pdu(pdu, event_id)
        pdu_id = self._pdu_ids.get(_EVENT(event_id))
        if pdu_id is None:
            raise InvalidArgumentError(f"{event_id} is in no timeline")
        room = pdu.get("room_id")
        if room is not None and self._near.rooms.short.room(room) != PDU_ID.unpack(pdu_id)[0]:
            raise InvalidArgumentError(f"{event_id} is not of room {room}")
        self._pdus.insert(pdu_id, value)

    @atomic
    def add_outlier(self, pdu: JsonObject, event_id: EventId) -> None:
        """Keep an event that has no place in the timeline; an earlier copy is overwritten.

        Source: Conduit, add_pdu_outlier.

        Raises:
            InvalidArgumentError: not a PDU, or already in a timeline.
        """
        value = encode_pdu(pdu, event_id)
        key = _EVENT(event_id)
        if self._pdu_ids.contains_key(key):
            raise InvalidArgumentError(f"{event_id} is in a timeline already")
        self._outliers.insert(key, value)

    # Reading ------------------------------------------------------------------------------------
    @consistent
    def get(self, event_id: EventId) -> StoredEvent | None:
        """An event from the timeline or, failing that, from the outliers.

        Cost: two point reads. Source: Conduit, get_pdu.
        """
        key = _EVENT(event_id)
        pdu_id = self._pdu_ids.get(key)
        if pdu_id is not None:
            return _placed(pdu_id, self._pdus.get(pdu_id))
        return _outlier(key, self._outliers.get(key))

    @consistent
    def get_many(self, event_ids: Iterable[EventId]) -> list[StoredEvent | None]:
        """Many events, in their order, each as :meth:`get` has it. Cost: three bulk reads."""
        keys = list(map(_EVENT, event_ids))
        pdu_ids = self._pdu_ids.get_many(keys)
        placed = [pdu_id for pdu_id in pdu_ids if pdu_id is not None]
        pdus = dict(zip(placed, self._pdus.get_many(placed), strict=True))
        outside = [key for key, pdu_id in zip(keys, pdu_ids, strict=True) if pdu_id is None]
        outliers = dict(zip(outside, self._outliers.get_many(outside), strict=True))
        return [
            _outlier(key, outliers[key]) if pdu_id is None else _placed(pdu_id, pdus[pdu_id])
            for key, pdu_id in zip(keys, pdu_ids, strict=True)
        ]

    def position(self, event_id: EventId) -> PduCount | None:
        """Where in the timeline an event is; None for an outlier. Source: get_pdu_count."""
        pdu_id = self._pdu_ids.get(_EVENT(event_id))
        return None if pdu_id is None else PduCount(PDU_ID.unpack(pdu_id)[1])

    @consistent
    def last_position(self, room: RoomId) -> PduCount:
        """The place of the newest event; 0 where there is none. Source: last_timeline_count."""
        short_room = self._near.rooms.short.room(room)
        if short_room is None:
            return _START
        key = next(self._pdus.keys(PDU_ID.prefix(short_room), reverse=True, limit=1), None)
        return _START if key is None else PduCount(PDU_ID.unpack(key)[1])

    @consistent
    def page(
        self, room: RoomId, start: PduToken | None, direction: Direction, limit: int
    ) -> tuple[list[StoredEvent], PduToken | None]:
        """Up to ``limit`` events from ``start`` on, without the one at ``start`` itself.

        Args:
            room: an unknown one has no events.
            start: a token; None for the newest event going back, the oldest going forwards.
            direction: ``"b"`` gives newest first, ``"f"`` oldest first.
            limit: 1 or more.

        Returns:
            The events, and the token to go on with: None when there are no more.

        Cost: one range. Source: Conduit, pdus_until and pdus_after.
        """
        if direction not in ("b", "f"):
            raise InvalidArgumentError(f"a direction is 'b' or 'f', not {shown(direction)}")
        _check_page_limit(limit)
        position = None if start is None else parse_token(start)
        short_room = self._near.rooms.short.room(room)
        if short_room is None:
            return [], None
        events, more = _cut(self._walk(short_room, position, direction, limit + 1), limit)
        last = events[-1].position if more else None
        return events, None if last is None else token_of(last)

    def _walk(
        self,
        short_room: ShortRoomId,
        position: PduCount | None,
        direction: Direction,
        limit: int,
    ) -> Iterable[Item]:
        reverse = direction == "b"
        if position is None:
            return self._pdus.scan_prefix(PDU_ID.prefix(short_room), reverse=reverse, limit=limit)
        lo, hi = (keys_before if reverse else keys_after)(short_room, position)
        return self._pdus.range(lo, hi, reverse=reverse, limit=limit)

    @consistent
    def since(self, room: RoomId, since: Count, upto: Count, limit: int) -> TimelineSlice:
        """The newest ``limit`` events that arrived in (since, upto], oldest first; no backfill.

        Cost: one range of ``limit`` + 1. Source: the first step of a sync, over pdus_until.
        """
        _check_page_limit(limit)
        short_room = self._near.rooms.short.room(room)
        if short_room is None:
            return TimelineSlice([], limited=False)
        lo, hi = PDU_ID.counts(short_room, since=since, upto=upto)
        newest = self._pdus.range(lo, hi, reverse=True, limit=limit + 1)
        events, limited = _cut(newest, limit)
        return TimelineSlice(events[::-1], limited)


def _cut(items: Iterable[Item], limit: int) -> tuple[list[StoredEvent], bool]:
    """The first ``limit`` items as events, and whether there was one more."""
    found = list(items)
    return [_event(item) for item in found[:limit]], len(found) > limit


def _event(item: Item) -> StoredEvent:
    key, value = item
    pdu = unpack_json_object("pduid_pdu", value, "event_id")
    return StoredEvent(PduCount(PDU_ID.unpack(key)[1]), pdu["event_id"], pdu)


def _placed(pdu_id: bytes, value: bytes | None) -> StoredEvent | None:
    return None if value is None else _event((pdu_id, value))


def _outlier(key: bytes, value: bytes | None) -> StoredEvent | None:
    if value is None:
        return None
    return StoredEvent(None, EventId(key.decode()), unpack_json_object("eventid_outlierpdu", value))


def _check_page_limit(limit: int) -> None:
    if not check_limit(limit):
        raise InvalidArgumentError("a page has room for 1 event or more")
