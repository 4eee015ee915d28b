"""Events in the order this server took them in, room by room, and the outliers beside them.

- An event received forwards is at the count drawn for it; one fetched later from another server
  ("backfill") is at that count's negative, so it sorts before everything already there.
- An event id is in the timeline or among the outliers, never in both.
- The event's id is stored inside it, as Conduit does, also where the room version leaves it out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from conduitstore.codec.events import encode_pdu
from conduitstore.codec.mentions import with_relations_of
from conduitstore.codec.positions import (
    PDU_ID,
    keys_beyond,
    parse_token,
    position_in,
    token_of,
)
from conduitstore.codec.stored_events import event_in, outlier_in, placed_in
from conduitstore.errors import CorruptedError, InvalidArgumentError, shown
from conduitstore.kv import Item
from conduitstore.parts.arguments import check_direction, check_page_limit, listed
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent, explained
from conduitstore.schema import TREES
from conduitstore.types import (
    Count,
    Direction,
    EventId,
    JsonObject,
    PduCount,
    PduId,
    PduToken,
    PlacedEvent,
    RoomId,
    ShortEventId,
    ShortRoomId,
    StoredEvent,
    TimelineSlice,
)

_EVENT = TREES["eventid_pduid"].key.pack
_START = PduCount(0)  # Normal(0): where an empty room's timeline ends.


class ShortIds(Protocol):
    """Numbers for rooms and events."""

    def room(self, room: RoomId) -> ShortRoomId | None: ...
    def room_many(self, rooms: Sequence[RoomId]) -> list[ShortRoomId | None]: ...
    def room_id(self, short: ShortRoomId) -> RoomId | None: ...
    def number_room(self, room: RoomId) -> ShortRoomId: ...
    def number_event(self, event: EventId) -> ShortEventId: ...


class EventIndexes(Protocol):
    """What follows from an event by itself, and all that is noted of one."""

    def add(self, event: PlacedEvent) -> None: ...
    def replace(self, old: PlacedEvent, new: PlacedEvent) -> None: ...
    def remove(self, event: PlacedEvent) -> None: ...


class KeptOriginals(Protocol):
    """Redacted events as they were."""

    def keep(self, event_id: EventId, pdu: JsonObject, redacted_s: int) -> bool: ...


class States(Protocol):
    """Where rooms' histories end."""

    def is_forward_extremity(self, room: RoomId, event: EventId) -> bool: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def short(self) -> ShortIds: ...
    @property
    def indexes(self) -> EventIndexes: ...
    @property
    def originals(self) -> KeptOriginals: ...
    @property
    def state(self) -> States: ...


class TimelineNear(Near, Protocol):
    """The short ids that timeline keys are made of, and what follows from events."""

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
        short_room = short.number_room(room)
        short.number_event(event_id)
        position = PduCount(sign * self._near.globals.draw())
        pdu_id = PDU_ID.pack(short_room, position)
        self._pdus.put(pdu_id, value)
        self._pdu_ids.put(key, pdu_id)
        self._outliers.put(key, None)
        placed = PlacedEvent(
            room, PduId(short_room, position), event_id, {**pdu, "event_id": event_id}
        )
        self._near.rooms.indexes.add(placed)
        return position

    @atomic
    def replace(
        self, pdu: JsonObject, event_id: EventId, *, keep_original_s: int | None = None
    ) -> None:
        """Rewrite an event where it is, as for a redaction; all indexes follow.

        Args:
            pdu: the event from now on. What the store itself noted in ``unsigned`` under
                ``m.relations`` stays.
            event_id: which it is.
            keep_original_s: the time now, Unix seconds, where the event as it was is to be kept
                for moderators (see ``rooms.originals``).

        Source: Conduit, replace_pdu.

        Raises:
            InvalidArgumentError: not a PDU, of another room, or not in a timeline.
        """
        encode_pdu(pdu, event_id)
        old = self._found(event_id)
        if old is None:
            raise InvalidArgumentError(f"{event_id} is in no timeline")
        if pdu.get("room_id", old.room) != old.room:
            raise InvalidArgumentError(f"{event_id} is not of room {shown(pdu['room_id'])}")
        new = old._replace(pdu=with_relations_of(pdu, old.pdu) | {"event_id": event_id})
        self._pdus.put(PDU_ID.pack(*old.id), encode_pdu(new.pdu, event_id))
        if keep_original_s is not None:
            self._near.rooms.originals.keep(event_id, old.pdu, keep_original_s)
        self._near.rooms.indexes.replace(old, new)

    @atomic
    def remove(self, event_id: EventId) -> bool:
        """Take an event out of the timeline, and all that was derived from it.

        The short id of a state event stays, for states name it. Whether the room can do without the
        event is for the caller to say; ``rooms.retention`` does. Source: tuwunel, delete_pdus.

        Returns:
            False, and no change, where it is in no timeline.

        Raises:
            InvalidArgumentError: the room's next event would follow it: a forward extremity.
        """
        found = self._found(event_id)
        if found is None:
            return False
        rooms = self._near.rooms
        if rooms.state.is_forward_extremity(found.room, event_id):
            raise InvalidArgumentError(
                f"{event_id} is a forward extremity: set others (rooms.state) or delete the room"
            )
        rooms.indexes.remove(found)
        self._pdus.put(PDU_ID.pack(*found.id), None)
        self._pdu_ids.put(_EVENT(event_id), None)
        return True

    @explained
    def rewrite(self, pdu_id: PduId, pdu: JsonObject) -> None:
        """Write an event's own row, as for a note in its ``unsigned``; indexes stay as they are."""
        if (old := self.at(pdu_id)) is None:
            raise InvalidArgumentError(f"there is no event at {shown(pdu_id)}")
        self._pdus.put(PDU_ID.pack(*pdu_id), encode_pdu(pdu, old.event_id))

    def _found(self, event_id: EventId) -> PlacedEvent | None:
        pdu_id = self.pdu_id(event_id)
        event = None if pdu_id is None else self.at(pdu_id)
        if pdu_id is None or event is None:
            return None
        room = self._near.rooms.short.room_id(pdu_id.short_room)
        if room is None:
            raise CorruptedError("shortroomid_room", 0, f"no room {pdu_id.short_room}")
        return PlacedEvent(room, pdu_id, event_id, event.pdu)

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
        self._outliers.put(key, value)

    # Reading ------------------------------------------------------------------------------------
    @consistent
    def get(self, event_id: EventId) -> StoredEvent | None:
        """An event from the timeline or, failing that, from the outliers. Two point reads.

        Source: Conduit, get_pdu, get_pdu_json, get_non_outlier_pdu, get_non_outlier_pdu_json.
        """
        key = _EVENT(event_id)
        pdu_id = self._pdu_ids.get(key)
        if pdu_id is not None:
            return placed_in(pdu_id, self._pdus.get(pdu_id))
        return outlier_in(key, self._outliers.get(key))

    @consistent
    def get_many(self, event_ids: Iterable[EventId]) -> list[StoredEvent | None]:
        """Many events, in their order, each as :meth:`get` has it. Cost: three bulk reads."""
        keys = list(map(_EVENT, listed(event_ids, "events")))
        pdu_ids = self._pdu_ids.get_many(keys)
        placed = [pdu_id for pdu_id in pdu_ids if pdu_id is not None]
        pdus = dict(zip(placed, self._pdus.get_many(placed), strict=True))
        outside = [key for key, pdu_id in zip(keys, pdu_ids, strict=True) if pdu_id is None]
        outliers = dict(zip(outside, self._outliers.get_many(outside), strict=True))
        return [
            outlier_in(key, outliers[key]) if pdu_id is None else placed_in(pdu_id, pdus[pdu_id])
            for key, pdu_id in zip(keys, pdu_ids, strict=True)
        ]

    def pdu_id(self, event_id: EventId) -> PduId | None:
        """An event's key; None for an outlier. Source: Conduit, get_pdu_id."""
        pdu_id = self._pdu_ids.get(_EVENT(event_id))
        return None if pdu_id is None else PduId(*PDU_ID.unpack(pdu_id))

    @explained
    def at(self, pdu_id: PduId) -> StoredEvent | None:
        """The event at a place. Source: Conduit, get_pdu_from_id and get_pdu_json_from_id."""
        key = PDU_ID.pack(*pdu_id)
        return placed_in(key, self._pdus.get(key))

    @consistent
    def at_many(self, room: RoomId, positions: Iterable[PduCount]) -> list[StoredEvent | None]:
        """The events at places of a room, in their order: of a search. Cost: one bulk read."""
        short_room = self._near.rooms.short.room(room)
        if short_room is None:
            return [None for _ in positions]
        keys = [PDU_ID.pack(short_room, position) for position in listed(positions, "places")]
        return list(map(placed_in, keys, self._pdus.get_many(keys)))

    def outlier(self, event_id: EventId) -> StoredEvent | None:
        """One in no timeline. Source: Conduit, get_outlier_pdu and get_outlier_pdu_json."""
        key = _EVENT(event_id)
        return outlier_in(key, self._outliers.get(key))

    @consistent
    def exists(self, event_id: EventId) -> bool:
        """Whether it is in a timeline or an outlier. Source: the forks, pdu_exists."""
        key = _EVENT(event_id)
        return self._pdu_ids.contains_key(key) or self._outliers.contains_key(key)

    def position(self, event_id: EventId) -> PduCount | None:
        """An event's place in its timeline; None for an outlier. Source: Conduit, get_pdu_count."""
        pdu_id = self._pdu_ids.get(_EVENT(event_id))
        return None if pdu_id is None else position_in(pdu_id)

    @consistent
    def last_position(self, room: RoomId) -> PduCount:
        """The place of the newest event; 0 where there is none.

        Source: Conduit, last_timeline_count.
        """
        short_room = self._near.rooms.short.room(room)
        if short_room is None:
            return _START
        key = next(self._pdus.keys(PDU_ID.prefix(short_room), reverse=True, limit=1), None)
        return _START if key is None else position_in(key)

    @consistent
    def neighbour(self, room: RoomId, position: PduCount, direction: Direction) -> PduCount | None:
        """The next place with an event, forwards or back; None at the end.

        Source: the forks, prev_timeline_count and next_timeline_count.
        """
        return self.neighbour_many({room: position}, direction)[room]

    @consistent
    def neighbour_many(
        self, places: Mapping[RoomId, PduCount], direction: Direction
    ) -> dict[RoomId, PduCount | None]:
        """:meth:`neighbour` of a place in each of some rooms. Cost: a bulk read, one of ranges."""
        check_direction(direction)
        bounds = {
            room: keys_beyond(short_room, places[room], direction)
            for room, short_room in self._known(places)
        }
        rows = self._pdus.ranges(bounds.values(), reverse=direction == "b", limit=1)
        found = {
            room: position_in(row[0][0]) for room, row in zip(bounds, rows, strict=True) if row
        }
        return {room: found.get(room) for room in places}

    def _known(self, rooms: Collection[RoomId]) -> Iterator[tuple[RoomId, ShortRoomId]]:
        """The rooms that have a number."""
        numbers = self._near.rooms.short.room_many(list(rooms))
        for room, number in zip(rooms, numbers, strict=True):
            if number is not None:
                yield room, number

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
        check_direction(direction)
        check_page_limit(limit)
        position = None if start is None else parse_token(start)
        short_room = self._near.rooms.short.room(room)
        if short_room is None:
            return [], None
        lo, hi = keys_beyond(short_room, position, direction)
        items = list(self._pdus.range(lo, hi, reverse=direction == "b", limit=limit + 1))
        events = [event_in(*item) for item in items[:limit]]
        last = events[-1].position if len(items) > limit else None
        return events, None if last is None else token_of(last)

    @consistent
    def since(self, room: RoomId, since: Count, upto: Count, limit: int) -> TimelineSlice:
        """The newest ``limit`` events that arrived in (since, upto], oldest first; no backfill.

        Cost: one range of ``limit`` + 1.
        """
        return self.since_many({room: since}, upto, limit)[room]

    @consistent
    def since_many(
        self, rooms: Mapping[RoomId, Count], upto: Count, limit: int
    ) -> dict[RoomId, TimelineSlice]:
        """:meth:`since` of many rooms, each from a count of its own: the first step of a sync.

        Cost: a bulk read and one of ranges.
        """
        check_page_limit(limit)
        bounds = {
            room: PDU_ID.counts(short_room, since=rooms[room], upto=upto)
            for room, short_room in self._known(rooms)
        }
        rows = self._pdus.ranges(bounds.values(), reverse=True, limit=limit + 1)
        found = dict(zip(bounds, rows, strict=True))
        return {room: _newest(found.get(room, []), limit) for room in rooms}


def _newest(items: list[Item], limit: int) -> TimelineSlice:
    events = [event_in(*item) for item in items[:limit]]
    return TimelineSlice(events[::-1], limited=len(items) > limit)
