"""Collecting what is of no use to anybody any more, out of every tree that would grow for ever.

Each batch is a commit of bounded size, beside whoever else writes; between two of them the store
is as consistent as before. What is looked at is looked at on snapshots; only for what is found
dead a transaction looks again, and removes it. A process may die anywhere: the next run goes on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from conduitstore.codec.keys import check_u64
from conduitstore.consistency.rows import row_of
from conduitstore.errors import CorruptedError
from conduitstore.kv import Database, Item, Keyspace, Transaction
from conduitstore.schema import TREES

from . import batches, states
from .dead import Doomed, Rule, rules
from .messages import forget_messages
from .options import GcOptions

OnProgress = Callable[[str, int, int], None]
"""Is told of the tree, how many of its rows were looked at, and of about how many."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What was done to one tree.

    Attributes:
        looked_at: rows of it that were judged; 0 of a tree whose rows go with another's.
        removed: rows of it that went, or of a dry run would go.
    """

    tree: str
    looked_at: int
    removed: int


class _Batch(NamedTuple):
    """A batch of rows, looked at: the last key, how many there were, and those that are dead."""

    last: bytes | None
    total: int
    dead: list[bytes]
    doomed: list[Doomed]


class _Run:
    """One run: what it has done, and whom it tells."""

    def __init__(self, db: Database, on_progress: OnProgress | None, *, dry_run: bool) -> None:
        self.db = db
        self.dry_run = dry_run
        self._on_progress = on_progress
        self._looked_at: Counter[str] = Counter()
        self._removed: Counter[str] = Counter()
        self._totals: dict[str, int] = {}

    def tell(self, tree: str, looked_at: int, removed: int) -> None:
        """Note what was done; whoever is told of it may raise, and end the run."""
        self._looked_at[tree] += looked_at
        self._removed[tree] += removed
        if self._on_progress is not None:
            self._on_progress(tree, self._looked_at[tree], self._total(tree))

    def _total(self, tree: str) -> int:
        """How many rows there were when the run came to the tree."""
        if tree not in self._totals:
            self._totals[tree] = len(self.db.open_tree(tree))
        return self._totals[tree]

    def found(self) -> list[Collected]:
        """Every tree that was looked at or lost rows, in the schema's order."""
        names = self._looked_at.keys() | self._removed.keys()
        return [Collected(n, self._looked_at[n], self._removed[n]) for n in TREES if n in names]

    def sweep(self, rule: Rule) -> None:
        """Go through one tree."""
        self._total(rule.tree)
        after = b""
        while True:
            look = partial(_look, rule=rule, after=after)
            batch = self.db.transaction(look, read_only=True)
            removed = Counter(doomed.tree for doomed in batch.doomed)
            if batch.dead and not self.dry_run:
                removed = self.db.transaction(partial(_remove, rule=rule, keys=batch.dead))
            self.tell(rule.tree, batch.total, 0)
            for tree, total in removed.items():
                self.tell(tree, 0, total)
            if batch.last is None:
                return
            after = batch.last + b"\0"


def gc(
    db: Database,
    options: GcOptions | None = None,
    *,
    now_ms: int | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> list[Collected]:
    """Remove what is dead from every tree that would otherwise grow for ever.

    Args:
        db: an open store.
        options: how long things are kept.
        now_ms: Unix milliseconds; default: this moment.
        dry_run: remove nothing; a store open for reading is enough. What goes only because
            something else went is not counted.
        on_progress: is told after each batch. An exception it raises ends the run there.

    Returns:
        Each tree that was looked at, or lost rows.

    Cost: one scan of each of those trees; of trees by time, of what is dead. Writers wait for a
    batch that removes, no longer.

    Raises:
        CorruptedError: a room state cannot be read; all else has been collected. Of other trees, a
            row that cannot be read is left alone.
    """
    chosen = GcOptions() if options is None else options
    now = time.time_ns() // 1_000_000 if now_ms is None else check_u64(now_ms)
    run = _Run(db, on_progress, dry_run=dry_run)
    if chosen.messages_ms is not None:
        forget_messages(db, now - chosen.messages_ms, run.tell, dry_run=dry_run)
    for rule in db.transaction(partial(rules, options=chosen, now_ms=now), read_only=True):
        run.sweep(rule)
    states.collect(db, chosen.young_counts, run.tell, dry_run=dry_run)
    return run.found()


def _look(view: Keyspace, rule: Rule, after: bytes) -> _Batch:
    rows = list(view.open_tree(rule.tree).range(after, rule.until, limit=batches.BATCH_ROWS))
    dead: list[bytes] = []
    doomed: dict[Doomed, None] = {}
    for item in rows:
        found = _doomed(view, rule, item)
        if found:
            dead.append(item[0])
            doomed |= dict.fromkeys(found)
    is_last = len(rows) < batches.BATCH_ROWS
    there = [one for one in doomed if view.open_tree(one.tree).contains_key(one.key)]
    return _Batch(None if is_last else rows[-1][0], len(rows), dead, there)


def _remove(tx: Transaction, rule: Rule, keys: Iterable[bytes]) -> Counter[str]:
    """Look at rows again, which may have changed since, and remove what still is dead."""
    removed: Counter[str] = Counter()
    tree = tx.open_tree(rule.tree)
    for key in keys:
        value = tree.get(key)
        for one in () if value is None else _doomed(tx, rule, (key, value)):
            removed[one.tree] += tx.open_tree(one.tree).remove(one.key) is not None
    return removed


def _doomed(view: Keyspace, rule: Rule, item: Item) -> list[Doomed]:
    row = row_of(TREES[rule.tree], *item)
    try:
        return [] if row is None else list(rule.dead(view, row))
    except CorruptedError:
        return []  # It may be alive: a check names it, and somebody decides.
