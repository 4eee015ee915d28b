"""Brings a store's schema up to date before anybody reads it.

- Every check comes before the first write; a store that cannot be served stays as it is.
- A step is one commit with its version row, or many: then each holds some rows of its sources, in
  order, and the place to go on from. So a process may die at any point and the next one goes on.
- A fresh store is nothing special: it is at version 0 and takes every step.
- A row that a step cannot read is left alone, counted and told; it stops nobody.
- The engine's byte formats have a version of their own; this one counts what keys and values mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from conduitstore.errors import CorruptedError, UnsupportedFormatError
from conduitstore.kv import Keyspace, Transaction
from conduitstore.ladder import Migration
from conduitstore.schema import TREES
from conduitstore.tallied import Changes, tallied

LINEAGE = "conduitstore"
BATCH_ROWS = 1_000
TOLD_MAX = 100
"""How many unreadable rows a report names; it counts them all."""

T = TypeVar("T")
OnProgress = Callable[[str, int, int], None]
"""Told the step's name, how many rows were done, and of how many, after each commit."""


class Versions(Protocol):
    """Where the version is kept: the globals part."""

    def lineage(self) -> str | None: ...
    def schema_version(self) -> int: ...
    def migration_cursor(self) -> tuple[str, bytes] | None: ...
    def bound_to(self, keyspace: Keyspace) -> Versions: ...
    def set_schema_version(self, version: int) -> None: ...
    def set_migration_cursor(self, cursor: tuple[str, bytes] | None) -> None: ...


@dataclass
class Applied:
    """What one step did; its text is for people.

    Attributes:
        rows_total: rows of its sources that it went through, without those of an earlier run.
        changes: how many rows it wrote and how many it removed, by tree.
        skipped_total: those it could not read and left alone; ``skipped`` names the first of them.
    """

    step: Migration
    rows_total: int = 0
    changes: Changes = field(default_factory=Counter)
    skipped_total: int = 0
    skipped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = f": {self.rows_total:,} rows" if self.step.rows else ""
        skipped = f", {self.skipped_total:,} of them left alone" if self.skipped_total else ""
        return f"{self.step.name}{rows}{skipped}"


def pending(view: Keyspace, versions: Versions, steps: Sequence[Migration]) -> list[Migration]:
    """The steps that a store still needs, in order; one that was begun is the first of them.

    Raises:
        UnsupportedFormatError: the schema is newer than this version knows, or another project's.
    """
    return list(steps[_check(view, versions.bound_to(view), len(steps)) :])


def migrate(
    db: Keyspace,
    versions: Versions,
    steps: Sequence[Migration],
    on_progress: OnProgress | None = None,
) -> list[Applied]:
    """Apply what is missing, and create the trees that are.

    ``db`` is a store; in a transaction, all of it is part of that.

    Raises:
        UnsupportedFormatError: the schema is newer than this version knows, or another project's;
            nothing was written.
    """
    missing = reading(db, lambda view: pending(view, versions, steps))
    applied = [_apply(db, versions, step, on_progress) for step in missing]
    if reading(db, lambda view: not set(TREES) <= set(view.tree_names())):
        db.transaction(_create_trees)  # Only then: it waits for whoever writes.
    return applied


def reading(db: Keyspace, fn: Callable[[Keyspace], T]) -> T:
    """``fn`` of a state that has no tree more than there are."""
    return db.transaction(fn, read_only=True)


def check_schema(db: Keyspace, versions: Versions, steps: Sequence[Migration]) -> None:
    """Whether a store that cannot be written to is as this version needs it.

    Raises:
        UnsupportedFormatError: the schema is newer, older or another project's.
    """
    missing = reading(db, lambda view: pending(view, versions, steps))
    if missing:
        raise UnsupportedFormatError(
            f"the schema is at version {missing[0].number - 1}, this version needs {len(steps)}: "
            "open the store for writing once"
        )


def check_small(db: Keyspace, versions: Versions, steps: Sequence[Migration]) -> None:
    """Whether what a store needs takes no longer than opening may.

    Raises:
        UnsupportedFormatError: it has rows for a step of many commits.
    """

    def large(view: Keyspace) -> list[str]:
        missing = pending(view, versions, steps)
        return [
            step.name
            for step in missing
            if any(view.open_tree(source).first() is not None for source in step.rows)
        ]

    names = reading(db, large)
    if names:
        raise UnsupportedFormatError(
            f"the schema misses {', '.join(names)}, which rewrites rows: take a backup and run "
            "`conduitstore migrate`, or open the store with migrate=True"
        )


def _check(view: Keyspace, versions: Versions, known: int) -> int:
    found, lineage = versions.schema_version(), versions.lineage()
    if lineage is None and (found or _holds_rows(view)):
        raise UnsupportedFormatError(
            f"this store says version {found} but not whose schema that is: it was not written "
            f"by {LINEAGE}"
        )
    if lineage not in (None, LINEAGE):
        raise UnsupportedFormatError(f"this store has the schema of {lineage}, not of {LINEAGE}")
    if found > known:
        raise UnsupportedFormatError(
            f"the schema is at version {found}, this version knows {known}: upgrade {LINEAGE}"
        )
    return found


def _holds_rows(view: Keyspace) -> bool:
    return any(view.open_tree(name).first() for name in view.tree_names() if name in TREES)


def _apply(
    db: Keyspace, versions: Versions, step: Migration, on_progress: OnProgress | None
) -> Applied:
    applied = Applied(step)
    total = reading(db, lambda view: sum(len(view.open_tree(source)) for source in step.rows))
    for source, start in _left_to_do(db, versions, step):
        after: bytes | None = start
        while after is not None:
            after = db.transaction(partial(_batch, versions, source, after, applied))
            if on_progress is not None:
                on_progress(step.name, applied.rows_total, total)
    db.transaction(partial(_finish, versions=versions, step=step, changes=applied.changes))
    return applied


def _left_to_do(db: Keyspace, versions: Versions, step: Migration) -> list[tuple[str, bytes]]:
    """The sources that are not done, each with the last key that is."""
    cursor = reading(db, lambda view: versions.bound_to(view).migration_cursor())
    sources = list(step.rows)
    if cursor is None:
        return [(source, b"") for source in sources]
    begun, after = cursor
    return [(begun, after), *((source, b"") for source in sources[sources.index(begun) + 1 :])]


def _batch(
    versions: Versions,
    source: str,
    after: bytes,
    applied: Applied,
    tx: Transaction,
) -> bytes | None:
    """Some rows of a source, and the last key of them, in one commit; None behind the last."""
    upgrade = applied.step.rows[source]
    rows = list(tx.open_tree(source).range(after + b"\0", limit=BATCH_ROWS))
    counted = tallied(tx, applied.changes)
    for key, value in rows:
        try:
            upgrade(counted, key, value)
        except CorruptedError as error:
            applied.skipped_total += 1
            if len(applied.skipped) < TOLD_MAX:
                applied.skipped.append(f"{source}: {key!r}: {error}")
    applied.rows_total += len(rows)
    if not rows:
        return None
    versions.bound_to(tx).set_migration_cursor((source, rows[-1][0]))
    return rows[-1][0]


def _finish(tx: Transaction, *, versions: Versions, step: Migration, changes: Changes) -> None:
    step.upgrade(tallied(tx, changes))
    bound = versions.bound_to(tx)
    bound.set_migration_cursor(None)
    bound.set_schema_version(step.number)


def _create_trees(tx: Transaction) -> None:
    for name in TREES:  # In one order everywhere: equal stores have equal files.
        tx.open_tree(name)
