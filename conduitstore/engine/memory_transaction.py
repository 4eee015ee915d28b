"""A transaction of the memory engine: drafts over committed rows, and a journal to undo them.

- A draft holds what was written to one tree (None: removed) over that tree's committed rows.
- The journal keeps, for each write in order, what the draft had before it; a savepoint is a
  position in it, and the order of events follows it.
- It all belongs to the thread that runs the transaction, and is over with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from conduitstore import kv
from conduitstore.errors import ClosedError, InvalidArgumentError
from conduitstore.kv import (
    DEFAULT_TREE,
    Batch,
    Durability,
    MergeOperator,
    check_durability,
    check_key,
    check_tree_name,
    check_value,
)

from .reading import NestedReadTransaction, as_transaction
from .rows import Cursor, Rows, cursor
from .subscriber import Subscriber
from .surface import WriteSurface, refuse_write

if TYPE_CHECKING:
    from .memory import MemoryDatabase

T = TypeVar("T")
DROPPED = "this tree was dropped, or its creation undone: open it again"


class Draft:
    """One tree in a transaction: its committed rows, and what was written (None: removed) over."""

    __slots__ = ("base", "over")

    def __init__(self, base: Rows) -> None:
        self.base = base
        self.over = Rows()


class DraftTree(WriteSurface):
    """A tree of a transaction."""

    name = ""

    def __init__(self, tx: Transaction, name: str) -> None:
        self._transaction = tx
        self.name = name

    @property
    def _tx(self) -> Transaction:
        return self._transaction

    def _draft(self) -> Draft:
        self._tx.check()
        draft = self._tx.drafts.get(self.name)
        if draft is None:
            raise InvalidArgumentError(DROPPED)
        return draft

    def committed_rows(self) -> Rows:
        """The rows this tree has, or will have, in the store."""
        return self._draft().base

    def get(self, key: bytes) -> bytes | None:
        draft = self._draft()
        side = draft.over if check_key(key) in draft.over.entries else draft.base
        value: bytes | None = side.entries.get(key)
        return value

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Cursor:
        draft = self._draft()
        with self._tx.store.lock:
            base, over = draft.base.hold(), draft.over.hold()
        return cursor(base, over, (lo, hi), reverse=reverse, limit=limit)

    def _write(self, key: bytes, value: bytes | None) -> bytes | None:
        old = self.get(key)
        if value is not None or old is not None:
            self._tx.write(self.name, key, value)
        return old

    def insert(self, key: bytes, value: bytes) -> bytes | None:
        return self._write(key, check_value(value))

    def remove(self, key: bytes) -> bytes | None:
        return self._write(key, None)

    def clear(self) -> None:
        self.remove_prefix(b"")

    def merge(self, key: bytes, operand: bytes) -> bytes | None:
        # A nested transaction, because an operator that raises must not leave its name behind.
        return self._tx.transaction(lambda _: super(DraftTree, self).merge(key, operand))

    def merge_operator(self) -> MergeOperator:
        self._draft()
        return self._tx.store.operators.take(self.name, self._tx)

    def set_merge_operator(self, fn: MergeOperator, name: str | None = None) -> None:
        self._draft()
        self._tx.store.operators.choose(self.name, fn, name)

    def watch_prefix(
        self,
        prefix: bytes,
        *,
        capacity: int = 65_536,
        since: int | None = None,
        only_durable: bool = False,
    ) -> Subscriber:
        self._draft()
        subscriber = Subscriber(prefix, capacity, only_durable=only_durable)
        with self._tx.store.lock:
            self._tx.store.watch(self.name, subscriber, since)
        return subscriber


class Transaction(DraftTree):
    """See :class:`conduitstore.kv.Transaction`. Lives in the thread that runs it, until it ends."""

    def __init__(self, store: MemoryDatabase) -> None:
        self.store = store
        self.drafts = {DEFAULT_TREE: Draft(store.trees[DEFAULT_TREE])}
        self.writes: list[tuple[str, bytes, tuple[bytes | None, ...]]] = []
        self.created: list[str] = []
        self.count = store.visible_count
        self.name = DEFAULT_TREE

    @property
    def _tx(self) -> Transaction:
        return self

    def check(self) -> None:
        """Whether the transaction's handles may be used here and now."""
        running = self.store.running
        if running is None or running[1] is not self:
            raise ClosedError("the transaction is over, and its handles with it")
        if running[0] != threading.get_ident():
            raise InvalidArgumentError("a transaction belongs to the thread that runs it")

    def write(self, name: str, key: bytes, value: bytes | None) -> None:
        """Journal what the draft had for ``key`` (nothing, or one value or None), then write."""
        over = self.drafts[name].over
        before = (over.entries[key],) if key in over.entries else ()
        self.writes.append((name, key, before))
        over.own()[key] = value

    def _undo(self, writes_total: int, created_total: int, count: int) -> None:
        while len(self.writes) > writes_total:
            name, key, before = self.writes.pop()
            if before:
                self.drafts[name].over.own()[key] = before[0]
            else:
                del self.drafts[name].over.own()[key]
        while len(self.created) > created_total:
            del self.drafts[self.created.pop()]
        self.count = count

    def transaction(
        self,
        fn: Callable[[kv.Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        self.check()
        check_durability(durability)
        savepoint = len(self.writes), len(self.created), self.count
        try:
            result = fn(as_transaction(NestedReadTransaction(self)) if read_only else self)
            # Its own handles refuse each write; this is about those of the transaction around it.
            if read_only and savepoint != (len(self.writes), len(self.created), self.count):
                refuse_write()
        except BaseException:
            self._undo(*savepoint)
            raise
        return result

    def open_tree(self, name: str) -> DraftTree:
        self.check()
        if check_tree_name(name) not in self.drafts:
            rows = self.store.trees.get(name)
            if rows is None:
                rows = Rows()
                self.created.append(name)
            self.drafts[name] = Draft(rows)
        return DraftTree(self, name)

    def tree_names(self) -> list[str]:
        self.check()
        return sorted([*self.store.trees, *self.created])

    def current_count(self) -> int:
        self.check()
        return self.count

    def next_count(self) -> int:
        self.check()
        self.store.drawn_count += 1
        self.count = self.store.drawn_count
        return self.count

    def generate_id(self) -> int:
        self.check()
        return self.store.take_ids(1)[0]

    def apply_batch(self, batch: Batch) -> None:
        self.check()
        for name, key, value in batch.writes:
            self.open_tree(name).put(key, value)
