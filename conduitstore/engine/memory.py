"""The memory engine: sorted dicts behind the whole waist; for tests, caches and as the oracle.

- Committed rows change only while ``lock`` is held, by one whole commit at a time.
- A transaction (:mod:`.memory_transaction`) writes into drafts nobody else sees.
- Readers that outlive their call (snapshots, iterators) hold the entries they walk; whoever wants
  to change held entries changes a copy. So a walk is stable, at O(tree) for the next write.
- Two locks: ``writer`` is held by one transaction from first to last, ``lock`` only while commits
  are applied and entries are handed out, never while user code runs. Point reads take neither.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Self, TypeVar, cast

from conduitstore import kv
from conduitstore.errors import (
    ClosedError,
    InvalidArgumentError,
    LaggedError,
    PoisonedError,
)
from conduitstore.kv import (
    DEFAULT_TREE,
    IDS_MAX,
    Batch,
    Bounds,
    Durability,
    Event,
    Insert,
    Item,
    MergeOperator,
    Remove,
    Tree,
    check_durability,
    check_key,
    check_limit,
    check_ranges,
    check_tree_name,
)

from .checksum import checksum
from .memory_operations import MemoryOperations
from .memory_snapshot import MemorySnapshot
from .memory_transaction import DROPPED, Transaction
from .merge import MERGE_OPERATORS, MergeOperators
from .reading import read
from .rows import NOTHING, Cursor, Rows, cursor, entries
from .subscriber import EVER, Subscriber, Subscribers, check_since
from .surface import LiveSurface

T = TypeVar("T")
COMMITS_REMEMBERED = 1_000
"""How many commits subscribers can be told of afterwards."""


# The open store -----------------------------------------------------------------------------------


class _LiveTree(LiveSurface):
    """A tree of the open store."""

    name = ""

    def __init__(self, store: MemoryDatabase, name: str, rows: Rows) -> None:
        self._database = store
        self.name = name
        self._rows = rows

    @property
    def _store(self) -> MemoryDatabase:
        return self._database

    def _check_alive(self) -> None:
        if self._store.trees.get(self.name) is not self._rows:
            raise InvalidArgumentError(DROPPED)

    def _read(self) -> Rows:
        self._store.check()
        self._check_alive()
        return self._rows

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._read().entries.get(check_key(key))
        return value

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        wanted = [check_key(key) for key in keys]
        with self._store.lock:
            return [*map(self._read().entries.get, wanted)]

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Cursor:
        with self._store.lock:
            held = self._read().hold()
        return cursor(held, NOTHING, (lo, hi), reverse=reverse, limit=limit)

    def ranges(
        self, bounds: Iterable[Bounds], *, reverse: bool = False, limit: int | None = None
    ) -> list[list[Item]]:
        asked, limit = check_ranges(bounds), check_limit(limit)
        with self._store.lock:
            held = self._read().hold()
        return [entries(held, each, reverse=reverse, limit=limit) for each in asked]

    def __len__(self) -> int:
        return len(self._read().entries)

    def _commit(self, write: Callable[[Tree], T]) -> T:
        def run(tx: kv.Transaction) -> T:
            self._check_alive()
            return write(tx.open_tree(self.name))

        self._store.check()
        return self._store.transaction(run)

    def set_merge_operator(self, fn: MergeOperator, name: str | None = None) -> None:
        self._read()
        self._store.operators.choose(self.name, fn, name)

    def watch_prefix(
        self,
        prefix: bytes,
        *,
        capacity: int = 65_536,
        since: int | None = None,
        only_durable: bool = False,
    ) -> Subscriber:
        subscriber = Subscriber(prefix, capacity, only_durable=only_durable)
        with self._store.lock:  # Either before a commit is published or after, never amid it.
            self._read()
            self._store.watch(self.name, subscriber, since)
        return subscriber


class MemoryDatabase(MemoryOperations, _LiveTree):
    """See :class:`conduitstore.kv.Database`. Nothing outlives it; durability has no meaning here.

    The attributes without a docstring in ``kv`` belong to the engine's own handles.
    """

    was_recovered = False

    def __init__(self) -> None:
        self.writer = threading.Lock()
        self.lock = threading.RLock()
        self.subscribers = Subscribers()
        self.telling = 0  # the thread that tells subscribers of its commit
        self.operators = MergeOperators()
        # Sequence, events by tree, and which tree it dropped.
        self.recent: deque[tuple[int, dict[str, list[Event]], str | None]] = deque(
            maxlen=COMMITS_REMEMBERED
        )
        self.trees = {DEFAULT_TREE: Rows()}
        self.sequence = 0
        self.visible_count = 0
        self.drawn_count = 0
        self.next_id = 0
        self.running: tuple[int, Transaction] | None = None
        self._failure: Callable[[], Exception] | None = None
        self.name = DEFAULT_TREE
        self._rows = self.trees[DEFAULT_TREE]

    @property
    def _store(self) -> MemoryDatabase:
        return self

    def check(self) -> None:
        """Whether a handle other than the running transaction's may be used here and now."""
        if self._failure is not None:
            raise self._failure()
        if self.telling == threading.get_ident() or (
            self.running is not None and self.running[0] == threading.get_ident()
        ):
            raise InvalidArgumentError("inside a transaction only its own handles may be used")

    def open_tree(self, name: str) -> _LiveTree:
        self.check()
        rows = self.trees.get(check_tree_name(name))
        if rows is None:
            rows = self.transaction(
                lambda tx: cast("Transaction", tx).open_tree(name).committed_rows()
            )
        return _LiveTree(self, name, rows)

    def tree_names(self) -> list[str]:
        self.check()
        with self.lock:
            return sorted(self.trees)

    def current_count(self) -> int:
        self.check()
        return self.visible_count

    def transaction(
        self,
        fn: Callable[[kv.Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        check_durability(durability)
        running = self.running
        if running is not None and running[0] == threading.get_ident():
            return running[1].transaction(fn, read_only=read_only)
        if read_only:
            return read(self.snapshot(), fn)
        self.check()
        with self.writer:
            self.check()
            tx = Transaction(self)
            self.running = threading.get_ident(), tx
            try:
                result = fn(tx)
            finally:
                self.running = None
            self._commit_writes(tx)
            return result

    def _commit_writes(self, tx: Transaction) -> None:
        with self.lock:
            before = self.sequence
            try:
                events = self._apply(tx)
            except BaseException:  # An interrupt, say: half a commit must not be served.
                self._failure = lambda: PoisonedError("a commit was interrupted: open a new store")
                raise
            if self.sequence > before:
                self.recent.append((self.sequence, events, None))
            self.subscribers.reached(self.sequence)
            self.telling = threading.get_ident()  # A callback that uses the store is told so.
            try:
                for tree, happened in events.items():
                    self.subscribers.publish(tree, happened, self.sequence)
            finally:
                self.telling = 0

    def watch(self, tree: str, subscriber: Subscriber, since: int | None) -> None:
        """Register a subscriber; with ``since``, tell it first what happened behind that."""
        check_since(since)
        if since is not None:
            told = [commit for commit in self.recent if commit[0] > since]
            if since + len(told) != self.sequence:
                raise LaggedError(None, since)
            # A tree has the history since the last one of its name was dropped.
            begin = max((sequence for sequence, _, dropped in told if dropped == tree), default=0)
            for sequence, events, _ in told:
                if sequence > begin:
                    subscriber.remember(events.get(tree, ()), sequence)
            subscriber.sequence = since
        else:
            subscriber.sequence = self.sequence
        subscriber.reached(EVER)  # There is nothing to survive: every commit is as good as durable.
        self.subscribers.add(tree, subscriber)

    def _apply(self, tx: Transaction) -> dict[str, list[Event]]:
        """Make the drafts the committed rows; gives the events by tree. The count comes last."""
        events: dict[str, list[Event]] = {}
        for name, key in dict.fromkeys((name, key) for name, key, _, _ in tx.writes):
            draft = tx.drafts[name]
            value = draft.over.entries[key]
            if value is not None:
                draft.base.own()[key] = value
                events.setdefault(name, []).append(Insert(key, value))
            elif key in draft.base.entries:
                del draft.base.own()[key]
                events.setdefault(name, []).append(Remove(key))
        self.trees |= {name: tx.drafts[name].base for name in tx.created}
        if events or tx.created or tx.count != self.visible_count:
            self.sequence += 1
        self.visible_count = tx.count
        return events

    def drop_tree(self, name: str) -> bool:
        if check_tree_name(name) == DEFAULT_TREE:
            raise InvalidArgumentError("the default tree cannot be dropped: clear it")
        self.check()
        with self.writer, self.lock:
            self.check()
            if name not in self.trees:
                return False
            del self.trees[name]
            self.sequence += 1
            names, row = self.trees.get(MERGE_OPERATORS), name.encode()
            told: dict[str, list[Event]] = {}
            if names is not None and names.own().pop(row, None) is not None:
                told[MERGE_OPERATORS] = [Remove(row)]
                self.subscribers.publish(MERGE_OPERATORS, told[MERGE_OPERATORS], self.sequence)
            self.recent.append((self.sequence, told, name))
            self.operators.forget(name)
            self.subscribers.close(name)
            return True

    def apply_batch(self, batch: Batch, *, durability: Durability | None = None) -> None:
        self.check()
        self.transaction(lambda tx: tx.apply_batch(batch), durability=durability)

    def generate_id(self) -> int:
        return self.reserve_ids(1)[0]

    def reserve_ids(self, total: int) -> range:
        self.check()
        return self.take_ids(total)

    def take_ids(self, total: int) -> range:
        """``reserve_ids`` for whoever has been checked already."""
        if type(total) is not int or total < 0:
            raise InvalidArgumentError(f"ids are reserved by a total of 0 or more, not {total!r}")
        with self.lock:
            if self.next_id + total > IDS_MAX:
                raise InvalidArgumentError(f"there are no {total} ids left below {IDS_MAX}")
            self.next_id += total
            return range(self.next_id - total, self.next_id)

    def snapshot(self) -> MemorySnapshot:
        with self.lock:
            self.check()
            return MemorySnapshot(self)

    @property
    def durable_sequence(self) -> int:
        return self.sequence

    def flush(self) -> int:
        self.check()
        return self.sequence

    async def flush_async(self) -> int:
        return self.flush()

    def refresh(self) -> int:
        self.check()
        return self.sequence

    async def wait_durable(self, sequence: int) -> None:
        self.check()
        if sequence > self.sequence:
            raise InvalidArgumentError(f"no commit {sequence} yet: the newest is {self.sequence}")

    def checksum(self) -> int:
        with self.snapshot() as view:
            return checksum(view)

    def compact(self) -> None:
        self.check()

    def close(self) -> None:
        if self.running is not None:
            self.check()  # Closing inside a transaction would wait for itself.
        with self.writer:
            self._failure = lambda: ClosedError("the store is closed")
            self.subscribers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
