r"""The bytes of an exported store, engine-neutral: see ``docs/format/stream.md``.

    header, 16 bytes                       chunk, 12 bytes and its payload
    0   8  magic      b"\x89CSTREAM"        0  4  length    payload bytes
    8   2  version    STREAM_VERSION       4  1  kind      see ChunkKind
    10  2  zero                            5  1  flags     bit 0: payload is zstd
    12  4  checksum   of bytes 0..12       6  2  zero
                                           8  4  checksum
                                           12    payload

Numbers are big-endian. A checksum is one CRC-32 that runs over the whole stream without the
checksums themselves, so that a chunk that is missing, moved or of another stream does not verify.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from itertools import chain
from typing import NamedTuple

import zstandard

from conduitstore.engine.crc import crc32
from conduitstore.kv import KEY_BYTES_MAX, VALUE_BYTES_MAX, Item, Keyspace, Snapshot

from .checksum import extend

STREAM_MAGIC = b"\x89CSTREAM"
STREAM_VERSION = 1
STREAM_HEADER = struct.Struct(">8sH2x")
STREAM_HEADER_BYTES = STREAM_HEADER.size + 4
assert STREAM_HEADER_BYTES == 16

CHUNK = struct.Struct(">IBB2x")
CHUNK_BYTES = CHUNK.size + 4
assert CHUNK_BYTES == 12
CHUNK_BYTES_TARGET = 256 * 1024
CHUNK_PAYLOAD_BYTES_MAX = CHUNK_BYTES_TARGET + 8 + KEY_BYTES_MAX + VALUE_BYTES_MAX
COMPRESSED = 1
CRC = struct.Struct(">I")
LENGTH = struct.Struct(">I")


class ChunkKind(IntEnum):
    """What a chunk's payload is."""

    TREE = 1  # its name, as text; trees come in order, each once
    ENTRIES = 2  # key, value, key, value, ... of that tree, each behind its length
    END = 3  # see End; nothing follows


class End(NamedTuple):
    """The payload of the last chunk."""

    entries_total: int
    visible_count: int
    drawn_count: int
    next_id: int
    sequence: int
    checksum: int  # of the content, as ``Database.checksum``


END = struct.Struct(">QQQQQI")
assert END.size == 44


def encode_stream(view: Snapshot, drawn: int, next_id: int, level: int) -> Iterator[bytes]:
    """The whole stream of what ``view`` shows; the numbers are those of :class:`End`."""
    head = STREAM_HEADER.pack(STREAM_MAGIC, STREAM_VERSION)
    crc = crc32(head)
    yield head + CRC.pack(crc)
    compressor = zstandard.ZstdCompressor(level=level) if level else None
    content = Content()
    for kind, payload in chain(_content(view, content), _end(content, view, drawn, next_id)):
        flags = 0
        if compressor is not None and kind == ChunkKind.ENTRIES:
            packed = compressor.compress(payload)
            if len(packed) < len(payload):
                payload, flags = packed, COMPRESSED  # noqa: PLW2901 - the same, shorter
        head = CHUNK.pack(len(payload), kind, flags)
        crc = crc32(payload, crc32(head, crc))
        yield b"".join((head, CRC.pack(crc), payload))


Chunks = Iterator[tuple[ChunkKind, bytes]]


class Content:
    """What the entries so far add up to."""

    def __init__(self) -> None:
        self.entries_total = 0
        self.checksum = 0
        self._tree: bytes | None = None

    def begin(self, tree: str) -> None:
        """Come to the next tree."""
        self._tree = tree.encode()

    def add(self, fields: list[bytes]) -> None:
        """Keys and values of that tree, in order."""
        if fields and self._tree is not None:  # A tree without entries is not in the checksum.
            self.checksum = extend(self.checksum, (self._tree,))
            self._tree = None
        self.checksum = extend(self.checksum, fields)
        self.entries_total += len(fields) // 2


def _content(view: Keyspace, content: Content) -> Chunks:
    for name in view.tree_names():
        content.begin(name)
        yield ChunkKind.TREE, name.encode()
        for fields in _runs(iter(view.open_tree(name))):
            content.add(fields)
            lengths = map(LENGTH.pack, map(len, fields))
            pieces = chain.from_iterable(zip(lengths, fields, strict=True))
            yield ChunkKind.ENTRIES, b"".join(pieces)


def _runs(items: Iterator[Item]) -> Iterator[list[bytes]]:
    """Neighbouring entries, flat, that make a chunk of about the right size."""
    fields: list[bytes] = []
    size = 0
    for key, value in items:
        fields += key, value
        size += 8 + len(key) + len(value)
        if size >= CHUNK_BYTES_TARGET:
            yield fields
            fields, size = [], 0
    if fields:
        yield fields


def _end(content: Content, view: Snapshot, drawn: int, next_id: int) -> Chunks:
    # A generator, so that the content is summed before this asks for the sum.
    total, count = content.entries_total, view.current_count()
    end = End(total, count, drawn, next_id, view.sequence, content.checksum)
    yield ChunkKind.END, END.pack(*end)
