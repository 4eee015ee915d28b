"""A batch of an open store, as what its commit writes: without a transaction and its drafts."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from conduitstore.kv import Batch

from .forest import Forest, Place
from .index import Node, Root


def placed(batch: Batch, forest: Forest) -> tuple[list[Any], list[Place]] | None:
    """What a commit of ``batch`` has to write, and where; None where trees have to be made for it.

    For whoever holds the writer lock. Removals of what is not there are left out.
    """
    trees: dict[str, tuple[int, Root, dict[bytes, int]]] = {}
    ops: list[Any] = []
    places: list[Place] = []
    is_rewritten = False
    for name, key, value in batch.writes:
        tree = trees.get(name)
        if tree is None:
            tree_id = forest.ids.get(name)
            if tree_id is None:
                return None
            tree = trees[name] = tree_id, forest.roots[tree_id], {}
        tree_id, root, values = tree  # The last: where among the operations a key's value is.
        if key in values:
            ops[values[key]] = value
            is_rewritten = True
            continue
        leaf: Any = root
        while type(leaf) is Node:
            leaf = leaf.children[bisect_right(leaf.lows, key)]
        keys, entries = leaf.keys, leaf.entries
        if keys is None or entries is None:
            keys, entries = forest.cache.contents(leaf)
        # The removal of what is not there is no event, so it takes no place among them.
        if value is not None or key in entries:
            ops += tree_id, key, value
            values[key] = len(ops) - 1
            places.append((root, leaf, keys, entries))
    return _without_nothing(ops, places) if is_rewritten else (ops, places)


def _without_nothing(ops: list[Any], places: list[Place]) -> tuple[list[Any], list[Place]]:
    """The same without the removals of what only the batch had inserted."""
    ops_left: list[Any] = []
    places_left: list[Place] = []
    each = iter(ops)
    for place, tree_id, key, value in zip(places, each, each, each, strict=True):
        if value is not None or key in place[-1]:
            ops_left += tree_id, key, value
            places_left.append(place)
    return ops_left, places_left
