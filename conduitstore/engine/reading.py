"""Read-only transactions: a snapshot in a transaction's place, the same on every engine.

One that is nested in a writing transaction sees what that wrote: there the transaction itself is
what is read, and its trees are handed out without their writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar, cast

from conduitstore.kv import (
    Bounds,
    Durability,
    Item,
    Items,
    Keyspace,
    Snapshot,
    Transaction,
    Tree,
    check_key,
    check_tree_name,
)

from .rows import NOTHING, cursor
from .surface import FrozenSurface

T = TypeVar("T")
NO_ENTRIES: dict[bytes, bytes] = {}


class ReadTree(FrozenSurface):
    """A tree to read only, whatever tree it is; None stands for one that is not there."""

    def __init__(self, name: str, tree: Tree | None) -> None:
        self._name = name
        self._tree = tree

    @property
    def name(self) -> str:
        return self._name

    def get(self, key: bytes) -> bytes | None:
        return self._tree.get(key) if self._tree is not None else NO_ENTRIES.get(check_key(key))

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Items:
        if self._tree is None:
            return cursor(NOTHING, NOTHING, (lo, hi), reverse=reverse, limit=limit)
        return self._tree.range(lo, hi, reverse=reverse, limit=limit)

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        return super().get_many(keys) if self._tree is None else self._tree.get_many(keys)

    def ranges(
        self, bounds: Iterable[Bounds], *, reverse: bool = False, limit: int | None = None
    ) -> list[list[Item]]:
        ask = super().ranges if self._tree is None else self._tree.ranges
        return ask(bounds, reverse=reverse, limit=limit)

    def __len__(self) -> int:
        return len(self._tree) if self._tree is not None else 0


class ReadTransaction(ReadTree):
    """What the function of a read-only transaction gets; over when its snapshot is closed."""

    def __init__(self, view: Keyspace) -> None:
        super().__init__(view.name, view)
        self._view = view

    def open_tree(self, name: str) -> Tree:
        return self._view.open_tree(name)

    def tree_names(self) -> list[str]:
        return self._view.tree_names()

    def current_count(self) -> int:
        return self._view.current_count()

    def transaction(
        self,
        fn: Callable[[Transaction], T],
        *,
        durability: Durability | None = None,  # noqa: ARG002 - nothing will be written
        read_only: bool = False,  # noqa: ARG002 - it is
    ) -> T:
        """A nested transaction joins this one, and can write no more than this one."""
        return fn(as_transaction(self))

    def next_count(self) -> NoReturn:
        self._refuse()

    def generate_id(self) -> NoReturn:
        self._refuse()

    def apply_batch(self, batch: object) -> NoReturn:
        self._refuse(batch)


class NestedReadTransaction(ReadTransaction):
    """What one gets that is nested in a writing transaction; over when that is."""

    def open_tree(self, name: str) -> Tree:
        is_there = check_tree_name(name) in self._view.tree_names()
        tree = self._view.open_tree(name) if is_there else None
        return cast("Tree", ReadTree(name, tree))


def as_transaction(reading: ReadTransaction) -> Transaction:
    """All that a transaction's function needs; its writes are there, and refuse."""
    return cast("Transaction", reading)


def read(view: Snapshot, fn: Callable[[Transaction], T]) -> T:
    """Run a read-only transaction on a snapshot of its own, which is closed behind it."""
    with view:
        return fn(as_transaction(ReadTransaction(view)))
