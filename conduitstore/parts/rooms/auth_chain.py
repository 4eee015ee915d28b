"""Auth chains, remembered: for an event, every event its authorisation rests on.

- A chain is worked out here, from the stored events, and remembered only when not one was missing:
  a truncated chain can be told, but never kept.
- It is a cache: any row may go at any time, and :meth:`AuthChain.trim` keeps it to a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from conduitstore.codec.events import ids_in
from conduitstore.codec.keys import check_u64
from conduitstore.codec.values import pack_u64, unpack_u64s
from conduitstore.parts.arguments import distinct
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent
from conduitstore.types import EventId, ShortEventId, StoredEvent


class ShortIds(Protocol):
    """Numbers for events."""

    def event_many(self, events: Iterable[EventId]) -> list[ShortEventId | None]: ...
    def event_id_many(self, shorts: Sequence[ShortEventId]) -> list[EventId | None]: ...
    def get_or_create_event_many(self, events: Iterable[EventId]) -> list[ShortEventId]: ...


class Timelines(Protocol):
    """Events."""

    def get_many(self, event_ids: Iterable[EventId]) -> list[StoredEvent | None]: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def short(self) -> ShortIds: ...
    @property
    def timeline(self) -> Timelines: ...


class AuthChainNear(Near, Protocol):
    """Where the events are."""

    @property
    def rooms(self) -> RoomParts: ...


class Chain(NamedTuple):
    """What some events' authorisation rests on.

    Attributes:
        events: all of it, without the events themselves unless one rests on another.
        missing: those of ``events``, and of the events themselves, that are not stored: what they
            rest on is not known.
    """

    events: set[EventId]
    missing: set[EventId]


class AuthChain(Part[AuthChainNear]):
    """Tree: ``shorteventid_authchain``."""

    _chains = TreeOf("shorteventid_authchain")

    @consistent
    def of(self, events: Iterable[EventId]) -> Chain:
        """The chain of some events together, with the help of what is remembered.

        Cost: two bulk reads for each step down that is not remembered.
        Source: Conduit, get_auth_chain and get_cached_eventid_authchain.
        """
        chain = Chain(set(), set())
        seen, step = set[EventId](), set(distinct(events, "events"))
        while step:
            seen |= step
            remembered = self._remembered(step)
            for known in remembered.values():
                chain.events.update(known)
                seen.update(known)
            step = self._authorising(step - remembered.keys(), chain) - seen
        return chain

    def _authorising(self, events: set[EventId], chain: Chain) -> set[EventId]:
        """The auth events of ``events``, which go into ``chain``."""
        found = set[EventId]()
        for event_id, event in zip(events, self._near.rooms.timeline.get_many(events), strict=True):
            if event is None:
                chain.missing.add(event_id)
            else:
                found.update(ids_in(event.pdu, "auth_events"))
        chain.events.update(found)
        return found

    def _remembered(self, events: set[EventId]) -> dict[EventId, set[EventId]]:
        numbers = dict(zip(events, self._near.rooms.short.event_many(events), strict=True))
        known = {event: pack_u64(short) for event, short in numbers.items() if short is not None}
        rows = zip(known, self._chains.get_many(known.values()), strict=True)
        chains = {event: self._names(row) for event, row in rows if row is not None}
        return {event: chain for event, chain in chains.items() if chain is not None}

    def _names(self, row: bytes) -> set[EventId] | None:
        """None where a room was purged and the row is of no use any more."""
        shorts = list(map(ShortEventId, unpack_u64s(self._chains.name, row)))
        names = self._near.rooms.short.event_id_many(shorts)
        return None if None in names else {name for name in names if name is not None}

    @atomic
    def remember(self, event: EventId) -> Chain:
        """An event's chain, remembered if it is complete. Source: Conduit, cache_auth_chain."""
        chain = self.of([event])
        if not chain.missing:
            [number] = self._near.rooms.short.get_or_create_event_many([event])
            shorts = self._near.rooms.short.get_or_create_event_many(sorted(chain.events))
            self._chains.put(pack_u64(number), b"".join(map(pack_u64, shorts)))
        return chain

    @atomic
    def forget(self, event_id: EventId) -> bool:
        """Forget an event's chain; False where none was remembered."""
        [number] = self._near.rooms.short.event_many([event_id])
        return number is not None and self._chains.remove(pack_u64(number)) is not None

    @atomic
    def trim(self, bytes_max: int) -> int:
        """Forget chains, those of the oldest numbers first, until the rest fits; gives how many.

        Bytes are those of keys and values. Cost: one scan of all chains. Ours.
        """
        left_bytes, forgotten = check_u64(bytes_max), 0
        for key, value in list(self._chains.range(reverse=True)):
            left_bytes -= len(key) + len(value)
            if left_bytes < 0:
                self._chains.put(key, None)
                forgotten += 1
        return forgotten
