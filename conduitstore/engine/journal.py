"""What a transaction has written over the rows of its trees, in order, and how to undo it.

For engines whose drafts are rows: each write is journalled with what the draft had before it, a
savepoint is a position in the journal, and the order of events follows it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, cast

from conduitstore import kv
from conduitstore.kv import Durability, check_durability, check_value

from .reading import NestedReadTransaction, as_transaction
from .rows import Rows
from .surface import WriteSurface, refuse_write

T = TypeVar("T")
Write = tuple[str, bytes, tuple[bytes | None, ...], bytes | None]
"""Tree, key, what the draft had for it (nothing, or one value or None), and what it got."""


class Drafted(Protocol):
    """One tree in a transaction."""

    @property
    def over(self) -> Rows:
        """What was written to it (None: removed)."""


D = TypeVar("D", bound=Drafted)


class JournalTree(WriteSurface):
    """Writes of a transaction's tree."""

    name = ""

    @property
    @abstractmethod
    def _tx(self) -> Journal[Any]:
        """The transaction it belongs to."""

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
        return self._tx.transaction(lambda _: super(JournalTree, self).merge(key, operand))


class Journal(ABC, Generic[D]):
    """What a transaction has written; it belongs to the thread that runs the transaction."""

    def __init__(self, drafts: dict[str, D], count: int) -> None:
        self.drafts = drafts
        self.count = count
        self.writes: list[Write] = []
        self.created: list[str] = []

    @abstractmethod
    def check(self) -> None:
        """Whether the transaction's handles may be used here and now."""

    def write(self, name: str, key: bytes, value: bytes | None) -> None:
        """Journal what the draft had for ``key``, then write."""
        over = self.drafts[name].over
        before = (over.entries[key],) if key in over.entries else ()
        self.writes.append((name, key, before, value))
        over.own()[key] = value

    def transaction(
        self,
        fn: Callable[[kv.Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        """Run ``fn`` with a savepoint."""
        self.check()
        check_durability(durability)
        savepoint, tx = self._savepoint(), cast("kv.Transaction", self)
        try:
            result = fn(as_transaction(NestedReadTransaction(tx)) if read_only else tx)
            # Its own handles refuse each write; this is about those of the transaction around it.
            if read_only and savepoint != self._savepoint():
                refuse_write()
        except BaseException:
            self._undo(*savepoint)
            raise
        return result

    def _savepoint(self) -> tuple[int, int, int]:
        return len(self.writes), len(self.created), self.count

    def _undo(self, writes_total: int, created_total: int, count: int) -> None:
        while len(self.writes) > writes_total:
            name, key, before, _ = self.writes.pop()
            if before:
                self.drafts[name].over.own()[key] = before[0]
            else:
                self.drafts[name].over.own().pop(key, None)
        while len(self.created) > created_total:
            # An interrupt may have come before the tree was among them.
            self.drafts.pop(self.created.pop(), None)
        self.count = count
