"""More steps of workloads, as values: single calls, and several in one that is no plain commit.

As those of :mod:`.steps` they are functions of a database.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from conduitstore import kv
from conduitstore.kv import Database

from .steps import Commit, Write


@dataclass(frozen=True)
class Call:
    """One method of the database or, with its name, of a tree; an iterator is read to its end."""

    method: str
    arguments: tuple[Any, ...] = ()
    tree: str | None = None

    def __call__(self, db: Database) -> None:
        target = db if self.tree is None else db.open_tree(self.tree)
        answer = getattr(target, self.method)(*self.arguments)
        if isinstance(answer, Iterator):
            for _ in answer:
                pass


@dataclass(frozen=True)
class Nested:
    """A transaction with another one inside, which may make a tree."""

    outer: Commit
    inner: Commit

    def __call__(self, db: Database) -> None:
        def run(tx: kv.Transaction) -> None:
            self.outer.run(tx)
            tx.transaction(self.inner.run)

        db.transaction(run)


@dataclass(frozen=True)
class ApplyBatch:
    """Writes to several trees in one batch."""

    writes: tuple[Write, ...]

    def __call__(self, db: Database) -> None:
        batch = kv.Batch()
        for name, key, value in self.writes:
            if value is None:
                batch.remove(name, key)
            else:
                batch.insert(name, key, value)
        db.apply_batch(batch)


@dataclass(frozen=True)
class Watch:
    """A subscriber that comes, is told of one write, and goes."""

    key: bytes
    value: bytes

    def __call__(self, db: Database) -> None:
        with db.watch_prefix(b"") as events:
            db.insert(self.key, self.value)
            events.next(0)


@dataclass(frozen=True)
class Read:
    """Keys, cold and hot; iterators that are left in the middle, closed and collected; a snapshot.

    Those are of the default tree.
    """

    keys: tuple[tuple[str, bytes], ...]

    def __call__(self, db: Database) -> None:
        for tree, key in self.keys:
            db.open_tree(tree).get(key)
        items, back = db.range(), db.range(reverse=True)
        next(items, None)
        back.next_back()
        del items
        list(reversed(back))
        with db.snapshot() as view:
            view.get_many([key for _, key in self.keys])
            len(view)
