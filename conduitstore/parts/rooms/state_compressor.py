"""Room states, each kept as what it adds to another one and takes away.

- A state never changes: its number stands for one set of entries for good, and one set of entries
  has one number, found by the hash over the sorted entries.
- Number, hash and content are written in one commit.
- A state is at most four layers deep, the lowest a full state: see ``codec/state_layers.py``.
- A state that nothing names is collected by ``gc``; save and name one in one transaction.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from conduitstore.codec.keys import check_u64
from conduitstore.codec.state_layers import (
    LAYERS_MAX,
    Difference,
    Layer,
    difference_of,
    layered,
    resolved,
    summed,
)
from conduitstore.codec.states import (
    StateDiff,
    check_state,
    find_in,
    pack_diff,
    pack_entry,
    parent_of,
    state_hash,
    unpack_diff,
    unpack_entry,
)
from conduitstore.codec.values import pack_u64, unpack_u64
from conduitstore.errors import CorruptedError, InvalidArgumentError, shown
from conduitstore.parts.arguments import distinct
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent, explained
from conduitstore.schema import TREES
from conduitstore.types import (
    EventId,
    ShortEventId,
    ShortStateHash,
    ShortStateKey,
    StateEntry,
    StateKey,
)

_HASH = TREES["statehash_shortstatehash"].key.pack
_DIFFS = "shortstatehash_statediff"


class ShortIds(Protocol):
    """Numbers for events and state keys."""

    def get_or_create_event_many(self, events: Iterable[EventId]) -> list[ShortEventId]: ...
    def get_or_create_state_key_many(
        self, state_keys: Iterable[StateKey]
    ) -> list[ShortStateKey]: ...
    def event_id_many(self, shorts: Sequence[ShortEventId]) -> list[EventId | None]: ...
    def state_key_id_many(self, shorts: Sequence[ShortStateKey]) -> list[StateKey | None]: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def short(self) -> ShortIds: ...


class CompressorNear(Near, Protocol):
    """The short ids that entries are made of."""

    @property
    def rooms(self) -> RoomParts: ...


class StateCompressor(Part[CompressorNear]):
    """Trees: ``shortstatehash_statediff`` and ``statehash_shortstatehash``."""

    _diffs = TreeOf("shortstatehash_statediff")
    _hashes = TreeOf("statehash_shortstatehash")

    # Writing ------------------------------------------------------------------------------------
    @atomic
    def save(
        self, events: Mapping[StateKey, EventId], near: ShortStateHash | None = None
    ) -> ShortStateHash:
        """The number of the state with these events, stored now if it is new.

        Args:
            events: all of it: (type, state key) to event id. Empty is the state before a room.
            near: a state that has much in common with it, to store the difference from.

        Source: Conduit, save_state and compress_state_event.
        """
        short = self._near.rooms.short
        keys = short.get_or_create_state_key_many(events)
        shorts = short.get_or_create_event_many(events.values())
        return self._save_whole(sorted(set(map(pack_entry, keys, shorts))), near)

    @atomic
    def save_entries(
        self, entries: Iterable[StateEntry], near: ShortStateHash | None = None
    ) -> ShortStateHash:
        """:meth:`save` for one who has the entries.

        Cost: two bulk reads over what ``near`` has not, to see that its numbers are there.
        Source: Conduit, get_or_create_shortstatehash, save_state_from_diff and save_statediff.

        Raises:
            InvalidArgumentError: what is no entry, or of numbers that stand for nothing; two for
                one state key; no state ``near``.
        """
        state = sorted(distinct(entries, "entries"))
        check_state(state)
        return self._save_whole(state, near, are_known=False)

    def _save_whole(
        self, state: list[StateEntry], near: ShortStateHash | None, *, are_known: bool = True
    ) -> ShortStateHash:
        layers = [] if near is None else self._layers(near)
        change = difference_of(resolved(layers), state)
        if not are_known:
            self._check_known(change.added)
        return self._save(state, layers, change)

    def _check_known(self, entries: Iterable[StateEntry]) -> None:
        pairs = [unpack_entry(entry) for entry in entries]
        short = self._near.rooms.short
        names = short.state_key_id_many([key for key, _ in pairs])
        if None in names or None in short.event_id_many([event for _, event in pairs]):
            raise InvalidArgumentError("an entry's numbers stand for no event or no state key")

    @atomic
    def change(
        self, state: ShortStateHash, changes: Mapping[StateKey, EventId | None]
    ) -> ShortStateHash:
        """The number of ``state`` with other events in it; None takes one out.

        Cost: reading ``state`` whole, for its hash. Source: Conduit, append_to_state.
        """
        layers = self._layers(state)
        entries = resolved(layers)
        added, removed = set[StateEntry](), set[StateEntry]()
        for short_key, entry in self._entries_of(changes):
            at = bisect_left(entries, short_key)
            old = [e for e in entries[at : at + 1] if e.startswith(short_key)]
            new = [] if entry is None else [entry]
            entries[at : at + len(old)] = new
            removed.update(old)
            added.update(new)
        return self._save(entries, layers, Difference(added - removed, removed - added))

    def _entries_of(
        self, changes: Mapping[StateKey, EventId | None]
    ) -> Iterator[tuple[bytes, StateEntry | None]]:
        short = self._near.rooms.short
        events = {event: 0 for event in changes.values() if event is not None}
        numbers = dict(zip(events, short.get_or_create_event_many(events), strict=True))
        keys = short.get_or_create_state_key_many(changes)
        for key, event in zip(keys, changes.values(), strict=True):
            yield pack_u64(key), None if event is None else pack_entry(key, numbers[event])

    def _save(
        self, state: Sequence[StateEntry], layers: list[Layer], change: Difference
    ) -> ShortStateHash:
        key = _HASH(state_hash(state))
        found = self._hashes.get(key)
        if found is not None:
            return ShortStateHash(unpack_u64(self._hashes.name, found))
        number = ShortStateHash(self._near.globals.draw())
        self._hashes.put(key, pack_u64(number))
        self._diffs.put(pack_u64(number), pack_diff(layered(layers, change)))
        return number

    # Reading ------------------------------------------------------------------------------------
    def exists(self, state: ShortStateHash) -> bool:
        """Whether there is a state of that number."""
        return self._diffs.contains_key(pack_u64(state))

    @explained
    def number_of(self, entries: Iterable[StateEntry]) -> ShortStateHash | None:
        """The number of the state with exactly these entries, where it is stored."""
        value = self._hashes.get(_HASH(state_hash(sorted(set(entries)))))
        return None if value is None else ShortStateHash(unpack_u64(self._hashes.name, value))

    def diff(self, state: ShortStateHash) -> StateDiff | None:
        """A state as it is stored; None where there is none. Source: Conduit, get_statediff."""
        value = self._diffs.get(pack_u64(state))
        return None if value is None else unpack_diff(_DIFFS, value)

    @consistent
    def entries(self, state: ShortStateHash) -> list[StateEntry]:
        """All of a state, sorted. Source: Conduit, load_shortstatehash_info.

        Cost: up to four point reads, and time by the size of the state.

        Raises:
            InvalidArgumentError: no such state.
        """
        return resolved(self._layers(state))

    @consistent
    def lookup_many(
        self, state: ShortStateHash, keys: Sequence[ShortStateKey]
    ) -> list[ShortEventId | None]:
        """The events a state has under some keys, in their order.

        Cost: up to four point reads, and a bisection for each key and layer.

        Raises:
            InvalidArgumentError: no such state.
        """
        found: dict[ShortStateKey, ShortEventId | None] = {}
        for _, value in self._stored_layers(state):
            missing = [key for key in keys if key not in found]
            if not missing:
                break
            found.update(find_in(_DIFFS, value, missing))
        return [found.get(key) for key in keys]

    @consistent
    def between(self, old: ShortStateHash, new: ShortStateHash) -> Difference:
        """What ``new`` has and ``old`` lacks, and the other way round.

        Cost: up to eight point reads; only layers that the two do not share are looked into.
        Source: the forks, state_added and state_removed.

        Raises:
            InvalidArgumentError: no such state.
        """
        olds, news = list(self._stored_layers(old)), list(self._stored_layers(new))
        from_old = _as_one([layer for layer in olds if layer not in news])
        from_new = _as_one([layer for layer in news if layer not in olds])
        return Difference(
            (from_new.added - from_old.added) | (from_old.removed - from_new.removed),
            (from_old.added - from_new.added) | (from_new.removed - from_old.removed),
        )

    def _layers(self, state: ShortStateHash) -> list[Layer]:
        """The full state first, ``state`` itself last."""
        return [_layer(stored) for stored in self._stored_layers(state)][::-1]

    def _stored_layers(self, state: ShortStateHash) -> Iterator[tuple[ShortStateHash, bytes]]:
        """``state`` itself first, the full state last."""
        check_u64(state)
        number: ShortStateHash | None = state
        for _ in range(LAYERS_MAX):
            if number is None:
                return
            value = self._diffs.get(pack_u64(number))
            if value is None and number == state:
                raise InvalidArgumentError(f"there is no room state {shown(state)}")
            if value is None:
                raise CorruptedError(_DIFFS, 0, f"state {number}, a layer of {state}, is missing")
            yield number, value
            number = parent_of(_DIFFS, value)
        if number is not None:
            raise CorruptedError(_DIFFS, 0, f"state {state} has more than {LAYERS_MAX} layers")


def _layer(stored: tuple[ShortStateHash, bytes]) -> Layer:
    number, value = stored
    return Layer(number, unpack_diff(_DIFFS, value))


def _as_one(stored: list[tuple[ShortStateHash, bytes]]) -> Difference:
    """Layers, the highest first, as one difference from what is below them."""
    return summed(_layer(layer).difference for layer in reversed(stored))
