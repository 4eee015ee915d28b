"""Room states, each kept as what it adds to another one and takes away.

- A state never changes: its number stands for one set of entries for good, and one set of entries
  has one number, found by the hash over the sorted entries.
- Number, hash and content are written in one commit.
- A state is at most four layers deep, the lowest a full state: see ``codec/state_layers.py``.
- A state that nothing names is collected by ``gc``; save and name one in one transaction.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    unpack_entries,
)
from conduitstore.codec.values import pack_u64, unpack_u64
from conduitstore.errors import CorruptedError, InvalidArgumentError, shown
from conduitstore.parts.arguments import distinct, listed
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
Stored = tuple[ShortStateHash, bytes]
"""A layer's number, and how it is stored."""


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
        pairs = unpack_entries(entries)
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
        return self.entries_many([state])[0]

    @consistent
    def entries_many(self, states: Sequence[ShortStateHash]) -> list[list[StateEntry]]:
        """:meth:`entries` of many states, in their order. Cost: up to four bulk reads."""
        given = listed(states, "states")
        found = self._layers_many(given)
        return [resolved(found[state]) for state in given]

    @consistent
    def lookup_many(
        self, state: ShortStateHash, keys: Sequence[ShortStateKey]
    ) -> list[ShortEventId | None]:
        """The events a state has under some keys, in their order.

        Cost: up to four point reads, and a bisection for each key and layer.

        Raises:
            InvalidArgumentError: no such state.
        """
        return self.lookup_each([(state, keys)])[0]

    @consistent
    def lookup_each(
        self, asked: Sequence[tuple[ShortStateHash, Sequence[ShortStateKey]]]
    ) -> list[list[ShortEventId | None]]:
        """:meth:`lookup_many` in each of many states, in their order.

        Cost: up to four bulk reads.
        """
        found: dict[ShortStateHash, dict[ShortStateKey, ShortEventId | None]] = {}
        missing: dict[ShortStateHash, set[ShortStateKey]] = {}
        for state, keys in asked:
            missing.setdefault(state, set()).update(keys)
            found[state] = {}

        def look(state: ShortStateHash, layer: Stored) -> ShortStateHash | None:
            here = find_in(_DIFFS, layer[1], missing[state])
            found[state].update(here)
            missing[state] -= here.keys()
            return parent_of(_DIFFS, layer[1]) if missing[state] else None

        self._descend(missing, look)
        return [[found[state].get(key) for key in keys] for state, keys in asked]

    @consistent
    def between(self, old: ShortStateHash, new: ShortStateHash) -> Difference:
        """What ``new`` has and ``old`` lacks, and the other way round.

        Cost: up to eight point reads; only layers that the two do not share are looked into.
        Source: the forks, state_added and state_removed.

        Raises:
            InvalidArgumentError: no such state.
        """
        stored = self._stored([old, new])
        olds, news = stored[old], stored[new]
        from_old = _as_one([layer for layer in olds if layer not in news])
        from_new = _as_one([layer for layer in news if layer not in olds])
        return Difference(
            (from_new.added - from_old.added) | (from_old.removed - from_new.removed),
            (from_old.added - from_new.added) | (from_new.removed - from_old.removed),
        )

    def _layers(self, state: ShortStateHash) -> list[Layer]:
        """The full state first, ``state`` itself last."""
        return self._layers_many([state])[state]

    def _layers_many(self, states: Iterable[ShortStateHash]) -> dict[ShortStateHash, list[Layer]]:
        found: dict[ShortStateHash, list[Layer]] = {state: [] for state in states}

        def keep(state: ShortStateHash, layer: Stored) -> ShortStateHash | None:
            found[state].insert(0, _layer(layer))
            return found[state][0].diff.parent

        self._descend(found, keep)
        return found

    def _stored(self, states: Iterable[ShortStateHash]) -> dict[ShortStateHash, list[Stored]]:
        """The layers of each: its own first, the full state last."""
        found: dict[ShortStateHash, list[Stored]] = {state: [] for state in states}

        def keep(state: ShortStateHash, layer: Stored) -> ShortStateHash | None:
            found[state].append(layer)
            return parent_of(_DIFFS, layer[1])

        self._descend(found, keep)
        return found

    def _descend(
        self,
        states: Iterable[ShortStateHash],
        look: Callable[[ShortStateHash, Stored], ShortStateHash | None],
    ) -> None:
        """Show ``look`` the layers of each state, its own first.

        It answers with the one below, or with None where it has seen enough.
        Cost: one bulk read for each depth.
        """
        numbers = {state: ShortStateHash(check_u64(state)) for state in states}
        for _ in range(LAYERS_MAX):
            values = self._diffs.get_many(list(map(pack_u64, numbers.values())))
            layers, numbers = zip(numbers.items(), values, strict=True), {}
            for (state, number), value in layers:
                if value is None:
                    raise _missing(state, number)
                below = look(state, (number, value))
                if below is not None:
                    numbers[state] = below
            if not numbers:
                return
        state = next(iter(numbers))
        raise CorruptedError(_DIFFS, 0, f"state {state} has more than {LAYERS_MAX} layers")


def _missing(state: ShortStateHash, number: int) -> Exception:
    if number == state:
        return InvalidArgumentError(f"there is no room state {shown(state)}")
    return CorruptedError(_DIFFS, 0, f"state {number}, a layer of {state}, is missing")


def _layer(stored: Stored) -> Layer:
    number, value = stored
    return Layer(number, unpack_diff(_DIFFS, value))


def _as_one(stored: list[Stored]) -> Difference:
    """Layers, the highest first, as one difference from what is below them."""
    return summed(_layer(layer).difference for layer in reversed(stored))
