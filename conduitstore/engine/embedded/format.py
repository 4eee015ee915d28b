r"""Every byte the embedded engine writes, drawn and proven. See ``docs/format/``.

A file is a header and then frames, whatever its kind:

    header, 64 bytes                               frame, 16 bytes and its payload
    0   8  magic            b"\x89CONDUIT"          0  4  marker    b"\xf7CSf"
    8   1  kind             M, L or S              4  4  length    payload bytes
    9   1  zero                                    8  1  kind      see FrameKind
    10  2  format version   FORMAT_VERSION         9  1  flags     bit 0: payload is zstd
    12  4  refuse flags     unknown: do not open   10 2  zero
    16  4  read-only flags  unknown: do not write  12 4  checksum
    20  4  ignore flags     unknown: go on         16    payload
    24  16 store id         random, one a store
    40  8  number           of this file
    48  8  first sequence   logs: of its records
    56  4  zero
    60  4  checksum         CRC-32 of bytes 0..60

Numbers are little-endian. A frame's checksum is a CRC-32 over its first 12 bytes and its payload
that starts from the checksum of the file's header and from the frame's offset, so that a frame that
was copied from another file or another place, or left over from an older file, does not verify.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from conduitstore.engine.crc import crc32
from conduitstore.errors import CorruptedError, UnsupportedFormatError

MAGIC = b"\x89CONDUIT"
FORMAT_VERSION = 1
HEADER = struct.Struct("<8ssxHIII16sQQ4x")
HEADER_BYTES = HEADER.size + 4
assert HEADER_BYTES == 64

MARKER = b"\xf7CSf"
FRAME = struct.Struct("<4sIBB2x")
CHECKED_FRAME = struct.Struct(FRAME.format + "I")
FRAME_BYTES = CHECKED_FRAME.size
assert FRAME_BYTES == FRAME.size + 4 == 16
FRAME_PAYLOAD_BYTES_MAX = (1 << 32) - 1
COMPRESSED = 1
CRC = struct.Struct("<I")


class FrameKind(IntEnum):
    """What a frame's payload is."""

    COMMIT = 1  # log: one commit
    LEAF = 2  # segment: one leaf
    WHOLE = 3  # manifest: the complete index of one generation
    CHANGES = 4  # manifest: what the next generation changes
    CEILINGS = 5  # manifest: raised ceilings of count and ids
    BLOB = 6  # segment: one big value


class Header(NamedTuple):
    """The decoded first 64 bytes of a file."""

    kind: bytes
    store_id: bytes
    number: int
    first_sequence: int = 0
    read_only_flags: int = 0
    ignore_flags: int = 0

    def encode(self) -> bytes:
        """The 64 bytes."""
        head = HEADER.pack(
            MAGIC, self.kind, FORMAT_VERSION, 0, self.read_only_flags, self.ignore_flags,
            self.store_id, self.number, self.first_sequence,
        )  # fmt: skip
        return head + CRC.pack(crc32(head))

    @property
    def seed(self) -> int:
        """Where the checksums of this file's frames start from: the header's checksum.

        Not one over all 64 bytes: a CRC over anything and its CRC is the same for everything.
        """
        return crc32(self.encode()[: HEADER.size])


def decode_header(data: bytes, file: str, kind: bytes) -> Header:
    """Check and decode a header.

    Raises:
        UnsupportedFormatError: another program's file, or a newer version's.
        CorruptedError: one of ours, damaged.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise CorruptedError(file, 0, "it does not begin like a file of this store")
    if len(data) < HEADER_BYTES or crc32(data[: HEADER.size]) != CRC.unpack_from(data, 60)[0]:
        raise CorruptedError(file, 0, "the header's checksum does not hold")
    _, found, version, refuse, read_only, ignore, store_id, number, first = HEADER.unpack_from(data)
    if version > FORMAT_VERSION or refuse:
        raise UnsupportedFormatError(
            f"{file} has format version {version} with flags {refuse:#x}; this release reads "
            f"version {FORMAT_VERSION}: open it with the release that wrote it"
        )
    if found != kind:
        raise CorruptedError(file, 0, f"it is of kind {found!r} where {kind!r} was expected")
    return Header(found, store_id, number, first, read_only, ignore)


def seed_of(data: bytes, file: str, expected: Header) -> int:
    """The seed of a file that begins with ``data``: as its header says, or as it must have said.

    A header that does not verify was never on the platter, or is damaged. What it must have said is
    known; if frames verify by that, they are this file's.

    Raises:
        CorruptedError: the header is another file's.
        UnsupportedFormatError: as :func:`decode_header`.
    """
    try:
        header = decode_header(data, file, expected.kind)
    except CorruptedError:
        return expected.seed
    if (header.store_id, header.number) != (expected.store_id, expected.number):
        raise CorruptedError(file, 0, "it belongs to another place or store")
    return header.seed


def encode_frame(seed: int, offset: int, kind: int, payload: bytes, flags: int = 0) -> bytes:
    """One frame, to stand at that offset of the file whose header gave ``seed``, and only there."""
    head = FRAME.pack(MARKER, len(payload), kind, flags)
    begun = crc32(head, seed ^ offset ^ offset >> 32)
    return b"".join((head, CRC.pack(crc32(payload, begun)), payload))


class Frame(NamedTuple):
    """One verified frame and where it stood in its file."""

    offset: int
    kind: int
    flags: int
    payload: bytes

    @property
    def end(self) -> int:
        """The offset of the byte behind it."""
        return self.offset + FRAME_BYTES + len(self.payload)


def decode_frame(data: bytes, offset: int, seed: int, base: int = 0) -> Frame | None:
    """The frame at ``offset`` of ``data``, which begins at ``base`` of its file.

    None where no whole and undamaged frame stands there, or one that belongs to another place.
    """
    begin = offset + FRAME_BYTES
    if len(data) < begin:
        return None
    marker, length, kind, flags, checksum = CHECKED_FRAME.unpack_from(data, offset)
    end = begin + length
    if marker != MARKER or len(data) < end:
        return None
    payload = data[begin:end]
    place = base + offset
    begun = crc32(data[offset : offset + FRAME.size], seed ^ place ^ place >> 32)
    if crc32(payload, begun) != checksum:
        return None
    return Frame(place, kind, flags, payload)


def frames(data: bytes, seed: int, offset: int = HEADER_BYTES, base: int = 0) -> Iterator[Frame]:
    """Whole frames from ``offset`` of ``data`` on, up to its end or the first damage."""
    while (frame := decode_frame(data, offset, seed, base)) is not None:
        yield frame
        offset = frame.end - base


def frames_behind(data: bytes, offset: int, seed: int, base: int = 0) -> Iterator[Frame]:
    """Whole frames behind a damaged place: proof of what once stood there."""
    while (offset := data.find(MARKER, offset + 1)) >= 0:
        frame = decode_frame(data, offset, seed, base)
        if frame is not None:
            yield frame
            offset = frame.end - base - 1
