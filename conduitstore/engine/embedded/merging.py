"""Small neighbouring leaves, whatever inner node they are under, made one.

Where much was removed, leaves on disk have become small. A checkpoint reads some of them before it
takes the writer lock, and merges them under it, where nothing is read: runs of which a leaf is not
in memory then wait for another checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from conduitstore.errors import CorruptedError

from . import index
from .cache import Contents
from .compaction import runs_of_small
from .forest import Forest
from .index import Root
from .leaf import Leaf, in_order

log = logging.getLogger("conduitstore")


class SmallLeaves:
    """The runs of small leaves of a forest, as they were when this was made: about ``leaves_max``.

    Making it needs no writer lock, only that no leaf becomes clean before they are merged.
    """

    def __init__(self, forest: Forest, *, leaves_max: int) -> None:
        self._forest = forest
        self._read: dict[int, dict[Leaf, Contents]] = {}  # by tree
        total = 0
        for tree_id, root in list(forest.roots.items()):
            for run in self._runs(root):
                if len(run) > 1 and total < leaves_max:
                    read = self._read.setdefault(tree_id, {})
                    total += sum(self._load(leaf, read) for _, leaf in run)

    def _runs(self, root: Root) -> Iterator[index.Parts]:
        forest = self._forest
        return runs_of_small(
            index.leaves(root),
            entries_max=forest.leaf_entries_max // 2,
            bytes_max=forest.leaf_bytes_max // 2,
        )

    def _load(self, leaf: Leaf, read: dict[Leaf, Contents]) -> bool:
        """Whether it can be merged."""
        try:
            read[leaf] = self._forest.cache.contents(leaf)
        except CorruptedError as error:
            log.warning("%s: it is not merged with its neighbours", error)
            return False
        return True

    def merge(self) -> int:
        """Under the writer lock; gives how many leaves went.

        What the trees hold stays the same, so nothing goes into the log.
        """
        roots = self._forest.roots
        return sum(self._merge(tree_id) for tree_id in self._read if tree_id in roots)

    def _merge(self, tree_id: int) -> int:
        forest = self._forest
        parts: index.Parts = []
        gone = 0
        for run in self._runs(forest.roots[tree_id]):
            merged = self._merged(tree_id, run) if len(run) > 1 else None
            if merged is None:
                parts += run
            else:
                parts.append((run[0][0], merged))
                gone += len(run) - 1
                forest.dirty_bytes += sum(leaf.memory_bytes for _, leaf in run if leaf.location)
        if gone:
            with forest.lock:
                forest.roots[tree_id] = index.build(parts)
        return gone

    def _merged(self, tree_id: int, run: index.Parts) -> Leaf | None:
        """One leaf for all; None where one of them was not read."""
        read = self._read[tree_id]
        merged_keys: list[bytes] = []
        merged: dict[bytes, bytes] = {}
        for _, leaf in run:
            # What is in memory first: of a dirty one that is more than what was read.
            keys, entries = leaf.keys, leaf.entries
            if keys is None or entries is None:
                if leaf not in read:
                    return None
                keys, entries = read[leaf]
            merged_keys += in_order(leaf, keys, entries)
            merged = merged | entries
        return self._forest.leaf_of(merged_keys, merged)
