"""A transaction: drafts of writes over the newest roots, which its thread alone may change.

- A draft holds what was written to one tree (None: removed) over that tree's root. The writer lock
  is held throughout, so the root cannot move underneath.
- While a nested transaction runs, each write journals what the draft had before; an exception that
  leaves it plays its part of the journal back.
- Nothing of it is visible to anybody before :meth:`Database.commit`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, TypeVar

from conduitstore import kv
from conduitstore.engine.merge import MergeOperators
from conduitstore.engine.reading import NestedReadTransaction, as_transaction
from conduitstore.engine.subscriber import Subscriber
from conduitstore.engine.surface import WriteSurface, prefix_bounds, refuse_write
from conduitstore.errors import ClosedError, InvalidArgumentError
from conduitstore.kv import (
    DEFAULT_TREE,
    KEY_BYTES_MAX,
    VALUE_BYTES_MAX,
    Batch,
    Durability,
    Item,
    MergeOperator,
    check_bound,
    check_durability,
    check_key,
    check_limit,
    check_tree_name,
    check_value,
)

from . import index
from .draft import Writes
from .forest import NO_PLACE, Place
from .frozen import Hold
from .index import Node, Root
from .items import Items, Slices, keys_in, slices_of
from .leaf import Leaf
from .tree import DROPPED
from .wal import Op

if TYPE_CHECKING:
    from .database import Database

T = TypeVar("T")
UNTOUCHED: Final[Any] = object()
STRENGTH: dict[Durability, int] = {"none": 0, "interval": 1, "commit": 2}


class DraftTree(WriteSurface):
    """A tree of a transaction; its reads see the transaction's own writes."""

    __slots__ = ("_name", "_root", "_tx", "_writes", "tree_id")

    def __init__(self, tx: Transaction, name: str) -> None:
        self._tx = tx
        self._name = name
        self._writes = Writes()
        self.tree_id, self._root = tx.start_draft(name)

    @property
    def name(self) -> str:
        return self._name

    def _has_committed(self, key: bytes) -> bool:
        return key in self._tx.db.forest.entries(index.find(self._root, key))

    def get(self, key: bytes) -> bytes | None:
        self._tx.check(self)
        if type(key) is not bytes or not 0 < len(key) <= KEY_BYTES_MAX:
            check_key(key)
        value: bytes | None = self._writes.get(key, UNTOUCHED)
        if value is not UNTOUCHED:
            return value
        node: Any = self._root
        while type(node) is Node:
            node = node.children[bisect_right(node.lows, key)]
        entries = node.entries
        if entries is None:
            entries = self._tx.db.forest.entries(node)
        committed: bytes | None = entries.get(key)
        return committed

    def insert(self, key: bytes, value: bytes) -> bytes | None:
        old = self.get(key)
        if type(value) is not bytes or len(value) > VALUE_BYTES_MAX:
            check_value(value)
        self._tx.write(self._writes, key, value)
        return old

    def remove(self, key: bytes) -> bytes | None:
        old = self.get(key)
        if old is not None:
            self._tx.write(self._writes, key, None)
        return old

    def put(self, key: bytes, value: bytes | None) -> None:
        """Insert or remove without reading what was there, which may be large, or damaged."""
        if value is not None:
            self._tx.check(self)
            self._tx.write(self._writes, check_key(key), check_value(value))
        elif self.contains_key(key):
            self._tx.write(self._writes, key, None)

    def contains_key(self, key: bytes) -> bool:
        self._tx.check(self)
        value = self._writes.get(check_key(key), UNTOUCHED)
        return self._has_committed(key) if value is UNTOUCHED else value is not None

    def __contains__(self, key: bytes) -> bool:
        return self.contains_key(key)

    def _pop(self, item: Item | None) -> Item | None:
        if item is not None:  # It is there: nothing has to be asked again.
            self._tx.write(self._writes, item[0], None)
        return item

    def remove_prefix(self, prefix: bytes) -> int:
        keys = list(self.keys(prefix))
        for key in keys:
            self._tx.write(self._writes, key, None)
        return len(keys)

    def clear(self) -> None:
        self.remove_prefix(b"")

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> kv.Items:
        self._tx.check(self)
        if type(lo) is not bytes:
            check_bound(lo)
        if type(hi) is not bytes:
            check_bound(hi)
        if limit is not None:
            limit = check_limit(limit)
        page = self._writes.page(self._root, lo, hi, limit, reverse)
        if page is not None:
            return page
        return Items.over(self._slices(), lo, hi, limit, reverse=reverse)

    def keys(
        self,
        prefix: bytes = b"",
        *,
        reverse: bool = False,
        limit: int | None = None,
        start: bytes | None = None,
    ) -> Iterator[bytes]:
        self._tx.check(self)
        lo, hi = prefix_bounds(prefix, start, reverse=reverse)
        limit = check_limit(limit)
        page = self._writes.page(self._root, lo, hi, limit, reverse)
        if page is not None:
            return page.only_keys()
        return keys_in(self._slices(), lo, hi, limit, reverse=reverse)

    def _slices(self) -> Slices:
        """Those of this instant, with the transaction's own writes."""
        return self._writes.over(slices_of(*self._held()), self._tx.db)

    def _held(self) -> tuple[Root, Hold]:
        forest = self._tx.db.forest
        if self.tree_id in forest.roots:
            return forest.freeze_tree(self.tree_id, self._tx.db)
        return self._root, Hold(self._tx.db, forest.cache)

    def merge(self, key: bytes, operand: bytes) -> bytes | None:
        # Nested, because an operator that raises must not leave its name behind.
        return self._tx.transaction(lambda _: WriteSurface.merge(self, key, operand))

    def merge_operator(self) -> MergeOperator:
        return self._operators().take(self._name, self._tx)

    def set_merge_operator(self, fn: MergeOperator, name: str | None = None) -> None:
        self._operators().choose(self._name, fn, name)

    def _operators(self) -> MergeOperators:
        self._tx.check(self)
        return self._tx.db.operators

    def watch_prefix(
        self,
        prefix: bytes,
        *,
        capacity: int = 65_536,
        since: int | None = None,
        only_durable: bool = False,
    ) -> Subscriber:
        self._tx.check(self)
        subscriber = Subscriber(prefix, capacity, only_durable=only_durable)
        self._tx.db.watch(self._name, self.tree_id, subscriber, since)
        return subscriber

    def place(self, ops: list[Any], places: list[Place]) -> None:
        """Add what a commit has to write, and where: not the removal of what was never there."""
        if self._writes:
            self._tx.db.forest.place(self.tree_id, self._writes, ops, places)


class Transaction(DraftTree):
    """See :class:`conduitstore.kv.Transaction`."""

    def __init__(self, db: Database, durability: Durability) -> None:
        self.db = db
        self.durability = durability
        self.is_over = False
        self._thread = get_ident()
        self._count = db.forest.count
        self._nested = 0
        self._journal: list[tuple[Writes, bytes, Any]] = []
        self._trees: dict[str, DraftTree] = {}
        self._created: list[str] = []
        super().__init__(self, DEFAULT_TREE)
        self._trees[DEFAULT_TREE] = self

    def check(self, tree: DraftTree | None = None) -> None:
        """Whether this transaction, and that tree's handle, may be used here and now."""
        if get_ident() == self._thread and (
            not self.is_over if tree is None else self._trees.get(tree._name) is tree  # noqa: SLF001
        ):
            return
        if self.is_over:
            raise ClosedError("the transaction is over, and its handles with it")
        if get_ident() != self._thread:
            raise InvalidArgumentError("a transaction belongs to the thread that runs it")
        raise InvalidArgumentError(DROPPED)

    # Trees ------------------------------------------------------------------------------------
    def start_draft(self, name: str) -> tuple[int, Root]:
        """Id and newest root of a tree; of one that is made by this transaction if need be."""
        forest = self.db.forest
        tree_id = forest.ids.get(name)
        if tree_id is not None:
            return tree_id, forest.roots[tree_id]
        self._created.append(check_tree_name(name))  # Any name that has a tree is a good one.
        return forest.next_tree_id + len(self._created) - 1, Leaf([], {})

    def open_tree(self, name: str) -> DraftTree:
        self.check()
        tree = self._trees.get(name)
        if tree is None:
            tree = self._trees[name] = DraftTree(self, name)
        return tree

    def tree_names(self) -> list[str]:
        self.check()
        return sorted([*self.db.forest.ids, *self._created])

    # Writing ----------------------------------------------------------------------------------
    def write(self, writes: Writes, key: bytes, value: bytes | None) -> None:
        """Put one write into a draft."""
        if self._nested:
            self._journal.append((writes, key, writes.get(key, UNTOUCHED)))
        writes.put(key, value)

    def apply_batch(self, batch: Batch) -> None:
        self.check()
        for name, key, value in batch.writes:
            self.open_tree(name).put(key, value)

    def current_count(self) -> int:
        self.check()
        return self._count

    def next_count(self) -> int:
        self.check()
        self._count = self.db.counters.draw()
        return self._count

    def generate_id(self) -> int:
        self.check()
        return self.db.counters.take_id()

    def transaction(
        self,
        fn: Callable[[kv.Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        """Run ``fn`` with a savepoint; the commit gets the strongest durability anybody asked."""
        self.check()
        wanted = check_durability(durability) or self.durability
        savepoint = len(self._journal), len(self._created), self._count
        self._nested += 1
        try:
            result = fn(as_transaction(NestedReadTransaction(self)) if read_only else self)
            # Its own handles refuse each write; this is about those of the transaction around it.
            if read_only and savepoint != (len(self._journal), len(self._created), self._count):
                refuse_write()
        except BaseException:
            self._undo(*savepoint)
            raise
        finally:
            self._nested -= 1
        self.durability = max(self.durability, wanted, key=STRENGTH.__getitem__)
        return result

    def _undo(self, journal_total: int, created_total: int, count: int) -> None:
        while len(self._journal) > journal_total:
            writes, key, before = self._journal.pop()
            if before is UNTOUCHED:
                writes.forget(key)
            else:
                writes.put(key, before)
        while len(self._created) > created_total:
            # An interrupt may have come before the tree was among them.
            self._trees.pop(self._created.pop(), None)
        self._count = count

    def end(self) -> None:
        """Nothing of it may be used any more; its trees let go of it."""
        self.is_over = True
        self._trees.clear()

    def finish(self) -> tuple[list[Any], list[Place], int]:
        """The operations to commit, where they go, and the count they make visible."""
        ops: list[Any] = []
        for name in self._created:
            ops += self._trees[name].tree_id, Op.CREATE, name
        places = [NO_PLACE] * len(self._created)
        for tree in self._trees.values():
            tree.place(ops, places)
        return ops, places, self._count
