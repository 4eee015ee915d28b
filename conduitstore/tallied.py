"""Counting what is written: a transaction that passes everything on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar, cast

from conduitstore.kv import Transaction, Tree

T = TypeVar("T")

Changes = Counter[tuple[str, str]]
"""Tree and ``"written"`` or ``"removed"``, to rows."""


def tallied(tx: Transaction, changes: Changes) -> Transaction:
    """``tx``, with the rows that its trees insert and remove counted."""
    return cast("Transaction", _Transaction(tx, changes))


class _Transaction:
    def __init__(self, tx: Transaction, changes: Changes) -> None:
        self._tx = tx
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def open_tree(self, name: str) -> _Tree:
        return _Tree(self._tx.open_tree(name), self._changes)

    def transaction(self, fn: Callable[[Transaction], T], **options: Any) -> T:
        """A nested one; what it wrote is counted, even where it is taken back."""
        return self._tx.transaction(lambda tx: fn(tallied(tx, self._changes)), **options)


class _Tree:
    def __init__(self, tree: Tree, changes: Changes) -> None:
        self._tree = tree
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tree, name)

    def insert(self, key: bytes, value: bytes) -> bytes | None:
        self._changes[self._tree.name, "written"] += 1
        return self._tree.insert(key, value)

    def remove(self, key: bytes) -> bytes | None:
        old = self._tree.remove(key)
        self._changes[self._tree.name, "removed"] += old is not None
        return old

    def put(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.remove(key)
        else:
            self._changes[self._tree.name, "written"] += 1
            self._tree.put(key, value)

    def remove_prefix(self, prefix: bytes) -> int:
        total = self._tree.remove_prefix(prefix)
        self._changes[self._tree.name, "removed"] += total
        return total

    def clear(self) -> None:
        self.remove_prefix(b"")
