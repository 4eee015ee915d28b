"""Everything that segments hold and that verifies, whether a manifest knows of it or not."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import zstandard

from conduitstore.kv import KEY_BYTES_MAX

from . import names
from .blob import BLOB_REFERENCE_BYTES, Blob
from .cache import Cache
from .claims import Claim, claims_of
from .format import COMPRESSED, Frame, FrameKind
from .layers import FoundLeaf
from .leaf import Leaf, decode_leaf
from .location import BlobLocation, Location
from .manifest import Generation
from .remains import Remains
from .segment import Segment


class Scan:
    """Made by reading every byte of every segment.

    Attributes:
        leaves: by segment number and offset.
        segments: those that are there, by number.
    """

    def __init__(self, remains: Remains, cache: Cache) -> None:
        self.leaves: dict[tuple[int, int], FoundLeaf] = {}
        self.segments: dict[int, Segment] = {}
        self._blobs: dict[tuple[int, int], tuple[int, int]] = {}  # bytes of frame and value
        self._cache = cache
        for number, name in remains.files[names.SEGMENT]:
            file = remains.directory.open(name)
            self.segments[number] = Segment(file, remains.header(names.SEGMENT, number, name, file))
            for frame in remains.frames(names.SEGMENT, number, name):
                try:
                    self._take(number, frame)
                except MemoryError:  # Not the bytes' fault: it must not look like damage.
                    raise
                except Exception as error:  # noqa: BLE001 - whatever hostile bytes make raise
                    reason = f"not a frame of a segment: {error}"
                    remains.note(name, frame.offset, frame.end - frame.offset, reason)

    def _take(self, number: int, frame: Frame) -> None:
        at, frame_bytes = (number, frame.offset), frame.end - frame.offset
        if frame.kind == FrameKind.BLOB:
            is_packed = frame.flags & COMPRESSED
            size = zstandard.frame_content_size(frame.payload) if is_packed else len(frame.payload)
            self._blobs[at] = frame_bytes, size
        elif frame.kind == FrameKind.LEAF:
            self.leaves[at] = _found_leaf(*at, frame_bytes, frame)
        else:
            raise ValueError(f"a frame of kind {frame.kind}")

    def claimed(self, generation: Generation) -> list[tuple[Claim, FoundLeaf | None]]:
        """Every leaf that a generation means; None where that is not there, or another."""
        found = []
        for rows in claims_of(generation).values():
            for claim in rows.values():
                leaf = self.leaves.get((claim.row[0], claim.row[1]))
                is_it = leaf is not None and leaf.is_meant_by(claim)
                found.append((claim, leaf if is_it else None))
        return found

    def is_whole(self, leaf: FoundLeaf) -> bool:
        """Whether every blob of a leaf is there."""
        if not leaf.blobs:
            return True
        _, values = self.contents(leaf)
        return all(type(value) is bytes or self._has(value) for value in values)

    def contents(self, leaf: FoundLeaf) -> tuple[list[bytes], list[Any]]:
        """Keys and stored values."""
        segment = self.segments[leaf.number]
        frame = segment.frame(FrameKind.LEAF, leaf.offset, leaf.frame_bytes)
        _, _, keys, values = decode_leaf(frame.payload, frame.flags)
        return keys, values

    def _has(self, reference: list[int]) -> bool:
        number, offset, frame_bytes, size_bytes = reference
        return self._blobs.get((number, offset)) == (frame_bytes, size_bytes)

    def value(self, stored: Any) -> Any:
        """What an entry in memory has for a stored value; None: its blob is not there."""
        if type(stored) is bytes:
            return stored
        if not self._has(stored):
            return None
        number, offset, frame_bytes, size_bytes = stored
        location = BlobLocation(self.segments[number], offset, frame_bytes)
        return Blob(self._cache, None, size_bytes=size_bytes, location=location)

    def leaf(self, found: FoundLeaf) -> Leaf:
        """A whole leaf where it is, to be read when it is asked for."""
        blobs = tuple((self.segments[number], size) for number, size in found.blobs)
        location = Location(
            self.segments[found.number],
            found.offset,
            found.frame_bytes,
            found.entries_total,
            blobs,
        )
        return Leaf(None, None, size_bytes=found.payload_bytes, location=location)


def _found_leaf(number: int, offset: int, frame_bytes: int, frame: Frame) -> FoundLeaf:
    tree_id, generation, keys, values = decode_leaf(frame.payload, frame.flags)
    if not (type(tree_id) is type(generation) is int and min(tree_id, generation) >= 0):
        raise ValueError("a leaf of no tree, or of no generation")
    if not keys or len(keys) != len(values) or any(a >= b for a, b in pairwise(keys)):
        raise ValueError("keys that are not in order, or without values")
    if not all(type(key) is bytes and 0 < len(key) <= KEY_BYTES_MAX for key in keys):
        raise ValueError("keys that are none")
    blobs: Counter[int] = Counter()
    payload_bytes = sum(map(len, keys))
    for value in values:
        if type(value) is bytes:
            payload_bytes += len(value)
            continue
        blobs[value[0]] += value[2]
        payload_bytes += BLOB_REFERENCE_BYTES
    return FoundLeaf(
        generation,
        number,
        offset,
        frame_bytes,
        tree_id,
        keys[0],
        keys[-1],
        len(keys),
        payload_bytes,
        tuple(blobs.items()),
    )
