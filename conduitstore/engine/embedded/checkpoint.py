"""Checkpoints: what the log holds goes into a segment, and the log before it may go.

The caller froze the state and turned to a new log file at the same instant. Then:

1. Write every dirty leaf of the frozen state, and its new blobs, to new segments; beside them what
   still lives in segments that are worth rewriting, see :mod:`.compaction`.
2. Sync the segments.
3. Sync the directory: the segments' names, and the new log's.
4. Append the changes to the manifest and sync it; or begin a new manifest: write, sync, rename,
   sync the directory. The generation is now published.
5. Mark the written leaves clean: from here on they may leave memory.
6. Unlink what neither this generation nor the one before it needs: older logs, dead segments and
   older manifests. A crash before this leaves them to the next open. What is kept of the
   generation before is a second copy: see :mod:`.repair`.

A crash before 4 is complete leaves the generation before, and its log, untouched.

Segments that only the generation before needs stay as long as the files keep to their bound at
every moment: twice what lives, and what the last two checkpoints wrote, a running one among them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import zstandard

from conduitstore.errors import StoreFullError

from . import compaction, index, names, recovery
from .blob import blobs_of
from .cache import Cache
from .config import Settings
from .files import Directory
from .format import HEADER_BYTES
from .frozen import Frozen
from .leaf import Leaf
from .leafwriter import LeafWriter
from .location import Location
from .manifest import Ceilings, Generation, LeafRow, LeafRows, Manifest
from .segment import Segment

Leaves = dict[int, dict[bytes, Leaf]]
Locations = dict[int, dict[bytes, Location]]


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
        segments: set[Segment],
    ) -> None:
        self._directory = directory
        self._store_id = store_id
        self._settings = settings
        self._cache = cache
        self._next_number = next_number
        level = settings.compression_level
        self._log_keep_bytes = settings.log_keep_bytes
        self._compressor = zstandard.ZstdCompressor(level=level) if level else None
        self._published: Locations = {}
        self._segments = {segment.number: segment for segment in segments}  # of the newest
        self._needed = set(self._segments)  # of it, and what is kept of the one before
        self._lock = threading.Lock()  # one frame at a time
        self._ceilings = Ceilings()
        self.condemned: frozenset[int] = frozenset()
        """Numbers of segments that are not whole: the next checkpoint rewrites them."""
        self._written = deque([0, 0], maxlen=2)  # by the last two checkpoints
        self._writer: LeafWriter | None = None  # of one that runs, or failed
        self.live_bytes = 0
        """Bytes of segments and manifest that the newest generation needs."""
        self.manifest: Manifest | None = None
        self._rows_total = 0  # of the newest generation
        self._manifest_before = 0  # the number of the one that holds the generation before

    def publish(
        self, frozen: Frozen, generation: Generation, *, is_first: bool, is_thorough: bool = False
    ) -> set[int]:
        """Steps 1 to 6; ``generation`` says everything but the leaves.

        The first one begins a new manifest; a thorough one rewrites whatever is worth it, not only
        what a checkpoint should.

        Returns:
            The numbers of the segments that were rewritten.

        Raises:
            StoreFullError: nothing was published; the store goes on as before.
            OSError: the store has to be latched.
        """
        leaves = {
            # What has a location has entries.
            tree_id: {low: one for low, one in index.leaves(root) if one.location or one.entries}
            for tree_id, root in frozen.roots.items()
        }
        victims = self._victims(leaves, is_thorough=is_thorough)
        writer = self._writer = self._new_writer(victims, generation.generation)
        self._write_leaves(writer, leaves, victims)
        self._directory.sync()
        locations = {tree_id: _locations(rows, writer) for tree_id, rows in leaves.items()}
        with self._lock:
            # Somebody may have raised the ceilings since the state was frozen.
            raised = generation.ceilings.raised_to(self._ceilings)
            generation = replace(generation, ceilings=raised)
            manifest_bytes = self._publish(leaves, locations, generation, is_first=is_first)
            self._ceilings = raised
        writer.settle()
        self._published = locations
        self._retire(generation.previous_log_start, writer.written_bytes)
        self._written.append(writer.written_bytes + manifest_bytes)
        self._writer = None
        return victims

    def publish_ceilings(self, ceilings: Ceilings) -> None:
        """Raise the ceilings, durably; errors as :meth:`publish`."""
        with self._lock:
            assert self.manifest is not None
            self.manifest.append_ceilings(ceilings)
            self._ceilings = ceilings

    def named_segments(self) -> set[int]:
        """The numbers of those that the newest generation names."""
        return set(self._segments)

    @property
    def written_bytes(self) -> int:
        """Bytes of segments and manifest by the last two checkpoints, a running one among them."""
        before, last = self._written
        return last + (self._writer.written_bytes if self._writer is not None else before)

    @property
    def is_manifest_long(self) -> bool:
        """Whether a checkpoint is worth it for the manifest alone: ceilings may have filled it."""
        manifest = self.manifest
        return manifest is not None and manifest.is_long(self._rows_total)

    def needed_segments(self) -> set[int]:
        """Those that are kept, for one of two generations; ask while no checkpoint runs."""
        return self._needed

    def close(self) -> None:
        """Close the manifest; not before the first generation is published."""
        assert self.manifest is not None
        self.manifest.close()

    # Step 1 -------------------------------------------------------------------------------------
    def _victims(self, leaves: Leaves, *, is_thorough: bool) -> set[int]:
        """The numbers of the segments that this checkpoint rewrites."""
        every = [leaf for rows in leaves.values() for leaf in rows.values()]
        dirty = [leaf for leaf in every if leaf.location is None]
        live = compaction.live_bytes(leaf.location for leaf in every if leaf.location is not None)
        budget_bytes = 0
        for leaf in dirty:
            budget_bytes += leaf.size_bytes
            for blob in blobs_of(leaf.entries or {}):
                if blob.location is None:
                    budget_bytes += blob.size_bytes
                elif blob.location.segment.number in self._segments:
                    compaction.add_live(live, blob.location.segment, blob.location.frame_bytes)
        target_bytes = self._settings.segment_bytes_target
        chosen = compaction.victims(
            live,
            budget_bytes=max(budget_bytes, 4 * target_bytes if is_thorough else 0),
            target_bytes=target_bytes,
            is_thorough=is_thorough,
        )
        return {segment.number for segment in chosen} | self.condemned

    def _new_writer(self, victims: set[int], generation: int) -> LeafWriter:
        return LeafWriter(
            self._directory,
            self._store_id,
            self._next_number,
            generation=generation,
            compressor=self._compressor,
            target_bytes=self._settings.segment_bytes_target,
            cache=self._cache,
            named=self._segments.keys(),
            victims=victims,
        )

    @staticmethod
    def _write_leaves(writer: LeafWriter, leaves: Leaves, victims: set[int]) -> None:
        try:
            for tree_id, rows in leaves.items():
                for leaf in rows.values():
                    location = leaf.location
                    if location is None or (victims and _lies_in(victims, location)):
                        writer.add(tree_id, leaf)
            writer.sync()
        except StoreFullError:
            writer.discard()
            raise

    # Step 4 -------------------------------------------------------------------------------------
    def _changes(self, leaves: Leaves, locations: Locations) -> LeafRows:
        """Rows of the leaves that moved since the generation before; None for those that went."""
        changes: LeafRows = {}
        for tree_id, lows in locations.items():
            old = self._published.get(tree_id, {})
            moved = {low: at for low, at in lows.items() if old.get(low) is not at}
            gone = dict.fromkeys(low for low in old if low not in lows)
            if moved or gone:
                changes[tree_id] = {**_rows(moved, leaves[tree_id]), **gone}
        return changes

    def _publish(
        self, leaves: Leaves, locations: Locations, generation: Generation, *, is_first: bool
    ) -> int:
        """Gives how many bytes that took."""
        manifest = self.manifest
        rows_total = len(generation.trees) + sum(map(len, locations.values()))
        if manifest is not None and not is_first and not manifest.is_long(rows_total):
            self._manifest_before, size_bytes = manifest.number, manifest.size_bytes
            manifest.append_changes(replace(generation, leaves=self._changes(leaves, locations)))
            self._rows_total = rows_total
            return manifest.size_bytes - size_bytes
        whole: LeafRows = {at: _rows(lows, leaves[at]) for at, lows in locations.items()}
        # It stays for the generation before, which it holds.
        self._manifest_before = recovery.newest_manifest(self._directory.names())
        new = Manifest(self._directory, self._store_id, self._next_number())
        new.publish(replace(generation, leaves=whole))
        # Not before: where there was no space, the old one goes on.
        self.manifest, self._rows_total = new, rows_total
        if manifest is not None:
            manifest.close()
        return new.size_bytes

    # Step 6 -------------------------------------------------------------------------------------
    def _retire(self, log_start: int, written_bytes: int) -> None:
        assert self.manifest is not None
        located = (location for rows in self._published.values() for location in rows.values())
        live = compaction.live_bytes(located)
        live_total = sum(live.values())
        # Not what the checkpoint before wrote: the next one, while it runs, needs that room.
        room = 2 * live_total + written_bytes - sum(segment.size_bytes for segment in live)
        needed = {segment.number for segment in live}
        for number in sorted(self._segments.keys() - needed, reverse=True):
            room -= self._segments[number].size_bytes
            if room >= 0:
                needed.add(number)
        self._segments = {segment.number: segment for segment in live}
        self._needed = needed
        self._unlink(log_start)
        self.live_bytes = live_total + self.manifest.whole_bytes(self._rows_total)

    def _old_logs(self, found: list[str], log_start: int) -> set[str]:
        """The logs that neither recovery nor a subscriber who was away has a use for."""
        logs = names.of_kind(names.LOG, found)
        old = [name for number, name in logs if number < log_start]
        kept_bytes, dropped = 0, set()
        for name in reversed(old):
            file = self._directory.open(name)
            size = file.size()
            file.close()
            kept_bytes += size
            if kept_bytes > self._log_keep_bytes or size <= HEADER_BYTES:
                dropped.add(name)
        return dropped

    def _unlink(self, log_start: int) -> None:
        assert self.manifest is not None
        found = self._directory.names()
        old_logs = self._old_logs(found, log_start)
        for name in found:
            kind, number = names.parse(name) or ("", 0)
            if (
                name in old_logs
                or (kind == names.MANIFEST and number < self._manifest_before)
                or (kind == names.SEGMENT and number not in self._needed)
            ):
                self._directory.unlink(name)


def _locations(leaves: dict[bytes, Leaf], writer: LeafWriter) -> dict[bytes, Location]:
    """Where leaves lie, or were written to now."""
    located = writer.located
    return {low: at for low, leaf in leaves.items() if (at := located.get(leaf) or leaf.location)}


def _lies_in(victims: set[int], location: Location) -> bool:
    return any(segment.number in victims for segment in location.segments)


def _rows(
    locations: dict[bytes, Location], leaves: dict[bytes, Leaf]
) -> dict[bytes, LeafRow | None]:
    return {low: row_of(location, leaves[low]) for low, location in locations.items()}


def row_of(location: Location, leaf: Leaf) -> LeafRow:
    """The manifest's row of a leaf that lies, or will lie, there."""
    segment, offset, frame_bytes, entries_total, blobs = location
    if not blobs:
        return segment.number, offset, frame_bytes, entries_total, leaf.size_bytes
    flat = tuple(number for at, frames in blobs for number in (at.number, frames))
    return segment.number, offset, frame_bytes, entries_total, leaf.size_bytes, *flat
