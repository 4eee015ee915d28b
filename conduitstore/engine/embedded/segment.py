"""Segments: immutable files of leaves and blobs, written once by a checkpoint, read by location.

A segment is open from the moment it is known until the last leaf that lies in it, or has a blob in
it, is gone; unlinking it waits for neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from conduitstore.errors import CorruptedError

from . import names
from .blob import Blob, BlobEntries, decode_blob
from .files import Directory, File, append_whole, create_file
from .format import (
    HEADER_BYTES,
    Frame,
    FrameKind,
    Header,
    decode_frame,
    decode_header,
    encode_frame,
)
from .leaf import decode_columns
from .location import BlobLocation, Location

if TYPE_CHECKING:
    from .cache import Cache
    from .columns import Columns

P = ParamSpec("P")
T = TypeVar("T")
KIND = b"S"
BUFFER_BYTES = 1 << 20
"""Frames are gathered to this size before each call of the operating system."""


class Segment:
    """One open segment."""

    def __init__(self, file: File, header: Header) -> None:
        self.number = header.number
        self.seed = header.seed
        self.file = file
        self.size_bytes = file.size()

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

    def frame(self, kind: FrameKind, offset: int, frame_bytes: int) -> Frame:
        """One verified frame of this segment.

        Raises:
            CorruptedError: it does not verify, or is of another kind; names file and offset.
        """
        if not 0 <= offset <= offset + frame_bytes <= self.size_bytes:
            raise CorruptedError(self.file.name, offset, "the file does not reach so far")
        frame = decode_frame(self.file.read_at(offset, frame_bytes), 0, self.seed, offset)
        if frame is None or frame.kind != kind:
            name = kind.name.lower()
            raise CorruptedError(self.file.name, offset, f"a {name}'s checksum does not hold")
        return frame

    def load(self, location: Location) -> Columns:
        """Read a leaf of this segment, and split nothing yet.

        Raises:
            CorruptedError: the frame does not verify, or is not the leaf that was looked for.
        """
        _, offset, frame_bytes, entries_total, blobs = location
        _, _, flags, payload = self.frame(FrameKind.LEAF, offset, frame_bytes)
        columns = self._decoded("leaf", offset, decode_columns, payload, flags)
        if not columns.keys_total == columns.values_total == entries_total:
            raise CorruptedError(self.file.name, offset, "another leaf stands in this place")
        if columns.has_references and not blobs:
            raise CorruptedError(self.file.name, offset, "not a leaf: blobs that are none of its")
        return columns

    def contents(
        self, location: Location, columns: Columns, cache: Cache
    ) -> tuple[list[bytes], dict[bytes, bytes]]:
        """Split a leaf's columns; its blobs will be read when they are asked for."""
        keys, values = columns.split()
        if not location.blobs:
            return keys, dict(zip(keys, values, strict=True))
        values = self._decoded("leaf", location.offset, _with_blobs, values, location, cache)
        return keys, BlobEntries(zip(keys, values, strict=True))

    def load_blob(self, offset: int, frame_bytes: int, size_bytes: int) -> bytes:
        """Read a blob of this segment; errors as :meth:`load`."""
        frame = self.frame(FrameKind.BLOB, offset, frame_bytes)
        return self._decoded("blob", offset, decode_blob, frame.payload, frame.flags, size_bytes)

    def _decoded(
        self, what: str, offset: int, decode: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return decode(*args, **kwargs)
        except MemoryError:  # Not the bytes' fault: it must not look like damage.
            raise
        except Exception as error:  # Whatever hostile bytes make the decoders raise.
            raise CorruptedError(self.file.name, offset, f"not a {what}: {error}") from error


def _with_blobs(values: list[Any], location: Location, cache: Cache) -> list[Any]:
    """``values`` with a blob for each reference."""
    segments = {segment.number: segment for segment, _ in location.blobs}

    def blob(number: int, offset: int, frame_bytes: int, size_bytes: int) -> Blob:
        at = BlobLocation(segments[number], offset, frame_bytes)
        return Blob(cache, None, size_bytes=size_bytes, location=at)

    return [value if type(value) is bytes else blob(*value) for value in values]


class SegmentWriter:
    """Appends frames to a new segment; nothing refers to it before it is synced and published."""

    def __init__(self, directory: Directory, number: int, store_id: bytes) -> None:
        header = Header(KIND, store_id, number)
        self._file = create_file(directory, names.numbered(names.SEGMENT, number))
        self.segment = Segment(self._file, header)
        self._buffer: list[bytes] = []
        self._buffered_bytes = 0
        self._put(header.encode())

    def _put(self, data: bytes) -> None:
        self._buffer.append(data)
        self._buffered_bytes += len(data)
        self.segment.size_bytes += len(data)
        if self._buffered_bytes >= BUFFER_BYTES:
            self._write()

    def _write(self) -> None:
        end = self.segment.size_bytes - self._buffered_bytes
        append_whole(self._file, b"".join(self._buffer), end)
        self._buffer.clear()
        self._buffered_bytes = 0

    def add(self, kind: FrameKind, payload: bytes, flags: int) -> tuple[Segment, int, int]:
        """Append one frame; gives segment, offset and bytes: where it will lie."""
        offset = self.segment.size_bytes
        frame = encode_frame(self.segment.seed, offset, kind, payload, flags)
        self._put(frame)
        return self.segment, offset, len(frame)

    def sync(self) -> None:
        """Put everything on the platter."""
        self._write()
        self._file.sync()
