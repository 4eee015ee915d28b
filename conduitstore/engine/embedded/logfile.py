"""One file of the write-ahead log: frames, and behind them zeros that are set aside for more."""

from __future__ import annotations

from contextlib import suppress

from conduitstore.errors import StoreFullError

from . import names
from .files import Directory, MappedBytes, append_whole, create_file
from .format import Header

KIND = b"L"
ASIDE_BYTES_MIN = 4096
ASIDE_BYTES_MAX = 1 << 16
"""How much is set aside at once: as much as a file has already, within these."""


class LogFile:
    """A log that is written, and how far it is on the platter."""

    def __init__(self, directory: Directory, store_id: bytes, number: int, first: int) -> None:
        header = Header(KIND, store_id, number, first)
        self.number = number
        self.first_sequence = first
        self.seed = header.seed
        self.is_named = False  # whether its directory entry is on the platter
        name = names.numbered(names.LOG, number)
        self._file = create_file(directory, name)
        self.can_map = self._file.can_map
        self.mapped: MappedBytes = {}
        self.mapped_bytes = 0
        """Up to here a frame may be put into ``mapped``. The file must not become shorter."""
        self.length_bytes = 0  # with what is set aside
        self.size_bytes = 0
        """Where the next frame goes: whoever writes one sets it."""
        try:
            self.size_bytes = self.write(header.encode())
        except StoreFullError:
            self.close()
            directory.unlink(name)  # Who tries again may do so under the same name.
            raise

    def write(self, data: bytes, keep: int = 0) -> int:
        """Append all of ``data``, or none of it; gives where it ends.

        Errors and ``keep`` as :func:`files.append_whole`.
        """
        end = self.size_bytes + len(data)
        try:
            append_whole(self._file, data, self.size_bytes, keep)
        except StoreFullError:
            self.length_bytes = max(self.size_bytes, keep)
            raise
        self.length_bytes = max(self.length_bytes, end)
        return end

    def set_aside(self) -> None:
        """Have room for more frames, if there is space for it; what there was stays."""
        used = self.size_bytes
        length = used + min(max(used, ASIDE_BYTES_MIN), ASIDE_BYTES_MAX)
        length -= length % ASIDE_BYTES_MIN
        with suppress(StoreFullError):
            append_whole(self._file, bytes(length - used), used, self.length_bytes)
            self.length_bytes = length
            self._map()

    def _map(self) -> None:
        mapped = self._file.map(self.length_bytes) if self.can_map else None
        if mapped is None:
            self.can_map = False
        else:
            self.mapped, self.mapped_bytes = mapped, self.length_bytes

    def sync(self) -> None:
        self._file.sync()

    def unmap(self) -> None:
        """Let go of its memory, where no commit will follow."""
        self.mapped_bytes, self.mapped = 0, {}

    def close(self) -> None:
        self.unmap()
        self._file.close()
