"""Lines of a plain, gzip or zstd stream, told apart by content.

- Memory is bounded whatever the stream holds: a line past its limit is skipped, not kept, and a
  decompression bomb is unpacked in small steps.
- Nothing here raises for bad bytes: what cannot be read is a line with a fault, so that a reader
  of many lines reports it like any other. After a damaged stream nothing follows.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

import zstandard

LINE_BYTES_MAX = 1024 * 1024
"""Sixteen times the largest event a homeserver may accept: room for escapes and `unsigned`."""
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # behind a byte of any value; pzstd begins with one
# Four bytes can stand for 128 KiB of zeros in zstd, so one step of input gives at most 4 MiB.
_ZSTD_STEP_BYTES = 128
_ZSTD_WINDOW_BYTES_MAX = 128 * 1024 * 1024  # what the zstd tool accepts by default
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


class Line(NamedTuple):
    """One line without its end, or what keeps it from being read."""

    number: int
    content: bytes
    fault: str | None = None


class Readable(Protocol):
    """All that is asked of a source: a file, a socket's file or standard input."""

    def read(self, size: int, /) -> bytes: ...


class Source(io.RawIOBase):
    """The compressed bytes, counted as they are consumed; their first four can be seen ahead."""

    def __init__(self, source: Readable) -> None:
        super().__init__()
        self._source = source
        self.consumed_bytes = 0
        self.magic = b""
        while len(self.magic) < 4 and (more := source.read(4 - len(self.magic))):
            self.magic += more
        self._ahead = self.magic

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._ahead:
            end = len(self._ahead) if size < 0 else size
            content, self._ahead = self._ahead[:end], self._ahead[end:]
        else:
            content = self._source.read(size)
        self.consumed_bytes += len(content)
        return content

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer will do
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


class _Unzstd(io.RawIOBase):
    """Frames of zstd, one after the other; unlike the library's reader it notices a cut one."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = io.BufferedReader(source)
        self._ready = memoryview(b"")
        self._start_frame()

    def _start_frame(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES_MAX)
        self._frame = decompressor.decompressobj()
        self._is_inside = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer will do
        while not self._ready:
            packed = self._source.read(_ZSTD_STEP_BYTES)
            if not packed:
                if self._is_inside:
                    raise EOFError("it ends in the middle of a frame")
                return 0
            self._ready = memoryview(self._unpack(packed))
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _unpack(self, packed: bytes) -> bytes:
        unpacked = []
        while packed:
            self._is_inside = True
            unpacked.append(self._frame.decompress(packed))
            packed = b""
            if self._frame.eof:
                packed = self._frame.unused_data
                self._start_frame()
        return b"".join(unpacked)


def read_lines(source: Source, line_bytes_max: int = LINE_BYTES_MAX) -> Iterator[Line]:
    """The lines of ``source``, numbered from 1, each with a fault if it could not be read."""
    number = 1
    try:
        stream = _unpacked(source)
        while content := stream.readline(line_bytes_max + len(b"\r\n")):
            line = content.rstrip(b"\r\n")
            is_whole = content.endswith(b"\n") or len(content) < line_bytes_max + len(b"\r\n")
            if is_whole and len(line) <= line_bytes_max:
                yield Line(number, line)
            else:
                _skip_to_line_end(stream, content)
                yield Line(number, b"", f"over-long line: more than {line_bytes_max} bytes")
            number += 1
    except _DAMAGE as error:
        yield Line(number, b"", f"damaged stream: {error}")


def _unpacked(source: Source) -> BinaryIO:
    if source.magic.startswith(_GZIP_MAGIC):
        return gzip.GzipFile(fileobj=source, mode="rb")  # type: ignore[return-value]
    is_zstd = source.magic == _ZSTD_MAGIC or source.magic[1:] == _ZSTD_SKIPPABLE_MAGIC
    return io.BufferedReader(_Unzstd(source) if is_zstd else source)


def _skip_to_line_end(stream: BinaryIO, content: bytes) -> None:
    while content and not content.endswith(b"\n"):
        content = stream.readline(io.DEFAULT_BUFFER_SIZE)
