"""Room states: layers that are there, entries that mean something, hashes that lead to them."""

from __future__ import annotations

from collections.abc import Iterator

from conduitstore.codec.state_layers import LAYERS_MAX, Layer, resolved
from conduitstore.codec.states import StateDiff, state_hash, unpack_diff
from conduitstore.codec.values import pack_u64
from conduitstore.errors import CorruptedError
from conduitstore.kv import Keyspace
from conduitstore.schema import TREES
from conduitstore.types import ShortStateHash, StateEntry

from .findings import Finding
from .rows import found_at

DIFFS = "shortstatehash_statediff"
_HASH = TREES["statehash_shortstatehash"].key
_WORD = 8


def layers_of(view: Keyspace, number: bytes) -> list[Layer] | None:
    """A state's layers, the full state first; None where one is missing, damaged or too deep."""
    layers: list[Layer] = []
    while len(layers) < LAYERS_MAX:
        diff = _diff(view, number)
        if diff is None:
            return None
        layers.append(Layer(ShortStateHash(int.from_bytes(number)), diff))
        if diff.parent is None:
            return layers[::-1]
        number = pack_u64(diff.parent)
    return None


def entries_of(view: Keyspace, number: bytes) -> list[StateEntry] | None:
    """All of a state; None where it cannot be told."""
    layers = layers_of(view, number)
    return None if layers is None else resolved(layers)


def _diff(view: Keyspace, number: bytes) -> StateDiff | None:
    value = found_at(view.open_tree(DIFFS), number)
    try:
        return None if value is None else unpack_diff(DIFFS, value)
    except CorruptedError:
        return None


def without_layers(view: Keyspace) -> Iterator[Finding]:
    """States of which a layer is missing, or that have too many: none ends in itself."""
    for number in view.open_tree(DIFFS).keys():  # noqa: SIM118 - reads no values
        if _diff(view, number) is not None and layers_of(view, number) is None:
            yield Finding(DIFFS, number, f"not {LAYERS_MAX} layers at most, down to a full state")


def meaningless(view: Keyspace) -> Iterator[Finding]:
    """Entries of no event or state key, taken from where they are not, or two for one key.

    Memory: one state. Cost: each state is put together once.
    """
    hashes = view.open_tree("statehash_shortstatehash")
    for number in view.open_tree(DIFFS).keys():  # noqa: SIM118 - reads no values
        layers = layers_of(view, number)
        if layers is None:
            continue
        diff = layers[-1].diff
        for entry in diff.added:
            if not _resolves(view, entry):
                yield Finding(DIFFS, number, f"{entry!r} is no event under a state key")
        below = set(resolved(layers[:-1]))
        for entry in diff.removed:
            if entry not in below:
                yield Finding(DIFFS, number, f"{entry!r} is not in its parent to be removed")
        entries = resolved(layers)
        if len({entry[:_WORD] for entry in entries}) != len(entries):
            yield Finding(DIFFS, number, "two events under one state key")
        if hashes.get(_HASH.pack(state_hash(entries))) != number:
            yield Finding(DIFFS, number, "its hash does not lead to it")


def _resolves(view: Keyspace, entry: StateEntry) -> bool:
    state_keys, events = view.open_tree("shortstatekey_statekey"), "shorteventid_eventid"
    return state_keys.contains_key(entry[:_WORD]) and view.open_tree(events).contains_key(
        entry[_WORD:]
    )
