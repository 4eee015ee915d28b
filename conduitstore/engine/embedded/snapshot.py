"""Snapshots: a frozen state of every tree, given out as a read-only keyspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Self

from conduitstore.errors import ClosedError
from conduitstore.kv import DEFAULT_TREE, Durability, check_tree_name

from .forest import DEFAULT_TREE_ID, Frozen
from .leaf import Leaf
from .tree import FrozenTree

if TYPE_CHECKING:
    from .database import Database

NO_TREE_ID = -1
"""Stands for every tree that the snapshot does not have: its root is an empty leaf."""


class Snapshot(FrozenTree):
    """See :class:`conduitstore.kv.Snapshot`."""

    def __init__(self, db: Database, frozen: Frozen) -> None:
        frozen.roots[NO_TREE_ID] = Leaf([], {})
        super().__init__(db, DEFAULT_TREE, DEFAULT_TREE_ID, frozen.roots)
        self._frozen = frozen

    @property
    def sequence(self) -> int:
        """The last commit it shows."""
        return self._frozen.sequence

    def _check(self) -> None:
        self._db.check_handle()
        if not self._roots:
            raise ClosedError("the snapshot is closed")

    def open_tree(self, name: str) -> FrozenTree:
        self._check()
        tree_id = self._frozen.ids.get(check_tree_name(name), NO_TREE_ID)
        return FrozenTree(self._db, name, tree_id, self._roots)

    def tree_names(self) -> list[str]:
        self._check()
        return sorted(self._frozen.ids)

    def current_count(self) -> int:
        self._check()
        return self._frozen.count

    def transaction(self, fn: object, *, durability: Durability | None = None) -> NoReturn:
        self._refuse(fn, durability)

    def close(self) -> None:
        self._roots.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
