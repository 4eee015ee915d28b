"""Read-only transactions: a snapshot in a transaction's place, the same on every engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

from conduitstore.kv import Durability, Items, Snapshot, Transaction, Tree

from .surface import FrozenSurface

if TYPE_CHECKING:
    from typing import NoReturn

T = TypeVar("T")


class ReadTransaction(FrozenSurface):
    """What the function of a read-only transaction gets; over when its snapshot is closed."""

    def __init__(self, view: Snapshot) -> None:
        self._view = view

    @property
    def name(self) -> str:
        return self._view.name

    def get(self, key: bytes) -> bytes | None:
        return self._view.get(key)

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Items:
        return self._view.range(lo, hi, reverse=reverse, limit=limit)

    def __len__(self) -> int:
        return len(self._view)

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
        return fn(cast("Transaction", self))

    def next_count(self) -> NoReturn:
        self._refuse()

    def generate_id(self) -> NoReturn:
        self._refuse()

    def apply_batch(self, batch: object) -> NoReturn:
        self._refuse(batch)


def read(view: Snapshot, fn: Callable[[Transaction], T]) -> T:
    """Run a read-only transaction on a snapshot of its own, which is closed behind it."""
    with view:
        return fn(cast("Transaction", ReadTransaction(view)))
