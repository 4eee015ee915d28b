"""A transaction of the memory engine: drafts over committed rows, and a journal to undo them.

- A draft holds what was written to one tree (None: removed) over that tree's committed rows.
- The journal is that of :mod:`.journal`.
- It all belongs to the thread that runs the transaction, and is over with it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from conduitstore.errors import ClosedError, InvalidArgumentError
from conduitstore.kv import (
    DEFAULT_TREE,
    Batch,
    MergeOperator,
    check_key,
    check_tree_name,
)

from .journal import Journal, JournalTree
from .rows import Cursor, Rows, cursor
from .subscriber import Subscriber

if TYPE_CHECKING:
    from .memory import MemoryDatabase

DROPPED = "this tree was dropped, or its creation undone: open it again"


class Draft:
    """One tree in a transaction: its committed rows, and what was written (None: removed) over."""

    __slots__ = ("base", "over")

    def __init__(self, base: Rows) -> None:
        self.base = base
        self.over = Rows()


class DraftTree(JournalTree):
    """A tree of a transaction."""

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


class Transaction(DraftTree, Journal[Draft]):
    """See :class:`conduitstore.kv.Transaction`. Lives in the thread that runs it, until it ends."""

    def __init__(self, store: MemoryDatabase) -> None:
        self.store = store
        drafts = {DEFAULT_TREE: Draft(store.trees[DEFAULT_TREE])}
        Journal.__init__(self, drafts, store.visible_count)
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
