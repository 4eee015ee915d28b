"""Segments: immutable files of leaves, written once by a checkpoint, read by location.

A segment is open from the moment it is known until the last leaf that lies in it is gone;
unlinking it waits for neither.
"""

from __future__ import annotations

from conduitstore.errors import CorruptedError

from . import names
from .files import Directory, File, append_whole, create_file
from .format import (
    HEADER_BYTES,
    FrameKind,
    Header,
    decode_frame,
    decode_header,
    encode_frame,
)
from .leaf import Leaf, Location, decode_leaf

KIND = b"S"
BUFFER_BYTES = 1 << 20
"""Leaves are gathered to this size before each call of the operating system."""


class Segment:
    """One open segment."""

    def __init__(self, file: File, header: Header) -> None:
        self.number = header.number
        self.seed = header.seed
        self.file = file

    @classmethod
    def open(cls, directory: Directory, number: int, store_id: bytes) -> Segment:
        """Open a published segment and check whose it is."""
        name = names.numbered(names.SEGMENT, number)
        try:
            file = directory.open(name)
        except FileNotFoundError:
            raise CorruptedError(name, 0, "the manifest names it, but it is missing") from None
        header = decode_header(file.read_at(0, HEADER_BYTES), name, KIND)
        if header.number != number or header.store_id != store_id:
            raise CorruptedError(name, 0, "it belongs to another place or store")
        return cls(file, header)

    def load(self, leaf: Leaf) -> tuple[list[bytes], dict[bytes, bytes]]:
        """Read a leaf of this segment.

        Raises:
            CorruptedError: the frame does not verify, or is not the leaf that was looked for.
        """
        location = leaf.location
        assert location is not None
        offset = location.offset
        frame = decode_frame(self.file.read_at(offset, location.frame_bytes), 0, self.seed)
        if frame is None or frame.kind != FrameKind.LEAF:
            raise CorruptedError(self.file.name, offset, "a leaf's checksum does not hold")
        try:
            _, _, keys, values = decode_leaf(frame.payload, frame.flags)
        except Exception as error:  # Whatever hostile bytes make the decoders raise.
            raise CorruptedError(self.file.name, offset, f"not a leaf: {error}") from error
        if len(keys) != location.entries_total:
            raise CorruptedError(self.file.name, offset, "another leaf stands in this place")
        return keys, dict(zip(keys, values, strict=True))


class SegmentWriter:
    """Appends leaves to a new segment; nothing refers to it before it is synced and published."""

    def __init__(self, directory: Directory, number: int, store_id: bytes) -> None:
        header = Header(KIND, store_id, number)
        self._file = create_file(directory, names.numbered(names.SEGMENT, number))
        self.segment = Segment(self._file, header)
        self._end = 0
        self._buffer: list[bytes] = []
        self._buffered_bytes = 0
        self._put(header.encode())

    def _put(self, data: bytes) -> None:
        self._buffer.append(data)
        self._buffered_bytes += len(data)
        self._end += len(data)
        if self._buffered_bytes >= BUFFER_BYTES:
            self._write()

    def _write(self) -> None:
        append_whole(self._file, b"".join(self._buffer), self._end - self._buffered_bytes)
        self._buffer.clear()
        self._buffered_bytes = 0

    def add(self, leaf: Leaf, payload: bytes, flags: int) -> Location:
        """Append one encoded leaf; gives where it will lie."""
        frame = encode_frame(self.segment.seed, FrameKind.LEAF, payload, flags)
        location = Location(self.segment, self._end, len(frame), leaf.entries_total)
        self._put(frame)
        return location

    def sync(self) -> None:
        """Put everything on the platter."""
        self._write()
        self._file.sync()
