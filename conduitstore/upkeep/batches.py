"""Work over many rows in commits of bounded size, beside whoever else writes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from conduitstore.kv import Keyspace, Transaction, prefix_end

T = TypeVar("T")

BATCH_ROWS = 1_000

RowWork = Callable[[Transaction, bytes, bytes], int]
"""What is done about one row, in a transaction; gives how many rows it changed."""


def each_row(db: Keyspace, tree: str, work: RowWork, prefix: bytes = b"") -> int:
    """Do ``work`` for every row under ``prefix``, in order; gives the sum of what it gave.

    A row is read in the transaction that works on it. One that is written meanwhile behind the
    place where the work has got to is not seen; whoever writes it leaves it right.
    """
    changed_total, after = 0, prefix
    while True:
        batch = partial(_batch, tree=tree, work=work, after=after, end=prefix_end(prefix))
        changed, last = db.transaction(batch)
        changed_total += changed
        if last is None:
            return changed_total
        after = last + b"\0"


def _batch(
    tx: Transaction, tree: str, work: RowWork, after: bytes, end: bytes | None
) -> tuple[int, bytes | None]:
    rows = list(tx.open_tree(tree).range(after or None, end, limit=BATCH_ROWS))
    changed = sum(work(tx, key, value) for key, value in rows)
    return changed, rows[-1][0] if rows else None


class _TakenBackError(Exception):
    """Leaves a transaction that shall leave nothing."""


def tried(db: Keyspace, fn: Callable[[Transaction], T]) -> T:
    """Run ``fn(tx)`` and take back what it wrote. Memory: what that is."""
    answers: list[T] = []

    def run(tx: Transaction) -> None:
        answers.append(fn(tx))
        raise _TakenBackError

    with suppress(_TakenBackError):
        db.transaction(run)
    return answers[-1]
