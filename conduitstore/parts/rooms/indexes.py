"""What follows from an event by itself: in one commit with every change of a timeline.

Words, times, references, relations and threads need nobody's decision; who is notified does, and is
not here. The same calls build these trees again out of a timeline.
"""

from __future__ import annotations

from typing import Protocol

from conduitstore.codec.mentions import previous_in, relation_in
from conduitstore.parts.part import Near, Part, atomic
from conduitstore.types import EventId, PduId, PlacedEvent, StoredEvent


class Index(Protocol):
    """Rows that one event makes."""

    def add(self, event: PlacedEvent) -> None: ...
    def remove(self, event: PlacedEvent) -> None: ...


class Metadata(Protocol):
    """Relations and references."""

    def relate(self, event: PlacedEvent) -> PduId | None: ...
    def unrelate(self, event: PlacedEvent) -> PduId | None: ...
    def take_waiting(self, event: PlacedEvent) -> list[PduId]: ...
    def forget_relations_to(self, event: PlacedEvent) -> None: ...
    def refer(self, event: PlacedEvent) -> None: ...
    def unrefer(self, event: PlacedEvent) -> None: ...
    def forget_references(self, event: PlacedEvent) -> None: ...
    def clear_soft_failed(self, event: EventId) -> bool: ...
    def clear_rejected(self, event: EventId) -> bool: ...


class ThreadIndex(Protocol):
    """Threads."""

    def add(self, root_id: PduId, reply: PlacedEvent) -> None: ...
    def remove(self, root_id: PduId, reply: PlacedEvent) -> None: ...
    def refresh(self, root_id: PduId, reply: PlacedEvent) -> None: ...
    def forget(self, root_id: PduId) -> None: ...


class Timelines(Protocol):
    """Events by place."""

    def pdu_id(self, event_id: EventId) -> PduId | None: ...
    def at(self, pdu_id: PduId) -> StoredEvent | None: ...


class Notes(Protocol):
    """A part that keeps something of single events."""

    def forget(self, event_id: EventId) -> bool: ...


class States(Protocol):
    """The states before events."""

    def forget_before(self, event: EventId) -> bool: ...


class ShortIds(Protocol):
    """Numbers for events."""

    def forget_event(self, event: EventId) -> bool: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def originals(self) -> Notes: ...
    @property
    def auth_chain(self) -> Notes: ...
    @property
    def state(self) -> States: ...
    @property
    def short(self) -> ShortIds: ...
    @property
    def search(self) -> Index: ...
    @property
    def timestamps(self) -> Index: ...
    @property
    def pdu_metadata(self) -> Metadata: ...
    @property
    def threads(self) -> ThreadIndex: ...
    @property
    def timeline(self) -> Timelines: ...


class IndexesNear(Near, Protocol):
    """The parts that keep the indexes."""

    @property
    def rooms(self) -> RoomParts: ...


class Indexes(Part[IndexesNear]):
    """No trees of its own: it tells the parts that have them."""

    @atomic
    def add(self, event: PlacedEvent) -> None:
        """An event came into the timeline; its rows there are written."""
        rooms = self._near.rooms
        rooms.timestamps.add(event)
        rooms.search.add(event)
        rooms.pdu_metadata.refer(event)
        self._relate(event)
        for pdu_id in rooms.pdu_metadata.take_waiting(event):
            child = rooms.timeline.at(pdu_id)
            if child is not None:
                self._relate(PlacedEvent(event.room, pdu_id, child.event_id, child.pdu))

    def _relate(self, event: PlacedEvent) -> None:
        if relation_in(event.pdu) is None:
            return
        to = self._near.rooms.pdu_metadata.relate(event)
        if to is not None:
            self._near.rooms.threads.add(to, event)

    def _unrelate(self, event: PlacedEvent) -> None:
        if relation_in(event.pdu) is None:
            return
        to = self._near.rooms.pdu_metadata.unrelate(event)
        if to is not None:
            self._near.rooms.threads.remove(to, event)

    @atomic
    def replace(self, old: PlacedEvent, new: PlacedEvent) -> None:
        """An event was rewritten where it is."""
        rooms = self._near.rooms
        for index in (rooms.timestamps, rooms.search):
            index.remove(old)
            index.add(new)
        if previous_in(old.pdu) != previous_in(new.pdu):
            rooms.pdu_metadata.refer(new)
            rooms.pdu_metadata.unrefer(old)
        if relation_in(old.pdu) != relation_in(new.pdu):
            self._unrelate(old)
            self._relate(new)
            return
        relation = relation_in(new.pdu)
        to = None if relation is None else rooms.timeline.pdu_id(relation.to)
        if to is not None and to.short_room == new.id.short_room:
            rooms.threads.refresh(to, new)

    @atomic
    def remove(self, event: PlacedEvent) -> None:
        """An event leaves the timeline, with all that is noted of it; its rows there still stand.

        The number of a state event stays, for states name it.
        """
        rooms = self._near.rooms
        rooms.timestamps.remove(event)
        rooms.search.remove(event)
        self._unrelate(event)
        rooms.threads.forget(event.id)
        rooms.pdu_metadata.forget_relations_to(event)
        rooms.pdu_metadata.clear_soft_failed(event.event_id)
        rooms.pdu_metadata.clear_rejected(event.event_id)
        rooms.pdu_metadata.unrefer(event)
        rooms.pdu_metadata.forget_references(event)
        rooms.originals.forget(event.event_id)
        rooms.state.forget_before(event.event_id)
        if "state_key" not in event.pdu:
            rooms.auth_chain.forget(event.event_id)
            rooms.short.forget_event(event.event_id)
