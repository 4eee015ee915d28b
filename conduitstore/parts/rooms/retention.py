"""Forgetting old messages of a room, with everything that was derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import check_limit
from conduitstore.parts.part import Near, Part, atomic, consistent
from conduitstore.types import EventId, PduCount, PduId, RoomId, ShortRoomId, StoredEvent

RetentionCursor = tuple[int, PduCount]
"""The time and place of the last event looked at."""


class ShortIds(Protocol):
    """Numbers for rooms."""

    def room(self, room: RoomId) -> ShortRoomId | None: ...


class Times(Protocol):
    """Events by time."""

    def before(
        self, room: RoomId, time_ms: int, limit: int, start: RetentionCursor | None = None
    ) -> list[RetentionCursor]: ...


class Timelines(Protocol):
    """Events by place."""

    def at(self, pdu_id: PduId) -> StoredEvent | None: ...
    def remove(self, event_id: EventId) -> bool: ...
    def last_position(self, room: RoomId) -> PduCount: ...


class States(Protocol):
    """Where a room's history ends."""

    def forward_extremities(self, room: RoomId) -> list[EventId]: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def short(self) -> ShortIds: ...
    @property
    def timestamps(self) -> Times: ...
    @property
    def timeline(self) -> Timelines: ...
    @property
    def state(self) -> States: ...


class RetentionNear(Near, Protocol):
    """Everything that knows which events are old."""

    @property
    def rooms(self) -> RoomParts: ...


@dataclass(frozen=True, slots=True)
class Purged:
    """One batch.

    Attributes:
        total: how many events went.
        looked_at: how many events are old enough.
        next: where to go on; None when the room is through.
    """

    total: int
    looked_at: int
    next: RetentionCursor | None


@dataclass(frozen=True, slots=True)
class Removable:
    """What one batch would remove; the rest is as in :class:`Purged`."""

    events: list[EventId]
    looked_at: int
    next: RetentionCursor | None


class MessageRetention(Part[RetentionNear]):
    """No trees of its own: it removes events of the timeline by their time."""

    @atomic
    def purge(
        self,
        room: RoomId,
        before_ms: int,
        *,
        limit: int = 500,
        start: RetentionCursor | None = None,
    ) -> Purged:
        """Remove messages that say they are older than a time, Unix milliseconds.

        What the room needs stays: state events, the newest event and those at the end of its
        history. One call looks at up to ``limit`` events and is one commit; go on with ``next``,
        or later from the start: nothing is left half done.

        Source: tuwunel, purge_history.
        """
        old = self.removable(room, before_ms, limit=limit, start=start)
        total = sum([self._near.rooms.timeline.remove(event) for event in old.events])
        return Purged(total, old.looked_at, old.next)

    @consistent
    def removable(
        self,
        room: RoomId,
        before_ms: int,
        *,
        limit: int = 500,
        start: RetentionCursor | None = None,
    ) -> Removable:
        """What :meth:`purge` would remove, with the same arguments."""
        if not check_limit(limit):
            raise InvalidArgumentError("a batch looks at 1 event or more")
        rooms = self._near.rooms
        places = rooms.timestamps.before(room, before_ms, limit, start)
        short_room = rooms.short.room(room)
        if short_room is None:
            return Removable([], 0, None)
        needed = set(rooms.state.forward_extremities(room))
        last = rooms.timeline.last_position(room)
        events = [
            rooms.timeline.at(PduId(short_room, position))
            for _, position in places
            if position != last
        ]
        found = [
            event.event_id
            for event in events
            if event is not None and "state_key" not in event.pdu and event.event_id not in needed
        ]
        return Removable(found, len(places), places[-1] if len(places) == limit else None)
