"""Checkpoints: what the log holds goes into a segment, and the log before it may go.

The caller froze the state and turned to a new log file at the same instant. Then:

1. Write every dirty leaf of the frozen state to a new segment.
2. Sync the segment.
3. Sync the directory: the segment's name, and the new log's.
4. Append the changes to the manifest and sync it; or begin a new manifest: write, sync, rename,
   sync the directory. The generation is now published.
5. Mark the written leaves clean: from here on they may leave memory.
6. Unlink what neither this generation nor the one before it needs: older logs, dead segments and
   older manifests. A crash before this leaves them to the next open. What is kept of the
   generation before is a second copy: see :mod:`.repair`.

A crash before 4 is complete leaves the generation before, and its log, untouched.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import zstandard

from conduitstore.errors import StoreFullError

from . import index, names, recovery
from .cache import Cache
from .config import Settings
from .files import Directory
from .forest import Frozen
from .format import HEADER_BYTES
from .leaf import Leaf, Location, encode_leaf
from .manifest import Ceilings, Generation, LeafRow, LeafRows, Manifest
from .segment import SegmentWriter

Leaves = dict[int, dict[bytes, Leaf]]


class Checkpointer:
    """Publishes generations of one store; one caller at a time."""

    def __init__(
        self,
        directory: Directory,
        store_id: bytes,
        settings: Settings,
        cache: Cache,
        next_number: Callable[[], int],
        *,
        segments: set[int],
    ) -> None:
        self._directory = directory
        self._store_id = store_id
        self._cache = cache
        self._next_number = next_number
        level = settings.compression_level
        self._log_keep_bytes = settings.log_keep_bytes
        self._compressor = zstandard.ZstdCompressor(level=level) if level else None
        self._published: Leaves = {}
        self._segments = segments  # of the newest generation
        self._needed = segments  # of it and the one before
        self._lock = threading.Lock()  # one frame at a time
        self._ceilings = Ceilings()
        self.manifest: Manifest | None = None
        self._manifest_before = 0  # the number of the one that holds the generation before

    def publish(self, frozen: Frozen, generation: Generation, *, is_first: bool) -> None:
        """Steps 1 to 6; ``generation`` says everything but the leaves.

        Raises:
            StoreFullError: nothing was published; the store goes on as before.
            OSError: the store has to be latched.
        """
        leaves = {
            tree_id: {low: leaf for low, leaf in index.leaves(root) if leaf.entries_total}
            for tree_id, root in frozen.roots.items()
        }
        dirty = [(i, leaf) for i, rows in leaves.items() for leaf in rows.values()]
        dirty = [(tree_id, leaf) for tree_id, leaf in dirty if leaf.location is None]
        located = self._write_leaves(dirty, generation.generation)
        self._directory.sync()
        with self._lock:
            # Somebody may have raised the ceilings since the state was frozen.
            raised = generation.ceilings.raised_to(self._ceilings)
            generation = replace(generation, ceilings=raised)
            self._publish(leaves, located, generation, is_first=is_first)
            self._ceilings = raised
        for leaf, location in located.items():
            leaf.location = location
            self._cache.admit(leaf)
        live = segments_of(leaves)
        self._needed, self._segments, self._published = live | self._segments, live, leaves
        self._unlink(generation.previous_log_start, self._needed)

    def publish_ceilings(self, ceilings: Ceilings) -> None:
        """Raise the ceilings, durably; errors as :meth:`publish`."""
        with self._lock:
            assert self.manifest is not None
            self.manifest.append_ceilings(ceilings)
            self._ceilings = ceilings

    def needed_segments(self) -> set[int]:
        """Of the newest generation and the one before; ask while no checkpoint runs."""
        return self._needed | self._segments

    def _write_leaves(self, dirty: list[tuple[int, Leaf]], generation: int) -> dict[Leaf, Location]:
        if not dirty:
            return {}
        number = self._next_number()
        try:
            writer = SegmentWriter(self._directory, number, self._store_id)
            located = {}
            for tree_id, leaf in dirty:
                assert leaf.keys is not None
                assert leaf.entries is not None
                payload, flags = encode_leaf(
                    tree_id, generation, leaf.keys, leaf.entries, self._compressor
                )
                located[leaf] = writer.add(leaf, payload, flags)
            writer.sync()
        except StoreFullError:
            with suppress(FileNotFoundError):
                self._directory.unlink(names.numbered(names.SEGMENT, number))
            raise
        return located

    def _publish(
        self,
        leaves: Leaves,
        located: dict[Leaf, Location],
        generation: Generation,
        *,
        is_first: bool,
    ) -> None:
        rows: LeafRows = {
            tree_id: {low: _row(leaf, located) for low, leaf in lows.items()}
            for tree_id, lows in leaves.items()
        }
        manifest = self.manifest
        if is_first or manifest is None or manifest.is_long:
            # It stays for the generation before, which it holds.
            self._manifest_before = recovery.newest_manifest(self._directory.names())
            new = Manifest(self._directory, self._store_id, self._next_number())
            new.publish(replace(generation, leaves=rows))
            self.manifest = new  # Not before: where there was no space, the old one goes on.
            if manifest is not None:
                manifest.close()
        else:
            self._manifest_before = manifest.number
            manifest.append_changes(replace(generation, leaves=self._changes(leaves, rows)))

    def _changes(self, leaves: Leaves, rows: LeafRows) -> LeafRows:
        """Rows of the leaves that moved since the generation before; None for those that went."""
        changes: LeafRows = {}
        for tree_id, lows in leaves.items():
            old = self._published.get(tree_id, {})
            moved = {
                low: rows[tree_id][low] for low, leaf in lows.items() if old.get(low) is not leaf
            }
            gone = dict.fromkeys(low for low in old if low not in lows)
            if moved or gone:
                changes[tree_id] = {**moved, **gone}
        return changes

    def _old_logs(self, found: list[str], log_start: int) -> set[str]:
        """The logs that neither recovery nor a subscriber who was away has a use for."""
        parsed = sorted((names.parse(name) or ("", 0), name) for name in found)
        old = [name for (kind, number), name in parsed if kind == names.LOG and number < log_start]
        kept_bytes, dropped = 0, set()
        for name in reversed(old):
            file = self._directory.open(name)
            size = file.size()
            file.close()
            kept_bytes += size
            if kept_bytes > self._log_keep_bytes or size <= HEADER_BYTES:
                dropped.add(name)
        return dropped

    def _unlink(self, log_start: int, segments: set[int]) -> None:
        assert self.manifest is not None
        found = self._directory.names()
        old_logs = self._old_logs(found, log_start)
        for name in found:
            kind, number = names.parse(name) or ("", 0)
            if (
                name in old_logs
                or (kind == names.MANIFEST and number < self._manifest_before)
                or (kind == names.SEGMENT and number not in segments)
            ):
                self._directory.unlink(name)


def _row(leaf: Leaf, located: dict[Leaf, Location]) -> LeafRow:
    segment, offset, frame_bytes, entries_total = leaf.location or located[leaf]
    return segment.number, offset, frame_bytes, entries_total, leaf.size_bytes


def segments_of(leaves: Leaves) -> set[int]:
    """The numbers of the segments that clean leaves lie in."""
    located = (leaf.location for rows in leaves.values() for leaf in rows.values())
    return {location.segment.number for location in located if location is not None}
