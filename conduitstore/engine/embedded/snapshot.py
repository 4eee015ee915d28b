"""Snapshots: a frozen state of every tree, given out as a read-only keyspace."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TypeVar

from conduitstore.engine.reading import ReadTransaction
from conduitstore.errors import ClosedError
from conduitstore.kv import DEFAULT_TREE, Durability, Transaction, check_tree_name

from .forest import DEFAULT_TREE_ID
from .frozen import Frozen, Hold
from .leaf import Leaf
from .tree import FrozenTree

if TYPE_CHECKING:
    from .database import Database

T = TypeVar("T")
NO_TREE_ID = -1
"""Stands for every tree that the snapshot does not have."""
NO_ENTRIES = Leaf([], {})
"""The root of that tree in all snapshots."""


class Snapshot(FrozenTree):
    """See :class:`conduitstore.kv.Snapshot`."""

    def __init__(self, db: Database, frozen: Frozen, hold: Hold) -> None:
        frozen.roots[NO_TREE_ID] = NO_ENTRIES
        super().__init__(db, DEFAULT_TREE, DEFAULT_TREE_ID, frozen.roots, hold)
        self._frozen = frozen

    @property
    def sequence(self) -> int:
        """The last commit it shows."""
        return self._frozen.sequence

    def _check(self) -> None:
        if self._db.guarded:
            self._db.check_handle()
        if not self._roots:
            raise ClosedError("the snapshot is closed")

    def open_tree(self, name: str) -> FrozenTree:
        if self._db.guarded or not self._roots:
            self._check()
        tree_id = self._frozen.ids.get(name) if type(name) is str else None
        if tree_id is None:  # Any name that has a tree is a good one.
            check_tree_name(name)
            tree_id = NO_TREE_ID
        return FrozenTree(self._db, name, tree_id, self._roots, self._hold)

    def tree_names(self) -> list[str]:
        self._check()
        return sorted(self._frozen.ids)

    def current_count(self) -> int:
        self._check()
        return self._frozen.count

    def transaction(
        self,
        fn: Callable[[Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        self._check()
        if not read_only:
            self._refuse(durability)
        return ReadTransaction(self).transaction(fn)

    def close(self) -> None:
        self._roots.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
