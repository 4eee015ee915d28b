"""Reading a whole file frame by frame, past any damage, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from conduitstore.operations import OnRead

from .files import File
from .format import FRAME, FRAME_BYTES, HEADER_BYTES, MARKER, Frame, decode_frame

WINDOW_BYTES = 1 << 20


class Gap(NamedTuple):
    """Bytes between whole frames that are none."""

    offset: int
    size_bytes: int


class Window:
    """Looks at a file through one large read after the other."""

    def __init__(self, file: File, end: int, on_read: OnRead) -> None:
        self._file = file
        self._end = end
        self._on_read = on_read
        self._offset = 0
        self._data = b""

    def at(self, offset: int, size: int) -> bytes:
        """Bytes from ``offset``; fewer than ``size`` only at the end."""
        size = min(size, self._end - offset)
        begin = offset - self._offset
        if begin < 0 or begin + size > len(self._data):
            wanted = min(max(size, WINDOW_BYTES), self._end - offset)
            self._data = self._file.read_at(offset, wanted)
            self._offset, begin = offset, 0
            self._on_read(len(self._data))
        return self._data[begin : begin + size]

    def frame(self, offset: int, seed: int) -> Frame | None:
        """The whole, undamaged frame that stands at ``offset``."""
        head = self.at(offset, FRAME_BYTES)
        if len(head) < FRAME_BYTES or head[: len(MARKER)] != MARKER:
            return None
        size = FRAME_BYTES + int(FRAME.unpack_from(head)[1])
        if offset + size > self._end:
            return None
        return decode_frame(self.at(offset, size), 0, seed, offset)

    def is_zero_behind(self, offset: int) -> bool:
        """Whether nothing but zeros comes from there on."""
        places = range(offset, self._end, WINDOW_BYTES)
        return not any(self.at(place, WINDOW_BYTES).strip(b"\0") for place in places)

    def next_frame(self, offset: int, seed: int) -> int:
        """Where the first whole frame behind ``offset`` begins; the end where there is none."""
        offset += 1
        while offset < self._end:
            found = self.at(offset, WINDOW_BYTES).find(MARKER)
            if found < 0:
                offset += WINDOW_BYTES - len(MARKER) + 1
                continue
            offset += found
            if self.frame(offset, seed) is not None:
                return offset
            offset += 1
        return self._end


def pieces(
    file: File, end: int, seed: int, on_read: OnRead, *, is_log: bool = False
) -> Iterator[Frame | Gap]:
    """Every frame of a file up to ``end``, and every run of bytes between them.

    The zeros at the end of a log are none: they are set aside for frames.
    """
    window = Window(file, end, on_read)
    offset = HEADER_BYTES
    while offset < end:
        frame = window.frame(offset, seed)
        if frame is not None:
            yield frame
            offset = frame.end
        else:
            behind = window.next_frame(offset, seed)
            if is_log and behind == end and window.is_zero_behind(offset):
                return
            yield Gap(offset, behind - offset)
            offset = behind


def ignore(_bytes: int) -> None:
    """Nobody asks how far the reading has come."""


def paced(
    on_read: OnRead, bytes_per_second: int, sleep: Callable[[float], object] = time.sleep
) -> OnRead:
    """``on_read``, and a pause after each read that keeps to a rate."""

    def read(size: int) -> None:
        on_read(size)
        sleep(size / bytes_per_second)

    return read
