"""All trees of a store in memory: their roots, the count and the sequence they show.

- ``roots`` maps tree ids to index roots. A point reader takes a root and needs nothing else.
- Only the holder of the writer lock changes anything, and only inside ``apply``, under ``lock``:
  no I/O and no user code happen there. Whoever freezes a state takes ``lock`` to do so, and
  therefore never sees half a commit.
- Freezing is O(1): it moves the clock on. A leaf changes in place only while it is younger than the
  last checkpoint and than what any :class:`Hold` keeps frozen; otherwise a copy takes its place.
- The count and the sequence change last, when all that they promise can be seen.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from conduitstore.errors import PoisonedError
from conduitstore.kv import DEFAULT_TREE

from . import index
from .blob import Blob, BlobEntries, entries_of
from .cache import Cache
from .edits import cut_of, insert_into, remove_from, separator, stored
from .frozen import Frozen, Hold
from .index import Node, Root, find
from .leaf import ENTRY_OVERHEAD_BYTES, Leaf, in_order, payload_bytes, stored_values
from .page import page_of
from .pageitems import Page
from .wal import Op

DEFAULT_TREE_ID = 0
Place = tuple[Any, Any, Any, Any]
"""Of a prepared write: root, leaf, and its keys and entries. Those are kept because even of a dirty
leaf they may leave memory meanwhile: a checkpoint may clean it, and the cache drop it."""
NO_PLACE: Place = (None, None, None, None)
NO_TREE = Leaf([], {})
"""In the place of the root of a tree that a commit is yet to make."""
EVERY_TREE = -(1 << 63)
"""Stands for all tree ids where holds are kept."""


class Forest:
    """See the module's rules."""

    def __init__(
        self, cache: Cache, *, leaf_entries_max: int, leaf_bytes_max: int, blob_bytes_min: int
    ) -> None:
        self.lock = threading.Lock()
        self.cache = cache
        self.roots: dict[int, Root] = {DEFAULT_TREE_ID: Leaf([], {})}
        self.ids = {DEFAULT_TREE: DEFAULT_TREE_ID}
        self.next_tree_id = DEFAULT_TREE_ID + 1
        self.count = 0
        self.sequence = 0
        self.leaf_entries_max = leaf_entries_max
        self.leaf_bytes_max = leaf_bytes_max
        self._blob_bytes_min = blob_bytes_min
        self._is_torn = False
        self._clock = 1
        self._frozen_at = 0
        self._holds: dict[int, weakref.ref[Hold]] = {}  # those by tree that may still be kept
        self._checkpointed_at = 0
        self.dirty_bytes = 0
        """Memory of leaves and blobs that changed since the last checkpoint froze."""
        # Trees, keys to find leaves by that got small, and these leaves as they were then.
        self._shrunk: list[tuple[int, bytes, Leaf]] = []

    # Freezing -------------------------------------------------------------------------------
    def freeze(self) -> Frozen:
        """The whole state at this instant, for good."""
        with self.lock:
            self._check_whole()
            self._frozen_at = self._clock
            return self._frozen()

    def freeze_for(self, store: object) -> tuple[Frozen, Hold]:
        """The same for as long as the hold is kept."""
        with self.lock:
            if self._is_torn:
                self._check_whole()
            return self._frozen(), self._hold(EVERY_TREE, store)

    def freeze_tree(self, tree_id: int, store: object) -> tuple[Root, Hold]:
        """One tree at this instant, for as long as the hold is kept."""
        with self.lock:
            if self._is_torn:
                self._check_whole()
            return self.roots[tree_id], self._hold(tree_id, store)

    def page(
        self,
        tree_id: int,
        lo: bytes | None,
        hi: bytes | None,
        limit: int | None,
        reverse: bool,  # noqa: FBT001 - by position: a keyword costs a page some of its time
    ) -> Page | None:
        """A page of one tree at this instant, for which nothing has to be kept frozen."""
        with self.lock:
            if self._is_torn:
                self._check_whole()
            return page_of(self.roots[tree_id], lo, hi, limit, reverse)

    def _frozen(self) -> Frozen:
        self._clock += 1
        roots = self.roots.copy()
        return Frozen(roots, self.ids, self.count, self.sequence, self.next_tree_id)

    def _hold(self, tree_id: int, store: object) -> Hold:
        """A hold on what there is now: the one that somebody keeps, or a new one."""
        kept = self._holds.get(tree_id)
        hold = kept() if kept is not None else None
        if hold is None:
            hold = Hold(store, self.cache)
            self._holds[tree_id] = weakref.ref(hold)
        hold.frozen_at = self._clock
        self._clock += 1
        return hold

    def _let_go(self) -> None:
        """Forget the holds that nobody keeps any more: a write looks no further while none is."""
        self._holds = {tree_id: kept for tree_id, kept in self._holds.items() if kept() is not None}

    def _is_held(self, tree_id: int, epoch: int) -> bool:
        """Whether anybody may be looking at a leaf of that age."""
        for held in (tree_id, EVERY_TREE):
            kept = self._holds.get(held)
            hold = kept() if kept is not None else None
            if hold is not None and epoch <= hold.frozen_at:
                return True
        return False

    def freeze_dirty(self) -> Frozen:
        """The same for a checkpoint, by the holder of the writer lock."""
        frozen = self.freeze()
        self._checkpointed_at, self.dirty_bytes = self._frozen_at, 0
        return frozen

    def _check_whole(self) -> None:
        """Whoever waited for the lock while a commit was cut short must not see half of it."""
        if self._is_torn:
            raise PoisonedError("a commit was cut short: close the store and open it again")

    def entries(self, leaf: Leaf) -> dict[bytes, bytes]:
        """A leaf's entries, loaded if need be."""
        entries = leaf.entries
        return self.cache.contents(leaf)[1] if entries is None else entries

    def become(self, other: Forest) -> None:
        """Show another forest's state from now on, all at once for whoever freezes.

        Point readers may look meanwhile: no tree is missing for a moment.
        """
        with self.lock:
            self.roots.update(other.roots)
            for tree_id in [one for one in self.roots if one >= 0 and one not in other.roots]:
                del self.roots[tree_id]
            self.ids, self.next_tree_id = other.ids, other.next_tree_id
            self._clock = max(self._clock, other._clock) + 1  # Behind every leaf's epoch.
            self.count, self.sequence = other.count, other.sequence

    # Changing -------------------------------------------------------------------------------
    def prepare(self, ops: list[Any]) -> list[Place]:
        """Do all the reading that applying ``ops`` needs, so that it needs none."""
        places = []
        each = iter(ops)
        for tree_id, key, _ in zip(each, each, each, strict=True):
            root = self.roots.get(tree_id)
            if root is None or type(key) is not bytes:
                places.append(NO_PLACE)
            else:
                leaf = find(root, key)
                keys, entries = leaf.keys, leaf.entries
                if keys is None or entries is None:
                    keys, entries = self.cache.contents(leaf)
                places.append((root, leaf, keys, entries))
        return places

    def place(
        self,
        tree_id: int,
        values: Mapping[bytes, bytes | None],
        ops: list[Any],
        places: list[Place],
    ) -> None:
        """Add what a commit of ``values`` writes to a tree, and where, loaded if need be.

        The removal of what is not there is left out.
        """
        root = self.roots.get(tree_id, NO_TREE)
        for key, value in values.items():
            leaf: Any = root
            while type(leaf) is Node:
                leaf = leaf.children[bisect_right(leaf.lows, key)]
            keys, entries = leaf.keys, leaf.entries
            if keys is None or entries is None:
                keys, entries = self.cache.contents(leaf)
            if value is not None or key in entries:
                ops += tree_id, key, value
                places.append((root, leaf, keys, entries))

    def apply(self, ops: list[Any], places: list[Place], count: int, sequence: int) -> None:
        """Make one commit visible, all at once for whoever freezes."""
        with self.lock:
            try:
                if self._holds:
                    self._let_go()
                self._change(ops, places)
                if self._shrunk:
                    self._join_shrunk()
                self.count = count
                self.sequence = sequence
            except BaseException:
                self._is_torn = True
                raise

    def _change(self, ops: list[Any], places: list[Place]) -> None:
        roots, holds, frozen_at = self.roots, self._holds, self._frozen_at
        entries_max, bytes_max, blob_bytes_min = (
            self.leaf_entries_max,
            self.leaf_bytes_max,
            self._blob_bytes_min,
        )
        each, dirty_bytes = iter(ops), 0
        for place, tree_id, key, value in zip(places, each, each, each, strict=True):
            root, leaf, _, _ = place
            if type(key) is not bytes:
                self._change_tree(tree_id, key, value)
                continue
            if roots[tree_id] is not root:  # A write before this one gave the tree another.
                leaf = find(roots[tree_id], key)
            if leaf.epoch <= frozen_at or holds:
                leaf = self._writable(tree_id, key, leaf, place)
            entries = leaf.entries  # What changes in place is in memory.
            if value is None:
                dirty_bytes += remove_from(leaf, key)
                if len(entries) * 4 < entries_max:
                    self._note_small(tree_id, key, leaf)
                continue
            value_bytes = len(value)
            added_bytes = len(key) + value_bytes
            is_there = key in entries
            if (
                (len(entries) >= entries_max and not is_there)
                or leaf.size_bytes + added_bytes > bytes_max
                or value_bytes >= blob_bytes_min
            ):
                self._insert_shaping(tree_id, leaf, key, value)
            # What insert_into() does, without a call for each row.
            elif is_there:
                added_bytes = value_bytes - len(stored(entries, key))
                entries[key] = value
                leaf.size_bytes += added_bytes
                dirty_bytes += added_bytes
            else:
                entries[key] = value
                leaf.size_bytes += added_bytes
                dirty_bytes += added_bytes + ENTRY_OVERHEAD_BYTES
        self.dirty_bytes += dirty_bytes

    def _change_tree(self, tree_id: int, op: int, operand: Any) -> None:
        if op == Op.CREATE:
            if tree_id in self.roots or operand in self.ids:
                raise ValueError(f"there is a tree {tree_id} or {operand} already")
            self.roots[tree_id] = Leaf([], {}, epoch=self._clock)
            self.ids = {**self.ids, operand: tree_id}  # Frozen states share the old one.
            self.next_tree_id = max(self.next_tree_id, tree_id + 1)
        else:
            assert op == Op.DROP
            del self.roots[tree_id]
            self._holds.pop(tree_id, None)
            self.ids = {name: other for name, other in self.ids.items() if other != tree_id}

    def _writable(self, tree_id: int, key: bytes, leaf: Leaf, place: Place) -> Leaf:
        """The leaf that holds ``key``, or a copy in its place if somebody may be looking at it."""
        _, _, keys, entries = place
        epoch = leaf.epoch
        if epoch > self._frozen_at and not (self._holds and self._is_held(tree_id, epoch)):
            return leaf
        if epoch <= self._checkpointed_at:
            self.dirty_bytes += leaf.memory_bytes
        leaf.touched = False  # A reader's touch is meant for its copy.
        keys_now, entries_now = leaf.keys, leaf.entries
        if keys_now is not None and entries_now is not None:
            keys, entries = keys_now, entries_now
        # Else it is the prepared one: a leaf that this commit made is in memory.
        copy = Leaf(keys.copy(), entries.copy(), size_bytes=leaf.size_bytes, epoch=self._clock)
        self.roots[tree_id] = index.splice(self.roots[tree_id], key, [(b"", copy)])
        return copy

    def _note_small(self, tree_id: int, key: bytes, leaf: Leaf) -> None:
        """A leaf has lost entries and may go, or join a neighbour, once the commit is through.

        One that is empty is noted by its last key, whatever it was noted by before: since then it
        may have been cut, and that key be another leaf's.
        """
        is_noted = leaf.entries and self._shrunk and self._shrunk[-1][-1] is leaf
        if not is_noted and leaf is not self.roots[tree_id]:
            self._shrunk.append((tree_id, key, leaf))

    def _insert_shaping(self, tree_id: int, leaf: Leaf, key: bytes, value: bytes) -> None:
        """An insert of a blob, or one for which the leaf may have to be cut."""
        kept: Any = value
        if len(value) >= self._blob_bytes_min:
            kept = Blob(self.cache, value, size_bytes=len(value))
            self.dirty_bytes += kept.memory_bytes
        added_bytes = len(key) + len(kept)
        root, keys, entries = self.roots[tree_id], leaf.keys, leaf.entries
        assert keys is not None
        assert entries is not None
        is_over = (
            len(entries) >= self.leaf_entries_max
            or leaf.size_bytes + added_bytes > self.leaf_bytes_max
        )
        last = in_order(leaf, keys, entries)[-1:] if is_over else []
        if last and key > last[0]:
            # Keys that arrive in order leave full leaves behind, as they are.
            right = Leaf([key], entries_of({key: kept}), size_bytes=added_bytes, epoch=self._clock)
            self.dirty_bytes += right.memory_bytes
            parts = [(b"", leaf), (separator(last[0], key), right)]
        else:
            if kept is not value and type(entries) is dict:
                leaf.entries = BlobEntries(entries)
            self.dirty_bytes += insert_into(leaf, key, kept)
            if not self._is_full(leaf):
                return
            parts = self._split(leaf, key)
        self.roots[tree_id] = index.splice(root, key, parts)

    def _is_full(self, leaf: Leaf) -> bool:
        total = leaf.entries_total
        return total > self.leaf_entries_max or (
            leaf.size_bytes > self.leaf_bytes_max and total > 1
        )

    def _join_shrunk(self) -> None:
        """Leaves go last: what the commit writes next to them was prepared with them in place.

        And the many removals of one commit look for a neighbour once.
        """
        for tree_id, key, _ in self._shrunk:
            root = self.roots.get(tree_id)
            if root is None or root is (leaf := find(root, key)):
                continue
            total = leaf.entries_total
            if not total:
                self.roots[tree_id] = index.splice(root, key, [])
            elif total * 4 < self.leaf_entries_max:
                self.roots[tree_id] = self._merged(root, key)
        self._shrunk.clear()

    def _split(self, leaf: Leaf, key: bytes) -> index.Parts:
        keys, entries = leaf.keys, leaf.entries
        assert keys is not None
        assert entries is not None
        keys = in_order(leaf, keys, entries)
        cut = cut_of(keys, entries, key)
        right = self.leaf_of(keys[cut:], entries)
        left = self.leaf_of(keys[:cut], entries, leaf.size_bytes - right.size_bytes)
        return [(b"", left), (separator(keys[cut - 1], keys[cut]), right)]

    def leaf_of(
        self, keys: list[bytes], entries: dict[bytes, bytes], size_bytes: int | None = None
    ) -> Leaf:
        """A new dirty leaf of entries among those; their size, where it is known."""
        chosen = entries_of(dict(zip(keys, stored_values(keys, entries), strict=True)))
        size_bytes = payload_bytes(chosen) if size_bytes is None else size_bytes
        return Leaf(keys, chosen, size_bytes=size_bytes, epoch=self._clock)

    def _merged(self, root: Root, key: bytes) -> Root:
        """A small leaf goes into a neighbour that is small and at hand."""
        pair = index.neighbours(root, key)
        if pair is None:
            return root
        if sum(one.entries_total for one in pair) * 2 > self.leaf_entries_max:
            return root
        if sum(one.size_bytes for one in pair) * 2 > self.leaf_bytes_max:
            return root
        runs: list[list[bytes]] = []
        merged: dict[bytes, bytes] = {}
        for one in pair:
            keys, entries = one.keys, one.entries
            if keys is None or not entries:
                return root
            runs.append(in_order(one, keys, entries))
            merged = merged | entries
        self.dirty_bytes += sum(one.memory_bytes for one in pair if one.location is not None)
        left, right = runs
        root = index.splice(root, right[0], [])
        return index.splice(root, left[0], [(b"", self.leaf_of(left + right, merged))])
