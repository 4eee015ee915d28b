"""Writes leaves and their blobs into new segments, for one checkpoint.

Nothing in memory changes before :meth:`LeafWriter.settle`; a checkpoint that fails leaves the files
it began to :meth:`LeafWriter.discard`, or to the next open.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any

import zstandard

from conduitstore.errors import CorruptedError

from . import names
from .blob import Blob, BlobEntries, encode_blob
from .cache import Cache
from .columns import BlobReference
from .files import Directory
from .format import COMPRESSED, FrameKind
from .leaf import Leaf, encode_leaf, in_order, stored_values
from .location import BlobLocation, Location
from .segment import Segment, SegmentWriter

log = logging.getLogger("conduitstore")


class LeafWriter:
    """See the module's rules.

    Args:
        named: numbers of the segments that the newest generation names.
        victims: those of them that are to be rewritten. A blob in any other that is named stays
            where it is.
    """

    def __init__(
        self,
        directory: Directory,
        store_id: bytes,
        next_number: Callable[[], int],
        *,
        generation: int,
        compressor: zstandard.ZstdCompressor | None,
        target_bytes: int,
        cache: Cache,
        named: AbstractSet[int],
        victims: AbstractSet[int],
    ) -> None:
        self._directory = directory
        self._store_id = store_id
        self._next_number = next_number
        self._generation = generation
        self._compressor = compressor
        self._target_bytes = target_bytes
        self._cache = cache
        self._named = named
        self._victims = victims
        self._writers: list[SegmentWriter] = []
        self._blobs: dict[Blob, BlobLocation] = {}
        self._dirty: list[Leaf] = []
        self.located: dict[Leaf, Location] = {}

    @property
    def written_bytes(self) -> int:
        """Bytes of all segments begun."""
        return sum(writer.segment.size_bytes for writer in self._writers)

    def add(self, tree_id: int, leaf: Leaf) -> None:
        """Write a leaf: a dirty one, or one that lies in a victim or has blobs there.

        A clean one that cannot be read stays where it is: rewriting must not fail for it.
        """
        location = leaf.location
        if location is None:
            self._dirty.append(leaf)
            keys, entries = leaf.keys, leaf.entries
            assert keys is not None
            assert entries is not None
            self._encode(tree_id, leaf, in_order(leaf, keys, entries), entries)
            return
        try:
            if location.blobs:
                keys, entries = leaf.keys, leaf.entries
                if keys is None or entries is None:
                    columns = location.segment.load(location)
                    keys, entries = location.segment.contents(location, columns, self._cache)
                self._encode(tree_id, leaf, keys, entries)
            else:
                self._copy(leaf, location)
        except CorruptedError as error:
            log.warning("%s: it stays where it is", error)

    def _encode(
        self,
        tree_id: int,
        leaf: Leaf,
        keys: list[bytes],
        entries: dict[bytes, bytes],
    ) -> None:
        blob_bytes: dict[Segment, int] = {}
        stored: list[Any] = stored_values(keys, entries)
        if type(entries) is BlobEntries:
            stored = [
                self._reference(value, blob_bytes) if type(value) is Blob else value
                for value in stored
            ]
        payload, flags = encode_leaf(tree_id, self._generation, keys, stored, self._compressor)
        place = self._put(FrameKind.LEAF, payload, flags)
        self.located[leaf] = Location(*place, len(keys), tuple(blob_bytes.items()))

    def _copy(self, leaf: Leaf, location: Location) -> None:
        """Take a clean leaf's payload along as it is."""
        frame = location.segment.frame(FrameKind.LEAF, location.offset, location.frame_bytes)
        place = self._put(FrameKind.LEAF, frame.payload, frame.flags & COMPRESSED)
        self.located[leaf] = Location(*place, location.entries_total)

    def _reference(self, blob: Blob, blob_bytes: dict[Segment, int]) -> BlobReference:
        segment, offset, frame_bytes = location = self._location(blob)
        if location is not blob.location:
            self._blobs[blob] = location
        blob_bytes[segment] = blob_bytes.get(segment, 0) + frame_bytes
        return segment.number, offset, frame_bytes, blob.size_bytes

    def _location(self, blob: Blob) -> BlobLocation:
        location = blob.location
        if location is None:
            payload, flags = encode_blob(blob.read(), self._compressor)
            return BlobLocation(*self._put(FrameKind.BLOB, payload, flags))
        number = location.segment.number
        # One that nobody names is gone with the next unlinking: a reader may have loaded the
        # leaf from its old place while the blob was moved.
        if number in self._named and number not in self._victims:
            return location
        try:
            frame = location.segment.frame(FrameKind.BLOB, location.offset, location.frame_bytes)
        except CorruptedError as error:
            if number not in self._named:
                raise
            log.warning("%s: it stays where it is", error)
            return location
        return BlobLocation(*self._put(FrameKind.BLOB, frame.payload, frame.flags & COMPRESSED))

    def _put(self, kind: FrameKind, payload: bytes, flags: int) -> tuple[Segment, int, int]:
        if not self._writers or self._writers[-1].segment.size_bytes >= self._target_bytes:
            number = self._next_number()
            self._writers.append(SegmentWriter(self._directory, number, self._store_id))
        return self._writers[-1].add(kind, payload, flags)

    def sync(self) -> None:
        """Put everything on the platter."""
        for writer in self._writers:
            writer.sync()

    def settle(self) -> None:
        """The generation is published: what was written is clean, and lies where it was put."""
        for blob, at in self._blobs.items():
            was_dirty, blob.location = blob.location is None, at
            if was_dirty:
                self._cache.admit(blob)
        for leaf, location in self.located.items():
            leaf.location = location
        for leaf in self._dirty:
            self._cache.admit(leaf)

    def discard(self) -> None:
        """Nothing of it will be published."""
        for writer in self._writers:
            with suppress(FileNotFoundError):
                self._directory.unlink(names.numbered(names.SEGMENT, writer.segment.number))
