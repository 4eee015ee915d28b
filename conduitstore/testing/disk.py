"""A disk in memory that can lose power, tear sectors and fail the nth call.

It stands in for the operating system behind ``engine/embedded/files.py``:

    disk = SimulatedDisk()
    db = embedded.open("store", files=disk, flush_every_ms=None)
    ...
    disk.power_loss(seed=1)        # or disk.kill(): the process dies, the machine stays up
    db = embedded.open("store", files=disk)

What it models:

- A file has cached bytes (what reads see) and bytes on the platter (what ``sync`` put there); so
  has a directory for its names. Creating, renaming and unlinking need a sync of the directory.
- ``kill``: cached state stays, every open handle is dead, locks are free.
- ``power_loss``: what was not synced is lost, kept or spoilt by a rule: see :mod:`.platter`.
- ``crash_at = n`` raises :class:`SimulatedCrash` in the nth call from now. A call that writes has
  then written the first half of its bytes. Every later call raises it too, until the disk is
  killed or loses power.
- ``fail = fn``: ``fn(operation, name)`` may return the ``OSError`` that the call shall raise, until
  the disk is killed or loses power. ``fail_reads`` is the same for calls that change nothing:
  ``open``, ``read`` and ``list``.
- A ``sync`` of a file that fails leaves its pages clean, as Linux does: later syncs write nothing
  of them. By ``failed_sync`` reads go on to see them (``clean``), half of them got on the platter
  first (``half``), or they are gone from the cache (``dropped``). Clean pages may also go later:
  ``evict``. A sync of a directory that fails does nothing: names are in a journal.
- ``before = fn``: ``fn(operation, name)`` runs at the beginning of each call, before it is counted.
  A sync that it holds up writes what was there when it began.
- ``append_bytes_max``: no call writes more.
- ``can_map``: whether files can be mapped. What is written so is a ``put``, which cannot fail.
- A write that makes a file longer is an ``append``; any other is a ``write``, which takes no space.
"""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable
from typing import Any, Literal

from conduitstore.errors import LockedError

from .platter import KEEPS, SECTOR_BYTES, Inode, Keep, Names, copied, inodes

__all__ = [
    "KEEPS",
    "SECTOR_BYTES",
    "Keep",
    "SimulatedCrash",
    "SimulatedDirectory",
    "SimulatedDisk",
    "SimulatedFile",
]

Hook = Callable[[str, str], OSError | None]


class SimulatedCrash(BaseException):
    """The process died in this call."""


class SimulatedDisk:
    """See the module's account. Calls of several threads are counted in the order they come."""

    def __init__(self, *, can_map: bool = True) -> None:
        self.calls_total = 0
        self.crash_at: int | None = None
        self.fail: Hook = _never
        self.fail_reads: Hook = _never
        self.before: Callable[[str, str], object] = _never
        self.failed_sync: Literal["clean", "half", "dropped"] = "clean"
        self.append_bytes_max: int | None = None
        self.can_map = can_map
        self.life = 0
        self._is_down = False
        self._counting = threading.Lock()
        self._directories: dict[str, Names] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> SimulatedDisk:
        """The disk as it stands; hooks are shared."""
        other = SimulatedDisk()
        other.__dict__.update(self.__dict__)
        other._counting = threading.Lock()
        other._directories = copied(self._directories)
        return other

    # The machine ------------------------------------------------------------------------------
    def kill(self) -> None:
        """End the process: its handles are dead, what it wrote stays."""
        self.life += 1
        self.crash_at = None
        self.fail = self.fail_reads = self.before = _never
        self._is_down = False

    def power_loss(self, seed: int = 0, keep: Keep = "some") -> None:
        """End the process and lose what was not synced, or a part of it."""
        chance = random.Random(seed)  # noqa: S311 - reproducible by design
        for inode in inodes(self._directories.values()):
            inode.lose_power(keep, chance)
        for names in self._directories.values():
            names.lose_power(keep, chance)
        self.kill()

    def evict(self) -> None:
        """Drop every clean page from the cache."""
        for inode in inodes(self._directories.values()):
            inode.evict()

    def call(self, operation: str, name: str, life: int) -> bool:
        """Count one call of the operating system; whether the process dies in it."""
        if life != self.life:
            raise OSError(errno.EBADF, f"{name} was opened by a process that is gone")
        if not self._is_down:
            self.before(operation, name)
        if self._is_down:  # Perhaps since then: another thread died in a call.
            raise SimulatedCrash
        with self._counting:
            self.calls_total += 1
        error = self.fail(operation, name)
        if error is not None and operation != "put":
            raise error
        with self._counting:
            if self.crash_at is not None:
                self.crash_at -= 1
                self._is_down = self.crash_at == 0
            return self._is_down

    def look(self, operation: str, name: str) -> None:
        """One call that changes nothing."""
        error = self.fail_reads(operation, name)
        if error is not None:
            raise error

    # FileSystem -------------------------------------------------------------------------------
    def directory(self, path: str) -> SimulatedDirectory | None:
        names = self._directories.get(path)
        return SimulatedDirectory(self, path, names) if names is not None else None

    def make_directory(self, path: str) -> SimulatedDirectory:
        """Durable at once: the real one syncs the parent."""
        if self.call("mkdir", path, self.life):
            raise SimulatedCrash
        return SimulatedDirectory(self, path, self._directories.setdefault(path, Names()))


class SimulatedDirectory:
    """See :class:`conduitstore.engine.embedded.files.Directory`."""

    def __init__(self, disk: SimulatedDisk, path: str, names: Names) -> None:
        self.path = path
        self._disk = disk
        self._life = disk.life
        self._names = names

    def _call(self, operation: str, name: str) -> None:
        if self._disk.call(operation, name, self._life):
            raise SimulatedCrash

    def names(self) -> list[str]:
        self._disk.look("list", self.path)
        return sorted(self._names.cached)

    def _inode(self, name: str) -> Inode:
        if name not in self._names.cached:
            raise FileNotFoundError(errno.ENOENT, "no such simulated file", name)
        return self._names.cached[name]

    def create(self, name: str) -> SimulatedFile:
        self._call("create", name)
        self._check_free(name)
        inode = Inode()
        self._names.change(None, name, inode)
        return SimulatedFile(self._disk, name, inode)

    def _check_free(self, name: str) -> None:
        if name in self._names.cached:
            raise FileExistsError(errno.EEXIST, "there is such a simulated file", name)

    def open(self, name: str) -> SimulatedFile:
        self._disk.look("open", name)
        return SimulatedFile(self._disk, name, self._inode(name))

    def rename(self, old: str, new: str) -> None:
        self._call("rename", new)
        self._names.change(old, new, self._inode(old))

    def link(self, old: str, new: str) -> None:
        self._call("link", new)
        self._check_free(new)
        self._names.change(None, new, self._inode(old))

    def unlink(self, name: str) -> None:
        self._call("unlink", name)
        self._inode(name)
        self._names.change(name, None, None)

    def sync(self) -> None:
        upto = len(self._names.changes)
        self._call("sync directory", self.path)
        self._names.sync(upto)

    def lock(self, name: str, holder: str) -> SimulatedFile:
        if name not in self._names.cached:
            self.create(name)
        inode = self._inode(name)
        if inode.locked_in == self._disk.life:
            found = inode.cached.decode().strip()
            raise LockedError(f"{self.path} is open for writing by {found}")
        inode.locked_in = self._disk.life
        file = SimulatedFile(self._disk, name, inode)
        file.holds_lock = True
        try:
            file.truncate(0)
            file.write_at(holder.encode(), 0)
        except BaseException:
            file.close()
            raise
        return file

    def remove(self) -> None:
        pass  # Directories of a simulated disk cost nothing.


class SimulatedFile:
    """See :class:`conduitstore.engine.embedded.files.File`."""

    def __init__(self, disk: SimulatedDisk, name: str, inode: Inode) -> None:
        self.name = name
        self.holds_lock = False
        self._disk = disk
        self._life = disk.life
        self._inode = inode

    def write_at(self, data: bytes, offset: int, /) -> int:
        grows = offset + len(data) > len(self._inode.cached)
        dies = self._disk.call("append" if grows else "write", self.name, self._life)
        limit = len(data) // 2 if dies else self._disk.append_bytes_max
        return self._write(data[:limit], offset, dies=dies)

    def _write(self, data: bytes, offset: int, *, dies: bool) -> int:
        inode = self._inode
        inode.cached.extend(bytes(max(0, offset - len(inode.cached))))
        inode.cached[offset : offset + len(data)] = data
        if inode.forgotten:
            inode.renew(offset, offset + len(data))
        if dies:
            raise SimulatedCrash
        return len(data)

    def put(self, data: bytes, offset: int) -> None:
        """Write through memory."""
        if offset + len(data) > len(self._inode.cached):
            raise AssertionError(f"{self.name} ends before that: the process would be killed")
        dies = self._disk.call("put", self.name, self._life)
        self._write(data[: len(data) // 2] if dies else data, offset, dies=dies)

    @property
    def can_map(self) -> bool:
        return self._disk.can_map

    def map(self, size: int) -> SimulatedMap:
        return SimulatedMap(self, size)

    def read_at(self, offset: int, size: int) -> bytes:
        self._disk.look("read", self.name)
        if offset < 0 or size < 0:  # As the operating system has it, not as slices do.
            raise OSError(errno.EINVAL, f"no such place in {self.name}: {offset}, {size}")
        if offset + size >= 1 << 40:
            raise MemoryError(f"{size} bytes at {offset} of {self.name}")
        return bytes(self._inode.cached[offset : offset + size])

    def size(self) -> int:
        return len(self._inode.cached)

    def truncate(self, size: int) -> None:
        if self._disk.call("truncate", self.name, self._life):
            raise SimulatedCrash
        self._inode.truncate(size)

    def sync(self) -> None:
        data = self._inode.writable()
        try:
            if self._disk.call("sync", self.name, self._life):
                raise SimulatedCrash
        except OSError:
            self._fail_sync()
            raise
        self._inode.platter = data

    def _fail_sync(self) -> None:
        inode, how = self._inode, self._disk.failed_sync
        inode.fail_sync(is_half_written=how == "half")
        if how == "dropped":
            inode.evict()

    def close(self) -> None:
        if self.holds_lock and self._inode.locked_in == self._life:
            self._inode.locked_in = -1
            self.holds_lock = False

    def __del__(self) -> None:
        self.close()


class SimulatedMap:
    """See :class:`conduitstore.engine.embedded.files.MappedBytes`."""

    def __init__(self, file: SimulatedFile, size: int) -> None:
        self._file = file
        self._size = size

    def __setitem__(self, place: slice, data: bytes, /) -> None:
        begin, end = place.start, place.stop
        if not 0 <= begin <= end <= self._size or end - begin != len(data):
            raise IndexError(f"{len(data)} bytes do not fit into {place} of {self._size}")
        self._file.put(data, begin)


def _never(_operation: str, _name: str) -> OSError | None:
    return None
