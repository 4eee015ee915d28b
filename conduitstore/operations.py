"""What an operator asks of a store: how large, how well, where else. Part of the waist.

The answers are plain records, the same on every engine; what an engine has none of is 0 or empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

BEGINNING, END = "the beginning", "the end"
OnRead = Callable[[int], object]
"""Called with how many bytes were read since the last call; what it raises ends the reading."""
OnEntries = Callable[[int], object]
"""Called with how many entries were done since the last call; what it raises ends the work."""

RecoveryMode = Literal["strict", "prefix", "salvage"]
"""How much a recovery may lose: nothing that was durable; what is behind a damage; any of it."""


class ByteSource(Protocol):
    """What a stream can be read from: an open binary file, say."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class TreeStats:
    """One tree: how many entries, and bytes of their keys and values before compression.

    Values that lie beside the leaves are not among these: see ``blob_bytes``.
    """

    entries_total: int
    payload_bytes: int
    is_estimate: bool = False
    """Whether both are what a sample of the tree says."""
    blob_bytes: int = 0
    """Of values that lie in frames of their own (embedded engine, ``blob_bytes_min``): as they lie
    on the disk, compressed; of those that no checkpoint has written yet, as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A store at one instant. Bytes on disk are those of files, bytes in memory are estimates."""

    trees: dict[str, TreeStats]
    sequence: int
    durable_sequence: int
    count: int
    generation: int = 0
    """Of the newest checkpoint."""
    incarnation: int = 0
    """A number drawn when the store was made, and anew when it was restored."""
    size_on_disk_bytes: int = 0
    files_total: int = 0
    log_bytes: int = 0
    """Of the commits since the last checkpoint began."""
    live_bytes: int = 0
    """Of files that the newest checkpoint needs."""
    checkpoint_bytes: int = 0
    """Of files that the last two checkpoints wrote, a running one among them. All files together
    take at most this, twice ``live_bytes``, and the log."""
    dirty_bytes: int = 0
    """Of memory that only the next checkpoint can free."""
    index_bytes: int = 0
    """Of memory for knowing where every leaf is: it grows with the store, and never leaves."""
    cache_bytes: int = 0
    """Of memory for leaves and blobs that can be read again; bounded by its setting."""
    cache_loads_total: int = 0
    """Leaves read from disk since the store was opened."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of a file that recovery did not use: from ``offset`` on nothing was promised."""

    file: str
    offset: int
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.file} was cut at byte {self.offset}: {self.size_bytes} bytes never durable"


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are not what was written, and which keys they hold, where that can be told."""

    file: str
    offset: int
    size_bytes: int
    reason: str
    tree: str | None = None
    """The tree that loses keys here; None: no tree's leaf, or nothing that is still in use."""
    low: bytes | None = None
    """The first key that may be lost; None: from the beginning of the tree."""
    high: bytes | None = None
    """The first key that is not; None: up to the end of the tree."""

    def __str__(self) -> str:
        where = f"{self.file}, bytes {self.offset} to {self.offset + self.size_bytes}"
        if self.tree is None:
            return f"{where}: {self.reason}"
        low = BEGINNING if self.low is None else repr(self.low)
        high = END if self.high is None else repr(self.high)
        return f"{where}: {self.reason}; tree {self.tree!r} from {low} to {high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryReport:
    """What opening the store had to mend; its text is for people. Empty where nothing was."""

    was_unclean: bool = False
    """The last holder went without closing."""
    was_backup: bool = False
    """The directory was a backup, and has become a store with a history of its own."""
    sequence: int = 0
    """The newest commit found."""
    commits_replayed: int = 0
    cuts: tuple[Cut, ...] = ()
    count: int = 0
    """Global counts go on above this one."""
    next_id: int = 0
    mode: RecoveryMode = "strict"
    """What it took: ``strict`` also where more was allowed and the store was whole."""
    commits_lost: int = 0
    """Commits that were made, as far as anything still tells of them, and are not kept."""
    damages: tuple[Damage, ...] = ()
    """What could not be read."""
    mended: tuple[Damage, ...] = ()
    """What did not read, and was made again from a second copy: nothing of it is lost."""
    set_aside: tuple[str, ...] = ()
    """Files that were kept under other names, for whoever wants to look; they may be deleted."""
    trees: Mapping[str, int] = field(default_factory=dict)
    """How many entries each tree has, where all of them were counted: after a salvage."""

    def __bool__(self) -> bool:
        did_something = self.was_unclean or self.was_backup or self.commits_replayed > 0
        return did_something or self.mode != "strict" or bool(self.cuts or self.mended)

    def __str__(self) -> str:
        if not self:
            return f"closed cleanly at commit {self.sequence}; nothing to recover"
        how = ["the last holder did not close the store"] if self.was_unclean else []
        if self.was_backup:
            how.append("the directory was a backup: it is a new incarnation")
        lines = [
            "; ".join(how) or "closed with commits left in the log",
            f"{self.commits_replayed} commits replayed from the log, up to commit {self.sequence}",
            *map(str, self.cuts),
            *(f"mended: {damage}" for damage in self.mended),
            *self._lost(),
            f"counts go on above {self.count}, ids from {self.next_id}",
        ]
        return "\n".join(lines)

    def _lost(self) -> Iterator[str]:
        if self.mode == "strict":
            return
        kept = f"history is kept up to commit {self.sequence}"
        yield kept if self.mode == "prefix" else "whatever verifies is kept"
        yield f"{self.commits_lost} commits are known to be lost"
        yield from (f"damaged: {damage}" for damage in self.damages)
        yield from (f"tree {name!r}: {total} entries" for name, total in self.trees.items())
        yield from (f"kept aside: {name}" for name in self.set_aside)


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What one backup did."""

    sequence: int
    """Every commit up to this one is in it."""
    copied_bytes: int
    kept_bytes: int
    """Of files that an earlier backup had put there and that verified."""
    files: tuple[str, ...] = field(default=())
    """Names of the files that were copied."""


class Operations(Protocol):
    """The part of a :class:`conduitstore.kv.Database` that is about the whole of it."""

    @property
    def recovery_report(self) -> RecoveryReport:
        """What opening had to mend. False, and one quiet line of text, where nothing was."""

    def stats(self, *, exact: bool = False) -> Stats:
        """Sizes and positions, of files and of memory.

        ``exact`` counts what is estimated without: entries and bytes of the large trees of a store
        on PostgreSQL, usually within a tenth. Other engines know them.

        Cost: no entry is read; the embedded engine walks its index. On PostgreSQL a few pages of
        each table, and with ``exact`` all of them. Source: Conduit, memory_usage.
        """

    def size_on_disk(self) -> int:
        """Bytes of all its files; 0 for what is on no disk."""

    def compact(self) -> None:
        """Give back the space of what was overwritten and deleted, and tidy what is left.

        Where an engine has nothing to do, it does nothing. Source: Conduit, cleanup.
        """

    def export(self, *, compression_level: int = 3) -> Iterator[bytes]:
        """A snapshot of everything as a stream that any engine imports: ``docs/format/stream.md``.

        Gives pieces of bounded size; level 0 leaves them uncompressed. Cost: reads it all, in
        constant memory.
        """

    def import_(
        self,
        stream: ByteSource | Iterable[bytes],
        *,
        over: bool = False,
        on_entries: OnEntries | None = None,
    ) -> int:
        """Take in an exported stream; gives how many entries it had.

        Only an empty store takes one. The entries arrive in many commits, so readers see them come;
        the count and the ids go on from where the exported store's stood. The sequence goes on
        2**32 above that of both stores, so that a subscriber of the exported one, who stopped
        there, gets ``LaggedError`` here and not another history. An error leaves the store
        empty again; a process that dies leaves a part, marked by a tree of its own: a store with
        that mark is opened by no part, and the next ``import_`` begins by emptying it.

        With ``over`` the store may hold anything: afterwards it holds what the stream does and
        nothing else, the count and the ids above both. Only what differs is written; it is marked
        meanwhile, then read back and compared. An error or a death leaves the mark and a part, from
        which the next one goes on, also with another stream.

        Args:
            stream: what :meth:`export` gave.
            over: see above.
            on_entries: told how many more entries were taken from the stream and, with ``over``,
                again of those read back.

        Raises:
            InvalidArgumentError: the store is not empty.
            ConflictError: read back, it was not what was written: somebody else writes to it.
            CorruptedError: the stream is cut or damaged; says at which byte.
            UnsupportedFormatError: it is no such stream, or a newer release's.
        """

    def backup(
        self, path: str | os.PathLike[str], *, on_read: OnRead | None = None
    ) -> BackupReport:
        """Copy the store, while it is written to, into a directory of its own.

        What an earlier backup in the same directory has, and what still verifies there, is not
        copied again. Until the last step the earlier backup is what the directory holds. The
        directory is a store: opening it makes it a new incarnation, with counts and ids far
        above all that this one can have given out, and ends its use as a backup.

        Raises:
            InvalidArgumentError: the directory holds something else, or there are no files.
            LockedError: somebody has it open.
            CorruptedError: this store is damaged where it would have to be copied.
            StoreFullError: no space there; the earlier backup is as it was.
        """

    def verify(
        self, *, bytes_per_second: int | None = None, on_read: OnRead | None = None
    ) -> Iterator[Damage]:
        """Read every byte of every file and give every damage, not only the first.

        It reads while it is iterated and may be left at any time; with ``bytes_per_second`` it
        sleeps in between, to be a scrub that nobody notices.
        """
