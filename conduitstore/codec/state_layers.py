"""Differences between room states, and how they are stacked in layers.

- A state is at most :data:`LAYERS_MAX` layers, the lowest a full state. How large a layer may be
  falls off evenly, by the fourth root of the full state with each step up: changes gather in the
  top layer, and go down one when they have outgrown it.
- So a state that changes one entry at a time costs a few times that root, on average, and is read
  with four point reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from conduitstore.codec.states import StateDiff
from conduitstore.types import ShortStateHash, StateEntry

LAYERS_MAX = 4


class Difference(NamedTuple):
    """What one state has and another lacks, and the other way round."""

    added: AbstractSet[StateEntry]
    removed: AbstractSet[StateEntry]

    @property
    def total(self) -> int:
        """Its size in entries."""
        return len(self.added) + len(self.removed)

    def then(self, later: Difference) -> Difference:
        """Both as one; what is added by one and removed by the other cancels out."""
        return Difference(
            (self.added - later.removed) | (later.added - self.removed),
            (self.removed - later.added) | (later.removed - self.added),
        )


class Layer(NamedTuple):
    """A stored state with its number."""

    state: ShortStateHash
    diff: StateDiff

    @property
    def difference(self) -> Difference:
        """What it adds to the layers below and takes away."""
        return Difference(frozenset(self.diff.added), frozenset(self.diff.removed))


def entries_max(full_total: int, depth: int) -> float:
    """How many entries a layer may have: ``depth`` 0 is a full state of ``full_total``."""
    return max(2.0, math.pow(full_total, (LAYERS_MAX - depth) / LAYERS_MAX))


def layered(layers: list[Layer], change: Difference) -> StateDiff:
    """What to store for the state that differs by ``change`` from that of ``layers``."""
    below = layers.copy()
    while below:
        is_high = len(below) >= LAYERS_MAX
        if not is_high and change.total <= entries_max(len(layers[0].diff.added), len(below)):
            return StateDiff(below[-1].state, sorted(change.added), sorted(change.removed))
        change = below.pop().difference.then(change)
    return StateDiff(None, sorted(change.added), [])


def resolved(layers: list[Layer]) -> list[StateEntry]:
    """All entries, sorted."""
    if not layers:
        return []
    full = layers[0].diff.added
    added, removed = set[StateEntry](), set[StateEntry]()
    for _, diff in layers[1:]:
        added.difference_update(diff.removed)
        added.update(diff.added)
        removed.update(diff.removed)
    kept = [entry for entry in full if entry not in removed] if removed else full
    return sorted([*kept, *added])


def summed(changes: Iterable[Difference]) -> Difference:
    """Changes one after the other, as one."""
    total = Difference(frozenset(), frozenset())
    for change in changes:
        total = total.then(change)
    return total


def difference_of(before: Sequence[StateEntry], after: Sequence[StateEntry]) -> Difference:
    """What leads from one state to another."""
    old, new = frozenset(before), frozenset(after)
    return Difference(new - old, old - new)
