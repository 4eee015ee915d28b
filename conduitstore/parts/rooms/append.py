"""An event into its room: timeline, state, members and forward extremities in one commit.

After it, and so after a crash at any moment, a room with events has a state and extremities, and
its members are those of its state. State is resolved by the homeserver: what it found is given
here, and where nothing is given the event follows the room's current state.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from conduitstore.codec.events import previous_events
from conduitstore.parts.part import Near, Part, atomic
from conduitstore.types import (
    Count,
    EventId,
    JsonObject,
    PduCount,
    RoomId,
    ShortStateHash,
    StateKey,
)


class Timelines(Protocol):
    """Events in order."""

    def append(self, pdu: JsonObject, event_id: EventId, room: RoomId) -> PduCount: ...
    def prepend_backfilled(self, pdu: JsonObject, event_id: EventId, room: RoomId) -> PduCount: ...


class States(Protocol):
    """The states themselves."""

    def save(self, events: Mapping[StateKey, EventId]) -> ShortStateHash: ...
    def change(
        self, state: ShortStateHash, changes: Mapping[StateKey, EventId | None]
    ) -> ShortStateHash: ...


class RoomStates(Protocol):
    """Which state a room has."""

    def current(self, room: RoomId) -> ShortStateHash | None: ...
    def set_current(
        self, room: RoomId, state: ShortStateHash, count: Count | None = None
    ) -> None: ...
    def set_before(self, event: EventId, state: ShortStateHash) -> None: ...
    def forward_extremities(self, room: RoomId) -> list[EventId]: ...
    def set_forward_extremities(self, room: RoomId, events: Collection[EventId]) -> None: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def timeline(self) -> Timelines: ...
    @property
    def state(self) -> RoomStates: ...
    @property
    def state_compressor(self) -> States: ...


class AppendNear(Near, Protocol):
    """Everything an event is written to."""

    @property
    def rooms(self) -> RoomParts: ...


class Append(Part[AppendNear]):
    """No trees of its own: ``store.rooms.append(...)`` writes through the other parts."""

    @atomic
    def __call__(
        self,
        pdu: JsonObject,
        event_id: EventId,
        room: RoomId,
        *,
        before: ShortStateHash | None = None,
        after: ShortStateHash | None = None,
        extremities: Collection[EventId] | None = None,
    ) -> PduCount:
        """Put a new event at the end of its room, with all that follows from it.

        Args:
            pdu: the event; a state event's place in the state is its ``type`` and ``state_key``.
            event_id: its id.
            room: its room, which a version 12 create event does not say.
            before: the state before the event; default: the room's current one.
            after: the room's state from now on; default: the current one with this event, if it
                is a state event. A server joining a room gives both.
            extremities: the room's forward extremities from now on; default: the current ones,
                without those that the event follows, and the event.

        Returns:
            Its position, which is also the count of the change of state.

        Read what the arguments were made from in the same transaction, or hold others off: what is
        given here replaces what another thread wrote meanwhile.
        Source: Conduit, append_pdu, append_incoming_pdu and append_to_state.

        Raises:
            InvalidArgumentError: not a PDU, of another room, already in a timeline; no such state;
                a member event in ``after`` that is not stored.
        """
        rooms = self._near.rooms
        position = rooms.timeline.append(pdu, event_id, room)
        current = rooms.state.current(room)
        if before is None:
            before = rooms.state_compressor.save({}) if current is None else current
        rooms.state.set_before(event_id, before)
        if after is None:
            after = self._with_event(before if current is None else current, pdu, event_id)
        rooms.state.set_current(room, after, Count(position))
        if extremities is None:
            followed = {event_id, *previous_events(pdu)}
            kept = [leaf for leaf in rooms.state.forward_extremities(room) if leaf not in followed]
            extremities = [*kept, event_id]
        rooms.state.set_forward_extremities(room, extremities)
        return position

    @atomic
    def backfilled(
        self,
        pdu: JsonObject,
        event_id: EventId,
        room: RoomId,
        *,
        before: ShortStateHash | None = None,
    ) -> PduCount:
        """Put an event before all that the room has; its state and extremities stay as they are.

        In a room that has none, they are made: ``before`` with the event, and the event.
        Source: Conduit, backfill_pdu and prepend_backfill_pdu.
        """
        rooms = self._near.rooms
        position = rooms.timeline.prepend_backfilled(pdu, event_id, room)
        if before is not None:
            rooms.state.set_before(event_id, before)
        if rooms.state.current(room) is None:
            start = rooms.state_compressor.save({}) if before is None else before
            rooms.state.set_current(room, self._with_event(start, pdu, event_id))
            rooms.state.set_forward_extremities(room, [event_id])
        return position

    def _with_event(
        self, state: ShortStateHash, pdu: JsonObject, event_id: EventId
    ) -> ShortStateHash:
        if "state_key" not in pdu:
            return state
        changes = {(pdu["type"], pdu["state_key"]): event_id}
        return self._near.rooms.state_compressor.change(state, changes)
