"""What events are to each other, and marks on events: relations, references, soft failures.

- Relations are kept by place, so those to one event are one range, in the order of the timeline.
  Places of either kind, backfilled ones too, are found.
- An event may relate to one that comes later, by backfill for instance: it is kept aside until
  then.
- Relations and references are kept by what changes the timeline; marks are the homeserver's to set,
  in the transaction that stores the event: one on an event that is stored nowhere goes with ``gc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from conduitstore.codec.mentions import previous_in, relation_in
from conduitstore.codec.positions import parse_token, token_of
from conduitstore.codec.values import EMPTY, pack_u64, unpack_u64
from conduitstore.kv import Tree, prefix_end
from conduitstore.parts.arguments import check_direction, check_page_limit, listed
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent, explained
from conduitstore.schema import TREES
from conduitstore.types import (
    Direction,
    EventId,
    PduCount,
    PduId,
    PduToken,
    PlacedEvent,
    RoomId,
    ShortEventId,
    StoredEvent,
)

_RELATION = TREES["tofrom_relation"].key
_TYPED = TREES["relatesto_typed"].key
_WAITING = TREES["eventid_relatingpduid"].key
_REFERENCED = TREES["referencedevents"].key.pack
_EVENT = TREES["softfailedeventids"].key.pack
_TAGS = {"m.replace": 1, "m.reference": 2}


class ShortIds(Protocol):
    """Numbers for events."""

    def event(self, event: EventId) -> ShortEventId | None: ...
    def event_id_many(self, shorts: list[ShortEventId]) -> list[EventId | None]: ...


class Timelines(Protocol):
    """Events by id and by place."""

    def pdu_id(self, event_id: EventId) -> PduId | None: ...
    def at(self, pdu_id: PduId) -> StoredEvent | None: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def short(self) -> ShortIds: ...
    @property
    def timeline(self) -> Timelines: ...


class MetadataNear(Near, Protocol):
    """The timeline that relations point into."""

    @property
    def rooms(self) -> RoomParts: ...


class PduMetadata(Part[MetadataNear]):
    """Trees: ``tofrom_relation``, ``relatesto_typed``, ``eventid_relatingpduid``.

    Also ``referencedevents``, ``softfailedeventids`` and ``rejectedeventids``.
    """

    _relations = TreeOf("tofrom_relation")
    _typed = TreeOf("relatesto_typed")
    _waiting = TreeOf("eventid_relatingpduid")
    _referenced = TreeOf("referencedevents")
    _soft_failed = TreeOf("softfailedeventids")
    _rejected = TreeOf("rejectedeventids")

    # Relations ----------------------------------------------------------------------------------
    @atomic
    def relate(self, event: PlacedEvent) -> PduId | None:
        """Record what the event relates to, if it does.

        Returns:
            Where that is; None where there is no relation, where it leaves the room, and where
            what it relates to has yet to come.

        Source: Conduit, add_relation; tuwunel, add_typed_relation.
        """
        to, rows = self._relation_of(event)
        trees = {tree.name: tree for tree in (self._relations, self._typed, self._waiting)}
        for tree, key, value in rows:
            trees[tree].put(key, value)
        return to

    @explained
    def rows_of(self, event: PlacedEvent) -> list[tuple[str, bytes, bytes]]:
        """The rows that an event's relation makes: tree, key, value."""
        return self._relation_of(event)[1]

    def _relation_of(
        self, event: PlacedEvent
    ) -> tuple[PduId | None, list[tuple[str, bytes, bytes]]]:
        relation = relation_in(event.pdu)
        if relation is None:
            return None, []
        to = self._near.rooms.timeline.pdu_id(relation.to)
        if to is None:
            return None, [(_WAITING.tree, _WAITING.pack(relation.to, *event.id), EMPTY)]
        if to.short_room != event.id.short_room:
            return None, []
        rows = [(_RELATION.tree, _RELATION.pack(to.position, event.id.position), EMPTY)]
        tag = _TAGS.get(relation.rel_type)
        if tag is not None and (tag == 2 or self._may_replace(event, to)):
            short = self._near.rooms.short.event(event.event_id)
            assert short is not None
            rows.append((_TYPED.tree, _typed_key(event, to, tag), pack_u64(short)))
        return to, rows

    def _may_replace(self, event: PlacedEvent, to: PduId) -> bool:
        """Only who wrote an event may edit it, and state is not edited but replaced."""
        target = self._near.rooms.timeline.at(to)
        return (
            target is not None
            and all(target.pdu.get(key) == event.pdu.get(key) for key in ("sender", "type"))
            and "state_key" not in target.pdu
            and "state_key" not in event.pdu
        )

    @atomic
    def unrelate(self, event: PlacedEvent) -> PduId | None:
        """The inverse of :meth:`relate`, with the event as it was; gives what it related to.

        Source: tuwunel, delete_typed_relation.
        """
        relation = relation_in(event.pdu)
        if relation is None:
            return None
        self._waiting.put(_WAITING.pack(relation.to, *event.id), None)
        to = self._near.rooms.timeline.pdu_id(relation.to)
        if to is None or to.short_room != event.id.short_room:
            return None
        self._relations.put(_RELATION.pack(to.position, event.id.position), None)
        tag = _TAGS.get(relation.rel_type)
        if tag is not None:
            self._typed.put(_typed_key(event, to, tag), None)
        return to

    @atomic
    def take_waiting(self, event: PlacedEvent) -> list[PduId]:
        """Those of its room that wait for the event, which has come; they wait no more."""
        keys = list(self._waiting.keys(_WAITING.prefix(event.event_id)))
        for key in keys:
            self._waiting.put(key, None)
        found = [PduId(*_WAITING.unpack(key)[1:]) for key in keys]
        return [pdu_id for pdu_id in found if pdu_id.short_room == event.id.short_room]

    @atomic
    def forget_relations_to(self, event: PlacedEvent) -> None:
        """Drop every relation to an event that goes; those that have one wait for its return."""
        for position in self._related(event.id, None, "f"):
            child = PduId(event.id.short_room, position)
            self._waiting.put(_WAITING.pack(event.event_id, *child), EMPTY)
        self._relations.remove_prefix(_RELATION.prefix(event.id.position))
        self._typed.remove_prefix(_TYPED.prefix(*event.id))

    @consistent
    def relations(
        self,
        event_id: EventId,
        start: PduToken | None,
        direction: Direction,
        limit: int,
        *,
        rel_type: str | None = None,
        type: str | None = None,
    ) -> tuple[list[StoredEvent], PduToken | None]:
        """Up to ``limit`` events that relate to one, from ``start`` on, without the one there.

        Args:
            event_id: one in no timeline has none.
            start: a token; None for the newest going back, the oldest going forwards.
            direction: ``"b"`` gives newest first, ``"f"`` oldest first.
            limit: 1 or more.
            rel_type: only relations of this kind.
            type: only events of this type.

        Returns:
            The events, and the token to go on with: None when there are no more.

        Cost: a point read for each event looked at. Source: Conduit, relations_until.
        """
        check_direction(direction)
        check_page_limit(limit)
        position = None if start is None else parse_token(start)
        to = self._near.rooms.timeline.pdu_id(event_id)
        found: list[StoredEvent] = []
        if to is None:
            return found, None
        for event in self._relating(to, position, direction):
            relation = relation_in(event.pdu)
            if rel_type is not None and (relation is None or relation.rel_type != rel_type):
                continue
            if type is not None and event.pdu["type"] != type:
                continue
            if len(found) == limit:
                last = found[-1].position
                assert last is not None
                return found, token_of(last)
            found.append(event)
        return found, None

    def _relating(
        self, to: PduId, start: PduCount | None, direction: Direction
    ) -> Iterator[StoredEvent]:
        for position in self._related(to, start, direction):
            event = self._near.rooms.timeline.at(PduId(to.short_room, position))
            if event is not None:
                yield event

    def _related(
        self, to: PduId, start: PduCount | None, direction: Direction
    ) -> Iterator[PduCount]:
        prefix = _RELATION.prefix(to.position)
        lo, hi = prefix, prefix_end(prefix)
        if start is not None:
            # No event is at 0, which as bytes sorts below the backfilled places.
            edge = _RELATION.pack(to.position, start or 1)
            lo, hi = (lo, edge) if direction == "b" else (edge + b"\0" if start else edge, hi)
        for key, _ in self._relations.range(lo, hi, reverse=direction == "b"):
            yield PduCount(_RELATION.unpack(key)[1])

    @consistent
    def replacement(self, event_id: EventId) -> EventId | None:
        """The newest edit of an event by its own sender, by the time edits say they are from.

        Cost: one seek. Source: tuwunel, bundle_aggregations.
        """
        found = self._typed_to(event_id, "m.replace", limit=1)
        return found[0] if found else None

    @consistent
    def references(self, event_id: EventId, limit: int | None = None) -> list[EventId]:
        """The events that reference one, newest first by the time they say they are from."""
        return self._typed_to(event_id, "m.reference", limit)

    def _typed_to(self, event_id: EventId, rel_type: str, limit: int | None) -> list[EventId]:
        to = self._near.rooms.timeline.pdu_id(event_id)
        if to is None:
            return []
        prefix = _TYPED.prefix(*to, _TAGS[rel_type])
        rows = self._typed.scan_prefix(prefix, reverse=True, limit=limit)
        shorts = [ShortEventId(unpack_u64("relatesto_typed", value)) for _, value in rows]
        ids = self._near.rooms.short.event_id_many(shorts)
        return [event for event in ids if event is not None]

    # References ---------------------------------------------------------------------------------
    @atomic
    def mark_referenced(self, room: RoomId, events: Iterable[EventId]) -> None:
        """Note that events are named by one that stays out of the timeline, a soft-failed one say.

        Source: Conduit, mark_as_referenced. What the timeline's own events name is noted anyway.
        """
        for event in listed(events, "events"):
            self._count_referring(room, event, 0)

    def is_referenced(self, room: RoomId, event: EventId) -> bool:
        """Whether an event of the room named it as previous.

        Source: Conduit, is_event_referenced.
        """
        return self._referenced.contains_key(_REFERENCED(room, event))

    @atomic
    def refer(self, event: PlacedEvent) -> None:
        """Note what an event of the timeline names as previous."""
        for previous in previous_in(event.pdu):
            self._count_referring(event.room, previous, 1)

    @atomic
    def unrefer(self, event: PlacedEvent) -> None:
        """The inverse of :meth:`refer`, with the event as it was.

        What it named and is here stays referenced, so that it does not pass for an end of the
        room's history; it forgets that with :meth:`forget_references`.
        """
        for previous in previous_in(event.pdu):
            total = self._count_referring(event.room, previous, -1)
            place = self._near.rooms.timeline.pdu_id(previous)
            if not total and (place is None or place.short_room != event.id.short_room):
                self._referenced.put(_REFERENCED(event.room, previous), None)

    @atomic
    def forget_references(self, event: PlacedEvent) -> None:
        """The event itself leaves the timeline: that others there name it is remembered, if any."""
        key = _REFERENCED(event.room, event.event_id)
        if self._referenced.get(key) == pack_u64(0):
            self._referenced.put(key, None)

    def _count_referring(self, room: RoomId, event: EventId, change: int) -> int:
        key = _REFERENCED(room, event)
        value = self._referenced.get(key)
        total = max(0, change + (0 if value is None else unpack_u64("referencedevents", value)))
        self._referenced.put(key, pack_u64(total))
        return total

    # Marks --------------------------------------------------------------------------------------
    def mark_soft_failed(self, event: EventId) -> None:
        """The event is kept out of the room's view.

        Source: Conduit, mark_event_soft_failed.
        """
        self._soft_failed.put(_EVENT(event), EMPTY)

    def is_soft_failed(self, event: EventId) -> bool:
        """Whether it has that mark. Source: Conduit, is_event_soft_failed."""
        return self._soft_failed.contains_key(_EVENT(event))

    def clear_soft_failed(self, event: EventId) -> bool:
        """Take the mark away; False where there was none.

        Source: continuwuity, clear_event_soft_failed.
        """
        return _unmark(self._soft_failed, event)

    def mark_rejected(self, event: EventId) -> None:
        """The event failed authorisation. Source: continuwuity, mark_event_rejected."""
        self._rejected.put(_EVENT(event), EMPTY)

    def is_rejected(self, event: EventId) -> bool:
        """Whether it has that mark. Source: continuwuity, is_event_rejected."""
        return self._rejected.contains_key(_EVENT(event))

    def clear_rejected(self, event: EventId) -> bool:
        """Take the mark away; False where there was none."""
        return _unmark(self._rejected, event)


def _unmark(tree: Tree, event: EventId) -> bool:
    return tree.remove(_EVENT(event)) is not None


def _typed_key(event: PlacedEvent, to: PduId, tag: int) -> bytes:
    time_ms = max(event.pdu["origin_server_ts"], 0)
    return _TYPED.pack(*to, tag, time_ms, event.id.position)
