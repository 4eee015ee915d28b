"""The commits of a damaged log, applied to salvaged trees.

- Every write says what a key has from then on, so one stands without those before it. It counts
  where what was found for its key is older.
- In a file, commits from the next file's first sequence on were cut by an earlier recovery.
- A tree whose making is lost gets a name that is made up; where its making is found, that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from conduitstore.errors import CorruptedError

from . import names
from .forest import DEFAULT_TREE_ID, Forest
from .manifest import FORK_GAP
from .remains import Known, Remains, reason_of
from .replay import commit_of, operations
from .salvagedtrees import generated_name
from .wal import Op


class SalvagedLog:
    """See the module's rules.

    Args:
        remains: the files.
        forest: with the salvaged trees; commits are applied to it.
        known: what manifests know.
        sequence_at: by tree id and key, the newest commit that is in what was found for it.

    Attributes:
        newest: the newest commit that a manifest or a record tells of.
        applied_total: commits that something was taken from.
        missing_total: commits behind the newest generation that no record is left of.
    """

    def __init__(
        self,
        remains: Remains,
        forest: Forest,
        known: Known,
        sequence_at: Callable[[int, bytes], int],
    ) -> None:
        self._remains = remains
        self._forest = forest
        self._sequence_at = sequence_at
        self._trees = set(forest.roots)
        self._trees_known_at = known.newest.sequence if known.newest is not None else 0
        self.newest = known.newest_sequence
        self.applied_total = self.missing_total = 0

    def apply(self) -> None:
        """Apply every commit there is, in order."""
        forest = self._forest
        for sequence, count, ops in self._commits():
            # Far apart are only those between which an earlier recovery went on above.
            gap = sequence - self.newest - 1 if self.newest else 0
            self.missing_total += gap if 0 < gap < FORK_GAP else 0
            self.newest = max(self.newest, sequence)
            taken = [field for op in operations(ops) for field in self._taken(sequence, *op)]
            self.applied_total += bool(taken)
            places = forest.prepare(taken)
            forest.apply(taken, places, max(count, forest.count), max(sequence, forest.sequence))

    def _commits(self) -> Iterator[tuple[int, int, list[Any]]]:
        """Sequence, count and operations of every record that verifies."""
        logs = self._remains.files[names.LOG]
        firsts = [self._first(*one) or 1 << 64 for one in logs]
        for at, (number, name) in enumerate(logs):
            end = min(firsts[at + 1 :], default=1 << 64)
            for frame in self._remains.frames(names.LOG, number, name):
                try:
                    sequence, _, count, ops = commit_of(name, frame.offset, frame)
                except CorruptedError as error:
                    size_bytes = frame.end - frame.offset
                    self._remains.note(name, frame.offset, size_bytes, reason_of(error))
                    continue
                if sequence < end:
                    yield sequence, count, ops

    def _first(self, number: int, name: str) -> int:
        """The first sequence of a file; 0: nobody knows."""
        file = self._remains.directory.open(name)
        found = self._remains.header(names.LOG, number, name, file).first_sequence
        file.close()
        return found

    # Of one commit ------------------------------------------------------------------------------
    def _taken(self, sequence: int, tree_id: int, key: Any, value: Any) -> list[Any]:
        """An operation as it shall be applied: not at all, or with what it needs before it."""
        is_there = tree_id in self._trees
        if key == Op.DROP:
            self._trees.discard(tree_id)
            return [tree_id, key, value] if is_there else []
        if not is_there and sequence <= self._trees_known_at:
            return []  # It was dropped by then.
        if key == Op.CREATE:
            return self._create(tree_id, value)
        made = [] if is_there else self._create(tree_id, generated_name(tree_id, self._forest.ids))
        is_newer = sequence > self._sequence_at(tree_id, key)
        return [*made, tree_id, key, value] if is_newer else made

    def _create(self, tree_id: int, name: str) -> list[Any]:
        """Make a tree, or give the one that is there its right name."""
        ids = dict(self._forest.ids)
        holder = ids.get(name)
        if holder in (tree_id, DEFAULT_TREE_ID) or tree_id == DEFAULT_TREE_ID:
            return []
        if holder is not None:  # The name was free once: that this one was dropped is lost.
            ids[generated_name(holder, ids)] = ids.pop(name)
        if tree_id in self._trees:
            ids = {other: one for other, one in ids.items() if one != tree_id}
            ids[name] = tree_id
        self._forest.ids = ids
        if tree_id in self._trees:
            return []
        self._trees.add(tree_id)
        return [tree_id, Op.CREATE, name]
