"""Snapshots of the memory engine: entries held as they are at one instant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Self, TypeVar

from conduitstore import kv
from conduitstore.errors import ClosedError
from conduitstore.kv import (
    DEFAULT_TREE,
    Bounds,
    Durability,
    Item,
    check_key,
    check_limit,
    check_ranges,
    check_tree_name,
)

from .reading import ReadTransaction
from .rows import NOTHING, Cursor, Held, cursor, entries
from .surface import FrozenSurface

if TYPE_CHECKING:
    from .memory import MemoryDatabase

T = TypeVar("T")


class _FrozenTree(FrozenSurface):
    """A tree of a snapshot; empty where the snapshot has none of that name."""

    name = ""

    def __init__(self, snapshot: MemorySnapshot, name: str) -> None:
        self._owner = snapshot
        self.name = name

    @property
    def _snapshot(self) -> MemorySnapshot:
        return self._owner

    def _read(self) -> Held:
        self._snapshot.check()
        return self._snapshot.trees.get(self.name, NOTHING)

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._read().entries.get(check_key(key))
        return value

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Cursor:
        return cursor(self._read(), NOTHING, (lo, hi), reverse=reverse, limit=limit)

    def ranges(
        self, bounds: Iterable[Bounds], *, reverse: bool = False, limit: int | None = None
    ) -> list[list[Item]]:
        asked, limit, held = check_ranges(bounds), check_limit(limit), self._read()
        return [entries(held, each, reverse=reverse, limit=limit) for each in asked]

    def __len__(self) -> int:
        return len(self._read().entries)


class MemorySnapshot(_FrozenTree):
    """See :class:`conduitstore.kv.Snapshot`."""

    def __init__(self, store: MemoryDatabase) -> None:
        self._database = store
        self.trees = {name: rows.hold() for name, rows in store.trees.items()}
        self.sequence = store.sequence
        self._count = store.visible_count
        self._closed = False
        self.name = DEFAULT_TREE

    @property
    def _snapshot(self) -> MemorySnapshot:
        return self

    def check(self) -> None:
        """Whether this snapshot may be read here and now."""
        self._database.check()
        if self._closed:
            raise ClosedError("the snapshot is closed")

    def open_tree(self, name: str) -> _FrozenTree:
        self.check()
        return _FrozenTree(self, check_tree_name(name))

    def tree_names(self) -> list[str]:
        self.check()
        return sorted(self.trees)

    def current_count(self) -> int:
        self.check()
        return self._count

    def transaction(
        self,
        fn: Callable[[kv.Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        self.check()
        if not read_only:
            self._refuse(durability)
        return ReadTransaction(self).transaction(fn)

    def close(self) -> None:
        self._closed = True
        self.trees = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
