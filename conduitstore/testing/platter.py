"""What a simulated disk holds, cached and on the platter, and what a power loss leaves of it.

Which rule makes what of everything that was not synced:

    nothing      lost, all of it
    everything   there, all of it
    names        names are there, bytes and lengths are not: a rename that overtook its data
    bytes        bytes and lengths are there, names are not
    zeros        names and lengths are there, the bytes are zeros
    garbage      names and lengths are there, the bytes are garbage
    torn         all is there, but each file ends at any byte of what was new
    renames      each change of a directory happened or not, whole; bytes are there
    some         each directory entry for itself: one of two names of a rename, both or none;
                 each length anywhere between old and new; each sector of 512 bytes new, old,
                 garbage, or torn in the middle

What was synced stays, also in the sector behind whose beginning something new was written: SQLite
calls that a power-safe overwrite.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

SECTOR_BYTES = 512
Keep = Literal[
    "nothing", "everything", "names", "bytes", "zeros", "garbage", "torn", "renames", "some"
]
KEEPS: tuple[Keep, ...] = get_args(Keep)
_RULES = {  # of names, lengths and bytes
    "nothing": ("old", "old", "old"),
    "everything": ("new", "new", "new"),
    "names": ("new", "old", "old"),
    "bytes": ("old", "new", "new"),
    "zeros": ("new", "new", "zeros"),
    "garbage": ("new", "new", "garbage"),
    "torn": ("new", "any", "new"),
    "renames": ("changes", "new", "new"),
    "some": ("entries", "any", "any"),
}


@dataclass(eq=False)
class Inode:
    """A file's bytes, cached and on the platter."""

    cached: bytearray = field(default_factory=bytearray)
    platter: bytes = b""
    locked_in: int = -1  # the life of the process that holds the lock
    forgotten: tuple[tuple[int, int], ...] = ()
    """Ranges that a failed sync has marked as clean: no later sync writes them."""

    def copy(self) -> Inode:
        """The same, to change."""
        return Inode(bytearray(self.cached), self.platter, self.locked_in, self.forgotten)

    def writable(self) -> bytes:
        """What a sync would put on the platter now."""
        data = bytearray(self.cached)
        for begin, end in self.forgotten:
            data[begin:end] = self.platter[begin:end].ljust(end - begin, b"\0")
        return bytes(data)

    def renew(self, begin: int, end: int) -> None:
        """What is written again between these is not forgotten any more."""
        parts = [((a, min(b, begin)), (max(a, end), b)) for a, b in self.forgotten]
        self.forgotten = tuple((a, b) for pair in parts for a, b in pair if a < b)

    def truncate(self, size: int) -> None:
        """Cut it off there."""
        del self.cached[size:]
        clipped = ((begin, min(end, size)) for begin, end in self.forgotten)
        self.forgotten = tuple((begin, end) for begin, end in clipped if begin < end)

    def fail_sync(self, *, is_half_written: bool) -> None:
        """Half of what is not synced gets on the platter, or none; all is clean from now on."""
        new, end = self.writable(), len(self.cached)
        synced = min(_same(self.platter, new), end)
        begin = synced + (end - synced) // 2 * is_half_written
        self.platter = new[:begin] + self.platter[begin:]
        if begin < end:
            self.forgotten = (*self.forgotten, (begin, end))

    def evict(self) -> None:
        """Drop the clean pages from the cache: reads see the platter."""
        self.cached = bytearray(self.writable())

    def lose_power(self, keep: Keep, chance: random.Random) -> None:
        """Nothing stays but what the rule leaves on the platter."""
        _, length, sectors = _RULES[keep]
        old, new = self.platter, self.writable()
        if old != new:
            size = {"old": len(old), "new": len(new)}.get(length)
            if size is None:
                low, high = sorted((len(old), len(new)))
                size = chance.choice((len(old), len(new), chance.randint(low, high)))
            self.platter = _left_bytes(old, new, size, sectors, chance)
        self.cached, self.forgotten = bytearray(self.platter), ()


Change = tuple[str | None, str | None, Inode | None]
"""A name that goes, a name that comes, and what it names; one step of a directory."""


@dataclass(eq=False)
class Names:
    """A directory's names, cached and on the platter."""

    cached: dict[str, Inode] = field(default_factory=dict)
    platter: dict[str, Inode] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)  # since the last sync

    def change(self, gone: str | None, come: str | None, inode: Inode | None) -> None:
        """Take one step."""
        _apply(self.cached, (gone, come, inode))
        self.changes.append((gone, come, inode))

    def sync(self, upto: int) -> None:
        """Put the first ``upto`` changes on the platter."""
        for change in self.changes[:upto]:
            _apply(self.platter, change)
        del self.changes[:upto]

    def lose_power(self, keep: Keep, chance: random.Random) -> None:
        """Nothing stays but what the rule leaves on the platter."""
        rule = _RULES[keep][0]
        if rule == "entries":
            names = sorted({*self.cached, *self.platter})
            picked = {name: chance.choice((self.cached, self.platter)).get(name) for name in names}
            self.platter = {name: inode for name, inode in picked.items() if inode is not None}
        elif rule != "old":
            for change in self.changes:
                if rule == "new" or chance.random() < 0.5:
                    _apply(self.platter, change)
        self.cached = dict(self.platter)
        self.changes.clear()


def copied(directories: dict[str, Names]) -> dict[str, Names]:
    """All of it once more, with every file that has several names still one."""
    copies: dict[Inode, Inode] = {}

    def of(inode: Inode) -> Inode:
        if inode not in copies:
            copies[inode] = inode.copy()
        return copies[inode]

    return {
        path: Names(
            {name: of(inode) for name, inode in names.cached.items()},
            {name: of(inode) for name, inode in names.platter.items()},
            [(gone, come, inode and of(inode)) for gone, come, inode in names.changes],
        )
        for path, names in directories.items()
    }


def inodes(directories: Iterable[Names]) -> list[Inode]:
    """Every file once."""
    return list(
        dict.fromkeys(
            inode
            for names in directories
            for inode in (*names.cached.values(), *names.platter.values())
        )
    )


def _apply(table: dict[str, Inode], change: Change) -> None:
    gone, come, inode = change
    if gone is not None:
        table.pop(gone, None)
    if come is not None and inode is not None:
        table[come] = inode


def _same(one: bytes, other: bytes) -> int:
    """How many bytes two begin with are the same."""
    if other.startswith(one):
        return len(one)
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), len(other))


def _left_bytes(old: bytes, new: bytes, size: int, rule: str, chance: random.Random) -> bytes:
    left = []
    for offset in range(0, size, SECTOR_BYTES):
        was = old[offset : offset + SECTOR_BYTES]
        end = SECTOR_BYTES
        written = new[offset : offset + SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0")
        before = was.ljust(SECTOR_BYTES, b"\0")
        if was == written:
            left.append(was)
            continue
        begin = _same(was, written)
        if len(was) == SECTOR_BYTES:
            end -= _same(before[:begin:-1], written[:begin:-1])
        changed = max(0, end - begin)
        cut = chance.randrange(SECTOR_BYTES) if rule == "any" else 0
        noise = chance.randbytes(changed) if rule in ("any", "garbage") else b""
        kinds = {
            "new": written,
            "old": before,
            "zeros": before[:begin] + bytes(changed) + before[end:],
            "garbage": before[:begin] + noise + before[end:],
            "half": written[:cut] + before[cut:],
        }
        how = chance.choice(("new", "new", "old", "garbage", "half")) if rule == "any" else rule
        left.append(kinds[how])
    return b"".join(left)[:size]
