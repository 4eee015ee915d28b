"""Steps of workloads, as values: the same for a seed, and written in a script as they are made.

Each is a function of a database. What only a store on a disk has, such as checkpoints, the others
leave out.
"""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from conduitstore import kv
from conduitstore.engine import embedded
from conduitstore.errors import StoreFullError
from conduitstore.kv import Database, Durability

from .disk import SimulatedDisk
from .oracle import Reopen, Step

Write = tuple[str, bytes, bytes | None]
"""Tree, key and value; None removes the key."""


@dataclass(frozen=True)
class Commit:
    """One transaction: draw so many counts, write, and write down the count if asked to."""

    writes: tuple[Write, ...] = ()
    durability: Durability | None = None
    draws: int = 0
    counted: bytes | None = None
    """A key of the tree ``key_count``, whose value the newest count becomes."""

    def __call__(self, db: Database) -> None:
        db.transaction(self.run, durability=self.durability)

    def run(self, tx: kv.Transaction) -> None:
        """What the transaction does."""
        for _ in range(self.draws):
            tx.next_count()
        for tree, key, value in self.writes:
            if value is None:
                tx.open_tree(tree).remove(key)
            else:
                tx.open_tree(tree).insert(key, value)
        if self.counted is not None:
            count = tx.next_count().to_bytes(8)
            tx.open_tree("key_count").insert(self.counted, count)
            tx.open_tree("count_key").insert(count, self.counted)


@dataclass(frozen=True)
class RolledBack:
    """A transaction that draws counts and an id, writes, and fails."""

    draws: int = 1

    def __call__(self, db: Database) -> None:
        def run(tx: kv.Transaction) -> None:
            Commit((("t", b"never", b"seen"),), draws=self.draws).run(tx)
            tx.generate_id()
            raise KeyError

        with suppress(KeyError):
            db.transaction(run)


@dataclass(frozen=True)
class Drop:
    """Delete a tree."""

    tree: str

    def __call__(self, db: Database) -> None:
        db.drop_tree(self.tree)


@dataclass(frozen=True)
class Clear:
    """Delete every key of a tree."""

    tree: str

    def __call__(self, db: Database) -> None:
        db.open_tree(self.tree).clear()


@dataclass(frozen=True)
class TakeIds:
    """Reserve ids."""

    total: int

    def __call__(self, db: Database) -> None:
        db.reserve_ids(self.total)


@dataclass(frozen=True)
class Flush:
    """Put everything on the platter."""

    def __call__(self, db: Database) -> None:
        db.flush()


@dataclass(frozen=True)
class Checkpoint:
    """Write what is in the log into segments."""

    def __call__(self, db: Database) -> None:
        if isinstance(db, embedded.Store):
            db.checkpoint()


@dataclass(frozen=True)
class FullCheckpoint:
    """A checkpoint that turns to a new log and then finds no space: later commits go there."""

    def __call__(self, db: Database) -> None:
        if not isinstance(db, embedded.Store):
            return
        disk = db.directory._disk  # type: ignore[attr-defined]  # noqa: SLF001
        fail = disk.fail
        disk.fail = lambda operation, name: (
            OSError(errno.ENOSPC, "full") if operation == "create" and "segment" in name else None
        )
        try:
            with suppress(StoreFullError):
                db.checkpoint()
        finally:
            disk.fail = fail


@dataclass(frozen=True)
class Compact:
    """Rewrite every segment that is worth it."""

    def __call__(self, db: Database) -> None:
        db.compact()


@dataclass(frozen=True)
class Backup:
    """Back up to a directory; what is there already is gone on with."""

    path: str = "backup"

    def __call__(self, db: Database) -> None:
        if isinstance(db, embedded.Store):
            db.backup(self.path)


@dataclass(frozen=True)
class Close:
    """Close the store and open it again."""

    def __call__(self, db: Database) -> None:  # noqa: ARG002 - whoever runs the step does it
        raise Reopen


@dataclass(frozen=True)
class Group:
    """Several threads commit durably at once, and one sync serves those who came while it waits.

    The first commits; in the middle of its sync of the log each other one, in turn, gets as far as
    waiting for a sync. So the order is the same every time.
    """

    commits: tuple[Commit, ...]
    ends: list[int] = field(default_factory=list, repr=False, compare=False)
    told: list[int] = field(default_factory=list, repr=False, compare=False)

    @property
    def acknowledged(self) -> int:
        """The newest sequence that a call has given back, on the store it ran on last.

        The oracle, where the step runs first, says which: not every commit changes anything.
        """
        return max(self.told, default=0)

    def __call__(self, db: Database) -> None:
        self.told.clear()
        if not isinstance(db, embedded.Store):
            self.ends.clear()
            for commit in self.commits:
                before = db.sequence
                db.transaction(commit.run, durability="commit")
                self.ends.append(db.sequence if db.sequence > before else 0)
            return
        errors: list[BaseException] = []
        ends = zip(self.commits, self.ends, strict=True)
        calls = [self._call(db, commit, end, errors) for commit, end in ends]
        threads = [threading.Thread(target=call) for call in calls[1:]]
        with _meanwhile(db, threads):
            calls[0]()
        for thread in threads:
            if thread.ident is None and not errors:  # The first had nothing to sync.
                thread.start()
                thread.join()
        if errors:
            raise errors[0]

    def _call(
        self, db: Database, commit: Commit, end: int, errors: list[BaseException]
    ) -> Callable[[], None]:
        def call() -> None:
            try:
                db.transaction(commit.run, durability="commit")
                self.told.append(end)
            except BaseException as error:  # noqa: BLE001 - raised by the step
                errors.append(error)

        return call


@contextmanager
def _meanwhile(db: embedded.Store, threads: list[threading.Thread]) -> Iterator[None]:
    """In the first sync of the log, have each thread run until it waits for a sync."""
    disk: SimulatedDisk = db.directory._disk  # type: ignore[attr-defined]  # noqa: SLF001
    gate = _Gate()
    before, lock = disk.before, db.log._sync_lock  # noqa: SLF001 - nothing else tells who waits
    db.log._sync_lock = gate  # type: ignore[assignment]  # noqa: SLF001
    left = list(threads)

    def let_others(operation: str, name: str) -> None:
        if operation == "sync" and name.startswith("log"):
            while left:
                thread = left.pop(0)
                thread.start()
                while thread.is_alive() and thread.ident not in gate.turned_away:
                    thread.join(0.001)
        before(operation, name)

    disk.before = let_others
    try:
        yield
    finally:
        disk.before = before
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        db.log._sync_lock = lock  # noqa: SLF001


class _Gate:
    """A lock that knows which threads found it taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.turned_away: set[int | None] = set()

    def acquire(self, blocking: bool = True) -> bool:  # noqa: FBT001, FBT002 - as of a lock
        if self._lock.acquire(blocking=False):
            return True
        self.turned_away.add(threading.get_ident())
        return blocking and self._lock.acquire()

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()


KEYS = tuple(bytes([a, b]) for a in b"ab" for b in b"\x00xyz\xff")
TREES = ("__default__", "t", "u", "v")
DURABILITIES: tuple[Durability | None, ...] = (None, None, "interval", "commit", "none")
RARE: dict[int, tuple[Any, ...]] = {  # by the turn in which one of them comes
    0: (Checkpoint(),),
    3: (FullCheckpoint(), Checkpoint()),
    5: (Flush(),),
    7: (RolledBack(2), TakeIds(7)),
    9: (Drop("u"), Clear("t")),
    11: (Compact(),),
    13: (Close(),),
    15: (Backup(),),
}


def workload(seed: int, total: int, *, backs_up: bool = True) -> list[Step]:
    """``total`` steps of every kind, most of them commits; the same for a seed."""
    chance = random.Random(seed)  # noqa: S311 - reproducible by design
    steps: list[Step] = []
    for number in range(1, total + 1):
        rare = chance.choice(RARE.get(number % 17, (None,)))
        if isinstance(rare, Backup) and not backs_up:
            rare = None
        steps.append(rare or _commits(chance))
    return steps


def _commits(chance: random.Random) -> Step:
    if chance.random() < 0.15:
        return Group(tuple(_commit(chance) for _ in range(chance.randint(2, 4))))
    return _commit(chance)


def _commit(chance: random.Random) -> Commit:
    writes = tuple(
        (chance.choice(TREES), chance.choice(KEYS), _value(chance))
        for _ in range(chance.choice((1, 1, 2, 5)))
    )
    durability = chance.choice(DURABILITIES)
    counted = chance.choice((None, None, chance.choice(KEYS)))
    return Commit(writes, durability, chance.choice((0, 0, 1, 2)), counted)


def _value(chance: random.Random) -> bytes | None:
    size = chance.choice((None, 0, 3, 40))
    return None if size is None else chance.randbytes(size)
