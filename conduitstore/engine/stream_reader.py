"""Reads an exported store that anybody may have made: every length is a claim, not a fact.

What is held in memory is what came, never what was announced, and at most one chunk of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import zstandard

from conduitstore.engine.crc import crc32
from conduitstore.errors import CorruptedError, UnsupportedFormatError
from conduitstore.kv import Item
from conduitstore.operations import ByteSource

from .stream import (
    CHUNK,
    CHUNK_BYTES,
    CHUNK_PAYLOAD_BYTES_MAX,
    COMPRESSED,
    CRC,
    END,
    STREAM_HEADER,
    STREAM_HEADER_BYTES,
    STREAM_MAGIC,
    STREAM_VERSION,
    ChunkKind,
    Content,
    End,
)

STREAM_NAME = "stream"
READ_BYTES_MAX = 1 << 20
POSITION_MAX = 1 << 62
"""No store has drawn so many numbers; more would leave no room to go on."""


class StreamReader:
    """One pass over a stream."""

    def __init__(self, source: ByteSource | Iterable[bytes]) -> None:
        self._bytes = _Bytes(source)
        self._crc = self._header()
        self._content = Content()

    def _header(self) -> int:
        data = self._bytes.up_to(STREAM_HEADER_BYTES)
        if data[:8] != STREAM_MAGIC:
            raise UnsupportedFormatError("this is not the stream of an exported store")
        if len(data) < STREAM_HEADER_BYTES:
            raise self._damage(0, "it ends within the header")
        crc = crc32(data[: STREAM_HEADER.size])
        if CRC.unpack_from(data, STREAM_HEADER.size)[0] != crc:
            raise self._damage(0, "the header's checksum does not hold")
        _, version = STREAM_HEADER.unpack_from(data)
        if version > STREAM_VERSION:
            raise UnsupportedFormatError(
                f"the stream has version {version}, this release reads up to {STREAM_VERSION}"
            )
        return crc

    @staticmethod
    def _damage(offset: int, reason: str) -> CorruptedError:
        return CorruptedError(STREAM_NAME, offset, reason)

    def trees(self) -> Iterator[tuple[str, Iterator[Item]]]:
        """Each tree with its entries, to be read before the next; then :attr:`end` is known."""
        before: bytes | None = None
        kind, payload, offset = self._chunk()
        while kind == ChunkKind.TREE:
            if before is not None and payload <= before:
                raise self._damage(offset, "the trees are not in order")
            try:
                name = payload.decode()
            except UnicodeDecodeError as error:
                raise self._damage(offset, f"not the name of a tree: {error}") from error
            before = payload
            self._content.begin(name)
            self._next = self._chunk()
            yield name, self._entries()
            kind, payload, offset = self._next
        if kind != ChunkKind.END or len(payload) != END.size:
            raise self._damage(offset, "a chunk that does not belong here")
        self.end = self._checked_end(End(*END.unpack(payload)), offset)

    def _checked_end(self, end: End, offset: int) -> End:
        found = self._content
        if (end.entries_total, end.checksum) != (found.entries_total, found.checksum):
            raise self._damage(offset, "what came is not what the end of the stream says came")
        if end.visible_count > end.drawn_count or max(end[1:5]) > POSITION_MAX:
            raise self._damage(offset, "counts, ids or commits that no store can have reached")
        if self._bytes.up_to(1):
            raise self._damage(self._bytes.offset - 1, "something follows the end")
        return end

    def _entries(self) -> Iterator[Item]:
        before = b""
        kind, payload, offset = self._next
        while kind == ChunkKind.ENTRIES:
            fields = self._fields(payload, offset)
            for key in fields:
                value = next(fields, None)
                if value is None or key <= before:
                    raise self._damage(offset, "the keys are not in order")
                before = key
                self._content.add([key, value])
                yield key, value
            self._next = kind, payload, offset = self._chunk()

    def _fields(self, payload: bytes, offset: int) -> Iterator[bytes]:
        at, end = 0, len(payload)
        while at < end:
            begin = at + 4
            at = begin + int.from_bytes(payload[at:begin])
            if at > end or begin > end:
                raise self._damage(offset, "an entry is longer than its chunk")
            yield payload[begin:at]

    def _chunk(self) -> tuple[int, bytes, int]:
        """Kind and payload of the next chunk, and where it stood."""
        offset = self._bytes.offset
        head = self._bytes.up_to(CHUNK_BYTES)
        if len(head) < CHUNK_BYTES:
            raise self._damage(offset, "it is cut off here")
        length, kind, flags = CHUNK.unpack_from(head)
        if length > CHUNK_PAYLOAD_BYTES_MAX:
            raise self._damage(offset, "a chunk claims to be longer than any can be")
        payload = self._bytes.up_to(length)
        if len(payload) < length:
            raise self._damage(offset, "it is cut off within this chunk")
        self._crc = crc32(payload, crc32(head[: CHUNK.size], self._crc))
        if CRC.unpack_from(head, CHUNK.size)[0] != self._crc:
            raise self._damage(offset, "a chunk's checksum does not hold")
        return kind, self._unpacked(payload, offset) if flags & COMPRESSED else payload, offset

    def _unpacked(self, payload: bytes, offset: int) -> bytes:
        try:
            if not 0 <= zstandard.frame_content_size(payload) <= CHUNK_PAYLOAD_BYTES_MAX:
                raise self._damage(offset, "a compressed chunk declares no sane size")
            return zstandard.ZstdDecompressor().decompress(payload)
        except zstandard.ZstdError as error:
            raise self._damage(offset, f"it does not decompress: {error}") from error


class _Bytes:
    """Exact reads from a file or from pieces of any size."""

    def __init__(self, source: ByteSource | Iterable[bytes]) -> None:
        read = getattr(source, "read", None)
        self._pieces = (
            iter(lambda: read(READ_BYTES_MAX), b"") if read is not None else iter(source)  # type: ignore[arg-type]
        )
        self._rest = b""
        self.offset = 0

    def up_to(self, size: int) -> bytes:
        """So many bytes, fewer only where the source ends; holds what came, no more."""
        pieces, missing = [], size
        while missing:
            piece = self._rest or next(self._pieces, None)
            if piece is None:
                break
            pieces.append(piece[:missing])
            self._rest = piece[missing:]
            missing -= len(pieces[-1])
        self.offset += size - missing
        return b"".join(pieces)
