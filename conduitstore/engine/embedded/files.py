"""The only door to the operating system: files, directories, syncs and the lock.

Everything the engine does to a disk goes through :class:`FileSystem`, :class:`Directory` and
:class:`File`, so that ``conduitstore.testing.disk`` can stand in their place and forget unsynced
bytes, tear sectors or fail the nth call.

What we assume of a disk:

- a completed ``sync`` of a file keeps its bytes and its length, one of a directory its names;
- without one any part of what was written since may be there, or not, in any order;
- a rename is atomic; an unlinked file stays readable for who has it open.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from conduitstore.errors import (
    InvalidArgumentError,
    LockedError,
    StoreFullError,
    UnsupportedFormatError,
)

from .mounts import writes_in_place

_sync = getattr(os, "fdatasync", os.fsync)  # Not everywhere; fsync does all it does and more.


class MappedBytes(Protocol):
    """A file's bytes in memory: what is put there the kernel has, without a call."""

    def __setitem__(self, place: slice, data: bytes, /) -> None: ...


class File(Protocol):
    """One open file."""

    name: str

    @property
    def can_map(self) -> bool:
        """Whether what was written once may be written again through memory."""

    def write_at(self, data: bytes, offset: int, /) -> int:
        """Write there; gives how many bytes went in, perhaps fewer than given."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes; fewer only at the end of the file."""

    def size(self) -> int: ...
    def truncate(self, size: int) -> None: ...
    def map(self, size: int) -> MappedBytes | None:
        """The first ``size`` bytes, all written before; None where the system has none to give.

        Once the file is shorter than that nothing may be put there: it would end the process.
        """

    def sync(self) -> None:
        """Return once every byte, a mapped one too, and the length are on the platter."""

    def close(self) -> None: ...


class Directory(Protocol):
    """One directory, that of a store; names are plain file names in it."""

    path: str

    def names(self) -> list[str]: ...
    def create(self, name: str) -> File:
        """A new file to write and read; an old one of that name is an error."""

    def open(self, name: str) -> File:
        """An existing file, to read."""

    def rename(self, old: str, new: str) -> None: ...
    def link(self, old: str, new: str) -> None:
        """Give a file a second name; ``OSError`` where the file system knows no such thing."""

    def unlink(self, name: str) -> None: ...
    def sync(self) -> None:
        """Return once the directory's names are on the platter."""

    def lock(self, name: str, holder: str) -> File:
        """Hold the lock file, leaving ``holder`` in it for others to read.

        Raises:
            LockedError: somebody has it; the message names who.
        """

    def remove(self) -> None:
        """Delete the directory itself, unless something is left in it."""


class FileSystem(Protocol):
    """Where directories come from."""

    def directory(self, path: str) -> Directory | None:
        """The directory of that path; None where there is none."""

    def make_directory(self, path: str) -> Directory:
        """Make it, its parents too, durably."""


FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space on the disk, in somebody's quota, or in a file of a bounded length."""


def create_file(directory: Directory, name: str) -> File:
    """A new file, or :class:`StoreFullError` where there is no space for one."""
    try:
        return directory.create(name)
    except OSError as error:
        if error.errno not in FULL_ERRORS:
            raise
        raise StoreFullError(f"no space for a new file, {name}") from error


def append_whole(file: File, data: bytes, end: int, keep: int = 0) -> None:
    """Write all of ``data`` behind the ``end`` bytes that are in use of a file, or none of it.

    Where there is no space, the file is cut there, but not below ``keep`` bytes.

    Raises:
        StoreFullError: no space; nothing behind ``end`` is to be read.
        OSError: a part of ``data`` may be there: nothing may be appended to the file again.
    """
    written = 0
    try:
        while written < len(data):
            taken = file.write_at(data[written:] if written else data, end + written)
            if taken <= 0:
                raise OSError(errno.EIO, "a write took nothing", file.name)  # noqa: TRY301 - handled as those of the system
            written += taken
    except OSError as error:
        if error.errno not in FULL_ERRORS:
            raise
        file.truncate(max(end, keep))
        raise StoreFullError(f"no space for {len(data)} bytes in {file.name}") from error


class OsFile:
    """A file of the operating system."""

    def __init__(self, path: str, flags: int, *, can_map: bool = False) -> None:
        self.can_map = can_map
        self.name = os.path.basename(path)  # noqa: PTH119 - a name out of a string, no Path needed
        self._fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
        self.write_at = partial(os.pwrite, self._fd)

    def read_at(self, offset: int, size: int) -> bytes:
        data = os.pread(self._fd, size, offset)
        while len(data) < size:
            more = os.pread(self._fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def map(self, size: int) -> mmap.mmap | None:
        try:
            return mmap.mmap(self._fd, size)
        except OSError:  # No memory, or too many maps: nothing that a write needs.
            return None

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        _sync(self._fd)

    def try_lock(self) -> bool:
        """Take the advisory lock; it goes with the open file, so also with the process."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_at(self, path: str) -> bool:
        """Whether this is still the file of that name: a lock on a deleted one locks nothing."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(path))  # noqa: PTH116 - as above
        except FileNotFoundError:
            return False

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self.write_at = partial(os.pwrite, -1)  # The number may soon be another file's.
            os.close(fd)

    def __del__(self) -> None:
        # The last leaf that lies in a segment closes it. Taking no lock, this is safe in the
        # collector's hands at any moment.
        if getattr(self, "_fd", -1) >= 0:
            self.close()


class OsDirectory:
    """A directory of the operating system."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._can_map = writes_in_place(path)

    def _join(self, name: str) -> str:
        return f"{self.path}/{name}"

    def names(self) -> list[str]:
        return sorted(os.listdir(self.path))  # noqa: PTH208 - names are what is wanted

    def create(self, name: str) -> OsFile:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        return OsFile(self._join(name), flags, can_map=self._can_map)

    def open(self, name: str) -> OsFile:
        return OsFile(self._join(name), os.O_RDONLY)

    def rename(self, old: str, new: str) -> None:
        Path(self._join(old)).rename(self._join(new))

    def link(self, old: str, new: str) -> None:
        Path(self._join(new)).hardlink_to(self._join(old))

    def unlink(self, name: str) -> None:
        Path(self._join(name)).unlink()

    def sync(self) -> None:
        _sync_directory(self.path)

    def lock(self, name: str, holder: str) -> OsFile:
        file = OsFile(self._join(name), os.O_RDWR | os.O_CREAT)
        try:
            if file.try_lock() and file.is_at(self._join(name)):
                _sign(file, holder)
                return file
            found = file.read_at(0, 200).decode(errors="replace").strip()
        except BaseException:  # An interrupt's trace would keep it, and the lock with it.
            file.close()
            raise
        file.close()
        raise LockedError(f"{self.path} is open for writing by {found or 'another process'}")

    def remove(self) -> None:
        try:
            Path(self.path).rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _sign(file: File, holder: str) -> None:
    """Say in a lock file who has it; the lock holds, whether there is space for that or not."""
    try:
        file.truncate(0)
        file.write_at(holder.encode(), 0)
    except OSError as error:
        if error.errno not in FULL_ERRORS:
            raise


class Os:
    """The real file system."""

    def directory(self, path: str) -> OsDirectory | None:
        if not Path(path).exists():
            return None
        if not Path(path).is_dir():
            raise UnsupportedFormatError(f"{path} is not a directory: a store is one")
        return OsDirectory(path)

    def make_directory(self, path: str) -> OsDirectory:
        missing = [part for part in (Path(path), *Path(path).parents) if not part.exists()]
        for part in reversed(missing):
            with suppress(FileExistsError):  # Somebody else made it just now: as good.
                part.mkdir(mode=0o700)
            _sync_directory(str(part.parent))
        return OsDirectory(path)


def path_of(path: str | os.PathLike[str]) -> str:
    """A path as a plain string, or an :class:`InvalidArgumentError` that says why it is none."""
    try:
        name = os.fsdecode(path)
    except TypeError as error:
        raise InvalidArgumentError(f"a path must be str or path-like: {error}") from error
    if not name or "\0" in name:
        raise InvalidArgumentError(f"not a path: {name!r}")
    return name


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
