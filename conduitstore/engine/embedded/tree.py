"""Trees of an open store and of a snapshot: point reads take no lock, ranges a frozen root."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from conduitstore import kv
from conduitstore.engine.subscriber import Subscriber
from conduitstore.engine.surface import FrozenSurface, LiveSurface, ReadSurface, prefix_bounds
from conduitstore.errors import ClosedError, ConduitStoreError, InvalidArgumentError
from conduitstore.kv import (
    KEY_BYTES_MAX,
    VALUE_BYTES_MAX,
    Bounds,
    Item,
    MergeOperator,
    Tree,
    check_bound,
    check_key,
    check_limit,
    check_ranges,
    check_value,
)

from . import index
from .frozen import Hold
from .index import Node, Root
from .items import Items, keys_in, slices_of
from .page import LIMIT_MAX, page_of, rows_of, values_of
from .pageitems import Page

if TYPE_CHECKING:
    from .database import Database
    from .forest import Place

T = TypeVar("T")
DROPPED = "this tree was dropped, or its creation undone: open it again"


class RootReads(ReadSurface):
    """Reads of one tree in a dict of roots, of the store's newest ones or of a snapshot's."""

    __slots__ = ("_db", "_hold", "_name", "_roots", "tree_id")

    def __init__(
        self,
        db: Database,
        name: str,
        tree_id: int,
        roots: dict[int, Root],
        hold: Hold | None = None,
    ) -> None:
        self._db = db  # Also keeps the store alive.
        self._name = name
        self.tree_id = tree_id
        self._roots = roots
        self._hold = hold  # A snapshot's; the newest roots are held when they are walked.

    @property
    def name(self) -> str:
        return self._name

    def _held(self) -> tuple[Root, Hold]:
        """The root as it is now, not to change while the hold is kept."""
        db, hold = self._db, self._hold
        if db.guarded:
            db.check_handle()
        try:
            if hold is None:
                return db.forest.freeze_tree(self.tree_id, db)
            return self._roots[self.tree_id], hold
        except KeyError:
            raise self._missing() from None

    def _missing(self) -> Exception:
        """Why there is no root."""
        raise NotImplementedError

    def get(self, key: bytes) -> bytes | None:
        """One value, without taking a lock."""
        if self._db.guarded:
            self._db.check_handle()
        try:
            node = self._roots[self.tree_id]
            while type(node) is Node:
                node = node.children[bisect_right(node.lows, key)]
            # By its exact type it is a leaf from here on, which a type checker cannot tell.
            entries = node.entries  # type: ignore[union-attr]
            if entries is None:
                excerpt = node.excerpt  # type: ignore[union-attr]
                if excerpt is not None:  # A row of it may be hot; the cache knows all the rest.
                    value = excerpt.again.get(key)
                    if value is not None:
                        return value
                return self._db.forest.cache.value(node, check_key(key))  # type: ignore[arg-type]
            value = entries.get(key)
        except (KeyError, TypeError):
            check_key(key)
            raise self._missing() from None
        if value is None:
            check_key(key)
        else:
            node.touched = True  # type: ignore[union-attr]
        return value

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        asked = list(keys)
        for key in asked:
            if type(key) is not bytes or not 0 < len(key) <= KEY_BYTES_MAX:
                check_key(key)
        root, hold = self._held()
        return values_of(root, asked, hold.cache)

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> kv.Items:
        if type(lo) is not bytes:
            check_bound(lo)
        if type(hi) is not bytes:
            check_bound(hi)
        if limit is not None and not (type(limit) is int and 0 <= limit <= LIMIT_MAX):
            limit = check_limit(limit)
        db = self._db
        if db.guarded:
            db.check_handle()
        try:
            if self._hold is None:
                page = db.forest.page(self.tree_id, lo, hi, limit, reverse)
            else:
                page = page_of(self._roots[self.tree_id], lo, hi, limit, reverse)
        except KeyError:
            raise self._missing() from None
        if page is not None:
            return page
        return Items.over(slices_of(*self._held()), lo, hi, limit, reverse=reverse)

    def ranges(
        self, bounds: Iterable[Bounds], *, reverse: bool = False, limit: int | None = None
    ) -> list[list[Item]]:
        asked, limit = check_ranges(bounds), check_limit(limit)
        root, hold = self._held()
        found = []
        for lo, hi in asked:
            rows = rows_of(root, lo, hi, limit, reverse)
            if rows is None:
                rows = list(Items.over(slices_of(root, hold), lo, hi, limit, reverse=reverse))
            found.append(rows)
        return found

    def keys(
        self,
        prefix: bytes = b"",
        *,
        reverse: bool = False,
        limit: int | None = None,
        start: bytes | None = None,
    ) -> Iterator[bytes]:
        lo, hi = prefix_bounds(prefix, start, reverse=reverse)
        items = self.range(lo, hi, reverse=reverse, limit=limit)
        if type(items) is Page:
            return items.only_keys()
        return keys_in(slices_of(*self._held()), lo, hi, check_limit(limit), reverse=reverse)

    def contains_key(self, key: bytes) -> bool:
        if self._db.guarded:
            self._db.check_handle()
        check_key(key)
        try:
            leaf = index.find(self._roots[self.tree_id], key)
        except KeyError:
            raise self._missing() from None
        return self._db.forest.cache.has(leaf, key)

    def __contains__(self, key: bytes) -> bool:
        return self.contains_key(key)

    def __len__(self) -> int:
        root, _hold = self._held()
        return sum(leaf.entries_total for _, leaf in index.leaves(root))


class LiveTree(RootReads, LiveSurface):
    """A tree of an open store."""

    __slots__ = ()

    @property
    def _store(self) -> Database:
        return self._db

    def _missing(self) -> Exception:
        return InvalidArgumentError(DROPPED)

    def _commit(self, write: Callable[[Tree], T]) -> T:
        self._check()  # Inside a transaction this would join it unseen.

        def run(tx: kv.Transaction) -> T:
            self._check_alive()
            return write(tx.open_tree(self._name))

        return self._db.transaction(run)

    def _check(self) -> None:
        self._db.check_handle()
        self._check_alive()

    def _check_alive(self) -> None:
        if self.tree_id not in self._roots:
            raise self._missing()

    def insert(self, key: bytes, value: bytes) -> bytes | None:
        if type(value) is not bytes:
            check_value(value)
        return self._write(key, value, asks=True)

    def remove(self, key: bytes) -> bytes | None:
        return self._write(key, None, asks=True)

    def put(self, key: bytes, value: bytes | None) -> None:
        self._write(key, value, asks=False)

    def _write(self, key: bytes, value: bytes | None, *, asks: bool) -> bytes | None:
        """One write as one commit, without the machinery of a transaction; gives what was there."""
        if type(key) is not bytes or not 0 < len(key) <= KEY_BYTES_MAX:
            check_key(key)
        if value is not None and (type(value) is not bytes or len(value) > VALUE_BYTES_MAX):
            check_value(value)
        db = self._db
        if db.guarded:
            db.check_handle()
        if db.is_behind:
            db.wait_for_checkpoint()
        with db.writer_lock:
            if db.no_writes is not None:
                db.check_writable()
            forest, tree_id, durability = db.forest, self.tree_id, db.settings.durability
            if tree_id not in self._roots:
                raise self._missing()
            ops: list[Any] = []
            places: list[Place] = []
            forest.place(tree_id, {key: value}, ops, places)
            if not ops:
                return None
            old: bytes | None = places[0][-1].get(key) if asks else None
            sequence = db.commit_prepared(ops, places, forest.count, durability)
        if durability == "commit" or db.frozen_log_bytes or db.is_long:
            db.settle(sequence, durability)
        return old

    def set_merge_operator(self, fn: MergeOperator, name: str | None = None) -> None:
        self._check()
        self._db.operators.choose(self._name, fn, name)

    def watch_prefix(
        self,
        prefix: bytes,
        *,
        capacity: int = 65_536,
        since: int | None = None,
        only_durable: bool = False,
    ) -> Subscriber:
        self._check()
        subscriber = Subscriber(prefix, capacity, only_durable=only_durable)
        self._db.watch(self._name, self.tree_id, subscriber, since)
        try:
            self._check()  # Again: who dropped or closed meanwhile may not have seen it.
        except ConduitStoreError:
            subscriber.close()
            raise
        return subscriber


class FrozenTree(RootReads, FrozenSurface):
    """A tree of a snapshot; its roots are taken away when that is closed."""

    __slots__ = ()

    def _missing(self) -> Exception:
        return ClosedError("the snapshot is closed")
