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
- ``power_loss``: of everything unsynced nothing stays (``keep="nothing"``), all of it
  (``"everything"``), or a random part: each name by itself, each 512-byte sector by itself, and
  where a sector was lost behind the old end, zeros or garbage in its place.
- ``crash_at = n`` raises :class:`SimulatedCrash` in the nth call from now. A call that writes has
  then written the first half of its bytes. Every later call raises it too, until the disk is
  killed or loses power.
- ``fail = fn``: ``fn(operation, name)`` may return the ``OSError`` that the call shall raise, until
  the disk is killed or loses power.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from conduitstore.errors import LockedError

SECTOR_BYTES = 512
Keep = Literal["nothing", "everything", "some"]
K = TypeVar("K")
V = TypeVar("V")


class SimulatedCrash(BaseException):
    """The process died in this call."""


@dataclass(eq=False)
class _Inode:
    """A file's bytes, cached and on the platter."""

    cached: bytearray = field(default_factory=bytearray)
    platter: bytes = b""
    locked_in: int = -1  # the life of the process that holds the lock


@dataclass(eq=False)
class _Names:
    """A directory's names, cached and on the platter."""

    cached: dict[str, _Inode] = field(default_factory=dict)
    platter: dict[str, _Inode] = field(default_factory=dict)


class SimulatedDisk:
    """See the module's account. Not for several threads at once where calls are counted."""

    def __init__(self) -> None:
        self.calls_total = 0
        self.crash_at: int | None = None
        self.fail: Callable[[str, str], OSError | None] = _never
        self.append_bytes_max: int | None = None
        self.life = 0
        self._is_down = False
        self._directories: dict[str, _Names] = {}
        self._directories_on_platter: dict[str, _Names] = {}

    # The machine ------------------------------------------------------------------------------
    def kill(self) -> None:
        """End the process: its handles are dead, what it wrote stays."""
        self.life += 1
        self.crash_at = None
        self.fail = _never
        self._is_down = False

    def power_loss(self, seed: int = 0, keep: Keep = "some") -> None:
        """End the process and lose what was not synced, or a part of it."""
        chance = random.Random(seed)  # noqa: S311 - reproducible by design
        self._directories = _surviving(
            self._directories, self._directories_on_platter, keep, chance
        )
        self._directories_on_platter = dict(self._directories)
        for names in self._directories.values():
            names.cached = _surviving(names.cached, names.platter, keep, chance)
            names.platter = dict(names.cached)
            for inode in names.cached.values():
                inode.platter = _surviving_bytes(inode, keep, chance)
                inode.cached = bytearray(inode.platter)
        self.kill()

    def call(self, operation: str, name: str, life: int) -> bool:
        """Count one call of the operating system; whether the process dies in it."""
        if life != self.life:
            raise OSError(errno.EBADF, f"{name} was opened by a process that is gone")
        if self._is_down:
            raise SimulatedCrash
        self.calls_total += 1
        error = self.fail(operation, name)
        if error is not None:
            raise error
        if self.crash_at is not None:
            self.crash_at -= 1
            self._is_down = self.crash_at == 0
        return self._is_down

    def directory_made(self, path: str) -> None:
        """A new directory, durable at once: its maker syncs the parent."""
        if path not in self._directories:
            self._directories[path] = self._directories_on_platter[path] = _Names()

    # FileSystem -------------------------------------------------------------------------------
    def directory(self, path: str) -> SimulatedDirectory | None:
        names = self._directories.get(path)
        return SimulatedDirectory(self, path, names) if names is not None else None

    def make_directory(self, path: str) -> SimulatedDirectory:
        if self.call("mkdir", path, self.life):
            raise SimulatedCrash
        self.directory_made(path)
        return SimulatedDirectory(self, path, self._directories[path])


class SimulatedDirectory:
    """See :class:`conduitstore.engine.embedded.files.Directory`."""

    def __init__(self, disk: SimulatedDisk, path: str, names: _Names) -> None:
        self.path = path
        self._disk = disk
        self._life = disk.life
        self._names = names

    def _call(self, operation: str, name: str) -> None:
        if self._disk.call(operation, name, self._life):
            raise SimulatedCrash

    def names(self) -> list[str]:
        return sorted(self._names.cached)

    def _inode(self, name: str) -> _Inode:
        if name not in self._names.cached:
            raise FileNotFoundError(errno.ENOENT, "no such simulated file", name)
        return self._names.cached[name]

    def create(self, name: str) -> SimulatedFile:
        self._call("create", name)
        if name in self._names.cached:
            raise FileExistsError(errno.EEXIST, "there is such a simulated file", name)
        self._names.cached[name] = _Inode()
        return SimulatedFile(self._disk, name, self._names.cached[name])

    def open(self, name: str) -> SimulatedFile:
        return SimulatedFile(self._disk, name, self._inode(name))

    def rename(self, old: str, new: str) -> None:
        self._call("rename", new)
        self._names.cached[new] = self._inode(old)
        del self._names.cached[old]

    def link(self, old: str, new: str) -> None:
        self._call("link", new)
        if new in self._names.cached:
            raise FileExistsError(errno.EEXIST, "there is such a simulated file", new)
        self._names.cached[new] = self._inode(old)

    def unlink(self, name: str) -> None:
        self._call("unlink", name)
        self._inode(name)
        del self._names.cached[name]

    def sync(self) -> None:
        self._call("sync directory", self.path)
        self._names.platter = dict(self._names.cached)

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
        file.truncate(0)
        file.append(holder.encode())
        return file

    def remove(self) -> None:
        pass  # Directories of a simulated disk cost nothing.


class SimulatedFile:
    """See :class:`conduitstore.engine.embedded.files.File`."""

    def __init__(self, disk: SimulatedDisk, name: str, inode: _Inode) -> None:
        self.name = name
        self.holds_lock = False
        self._disk = disk
        self._life = disk.life
        self._inode = inode

    def append(self, data: bytes, /) -> int:
        dies = self._disk.call("append", self.name, self._life)
        limit = len(data) // 2 if dies else self._disk.append_bytes_max
        written = data[:limit]
        self._inode.cached += written
        if dies:
            raise SimulatedCrash
        return len(written)

    def read_at(self, offset: int, size: int) -> bytes:
        return bytes(self._inode.cached[offset : offset + size])

    def size(self) -> int:
        return len(self._inode.cached)

    def truncate(self, size: int) -> None:
        if self._disk.call("truncate", self.name, self._life):
            raise SimulatedCrash
        del self._inode.cached[size:]

    def sync(self) -> None:
        if self._disk.call("sync", self.name, self._life):
            raise SimulatedCrash
        self._inode.platter = bytes(self._inode.cached)

    def close(self) -> None:
        if self.holds_lock and self._inode.locked_in == self._life:
            self._inode.locked_in = -1
            self.holds_lock = False


def _never(_operation: str, _name: str) -> OSError | None:
    return None


def _surviving(cached: dict[K, V], platter: dict[K, V], keep: Keep, chance: random.Random) -> dict[K, V]:  # fmt: skip  # noqa: E501
    """Which of two states of a table a power loss leaves, entry by entry."""
    if keep != "some":
        return dict(cached if keep == "everything" else platter)
    left = {}
    for key in sorted({*cached, *platter}, key=str):
        entry = chance.choice((cached, platter)).get(key)
        if entry is not None:
            left[key] = entry
    return left


def _surviving_bytes(inode: _Inode, keep: Keep, chance: random.Random) -> bytes:
    """Which bytes of a file a power loss leaves, sector by sector."""
    cached, platter = bytes(inode.cached), inode.platter
    if keep != "some" or cached == platter:
        return cached if keep == "everything" else platter
    shorter, longer = sorted((len(cached), len(platter)))
    length = chance.choice((len(platter), len(cached), chance.randint(shorter, longer)))
    sectors = []
    for offset in range(0, length, SECTOR_BYTES):
        old = platter[offset : offset + SECTOR_BYTES]
        lost = old if len(old) == SECTOR_BYTES else old + _filler(SECTOR_BYTES - len(old), chance)
        new = cached[offset : offset + SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0")
        sectors.append(chance.choice((new, lost)))
    return b"".join(sectors)[:length]


def _filler(size: int, chance: random.Random) -> bytes:
    return chance.choice((bytes(size), chance.randbytes(size)))
