"""One writing transaction on the server: its lock and beginning, its counts, and how it ends.

- The writers' lock comes first and is let go of by the end of the transaction itself, so commits
  become visible in the order of their sequences and counts. Statements see what is committed when
  they run, which under the lock is one state.
- What it writes is sent with its COMMIT, in one round trip.
- Counts are reserved, outside of any transaction, when it begins, and what it did not draw is given
  back when it ends: those of a process that dies in between are skipped.
- The row of the commit has a token by which one can tell afterwards whether it happened.
"""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.types.numeric import Int8

from conduitstore.errors import ConduitStoreError
from conduitstore.kv import Insert

from . import sql
from .connections import Pool, Row, Session, Statement
from .events import Events, encode
from .faults import ConnectionLostError
from .instant import Instant, Source, Walk

if TYPE_CHECKING:
    from .config import Settings
    from .counters import CountCeiling
    from .transaction import Transaction

COUNTS_RESERVED = 1_000
"""How many counts of a process that dies in a transaction are skipped."""
STATEMENT_BYTES = 4 << 20
STATEMENT_ROWS = 10_000
TRIM_EVERY = 256
"""Commits between two looks at which ones are old."""


@dataclass(frozen=True, slots=True)
class Base:
    """The newest commit, as a transaction finds it."""

    sequence: int
    count: int
    catalog: int
    trees: int
    drawn: int
    epoch: int | None
    """Of the server; None where it has crashed since anybody looked, and may have lost commits."""


class Writing:
    """A transaction that has the writers' lock."""

    def __init__(
        self, pool: Pool, session: Session, base: Base, ceiling: CountCeiling, *, locks_row: bool
    ) -> None:
        self._pool = pool
        self._session = session
        self._ceiling = ceiling
        self._locks_row = locks_row
        self._walks: weakref.WeakSet[Walk] = weakref.WeakSet()
        self._after: Source | None = None
        self.base = base
        self.drawn = max(base.drawn, base.count)
        self._reserved = self.drawn + COUNTS_RESERVED
        self.epoch = base.epoch
        self.previous, self.sequence = base.sequence, base.sequence + 1
        self.token = secrets.token_bytes(16)
        self.is_heard = False

    # Reading ------------------------------------------------------------------------------------
    def rows(self, query: bytes, params: Sequence[object] = ()) -> list[Row]:
        """Run one statement in it."""
        return self._session.rows(query, params)

    def source(self) -> Source:
        """Where its walks read: in it, and when it is over on a moment of its own."""
        return self if self._after is None else self._after

    def follow(self, walk: Walk) -> Walk:
        """Keep a walk going when the transaction is over."""
        self._walks.add(walk)
        return walk

    def _hand_over(self) -> None:
        if not self._walks or self._after is not None:
            return
        name = self.rows(sql.EXPORT_SNAPSHOT)[0][0]
        adopt = f"SET TRANSACTION SNAPSHOT '{name}'".encode()
        self._after, _ = Instant.begin(self._pool, [(adopt, ())])

    # Counts -------------------------------------------------------------------------------------
    def draw(self) -> int:
        """The next count: one that nobody was ever given, and that no crash brings back."""
        self._ceiling.reach(self.drawn + 1)
        if self.drawn == self._reserved:
            self._reserved += max(COUNTS_RESERVED, self.drawn - self.base.count)
            self.rows(sql.SET_DRAWN, [Int8(self._reserved)])
        self.drawn += 1
        return self.drawn

    def jump(self, sequence: int) -> None:
        """Let its commit be this one, and the first of a history that has nothing before."""
        self.previous, self.sequence = -1, sequence

    # The end ------------------------------------------------------------------------------------
    def roll_back(self) -> None:
        """End it without a trace but the counts it drew. Nobody waits for that."""
        try:
            if not self._session.is_lost:
                self._hand_over()
        except ConduitStoreError:
            self._walks.clear()  # They find out when they go on.
        finally:
            self._session.end(b"SELECT setval('drawn', %d);" % self.drawn)
            self._pool.give_back(self._session)

    def commit(self, tx: Transaction, events: Events, settings: Settings, holder: str) -> None:
        """Write it all and commit. ``is_heard`` then says whether another process watches.

        Raises:
            ConnectionLostError: whether it happened is told by the token.
        """
        try:
            self._hand_over()
            statements = self._statements(tx, events, settings, holder)
            self.is_heard = bool(self._session.run(statements)[-2][0][0])
        except ConnectionLostError:
            raise
        except BaseException:
            self._pool.give_back(self._session)
            raise
        self._pool.give_back(self._session)

    def _statements(
        self, tx: Transaction, events: Events, settings: Settings, holder: str
    ) -> list[Statement]:
        made = self.made_by(tx)
        return [
            *self._statements_of_trees(tx, made),
            *_statements_of_rows(tx, events, made),
            *self._statements_of_commit(tx, events, made),
            *self._statements_of_trimming(settings),
            (sql.SET_DRAWN, [Int8(self.drawn)]),
            (sql.ANYBODY_WATCHES, [holder]),
            (sql.COMMIT, ()),
        ]

    def made_by(self, tx: Transaction) -> dict[str, int]:
        """The trees that are new with its commit, and their numbers."""
        return {name: self.base.trees + at for at, name in enumerate(tx.created, 1)}

    def changes(self, tx: Transaction) -> bool:
        """Whether its commit changes anything but entries."""
        is_changed = tx.created or tx.dropped or tx.count != self.base.count
        return bool(is_changed or self.previous != self.base.sequence)

    def lose(self) -> None:
        """Its connection is gone."""
        self._pool.discard(self._session)

    def _statements_of_trees(self, tx: Transaction, made: dict[str, int]) -> Iterator[Statement]:
        for name, number in made.items():
            yield sql.table(number).create, ()
            yield sql.INSERT_TREE, [Int8(number), name]
        if tx.dropped is not None:
            number = tx.numbers[tx.dropped]
            yield sql.DELETE_TREE, [Int8(number)]
            yield sql.INSERT_DROPPED, [Int8(number)]

    def _statements_of_commit(
        self, tx: Transaction, events: Events, made: dict[str, int]
    ) -> Iterator[Statement]:
        base, sequence = self.base, self.sequence
        changes_trees = made or tx.dropped is not None
        numbers = (
            sequence,
            self.previous,
            tx.count,
            sequence if changes_trees else base.catalog,
            base.trees + len(made),
        )
        yield sql.INSERT_COMMIT, [*map(Int8, numbers), self.token, encode(events)]
        if self._locks_row:
            yield sql.TOUCH_ROW, [Int8(sequence)]

    def _statements_of_trimming(self, settings: Settings) -> Iterator[Statement]:
        sequence = self.sequence
        if sequence % min(TRIM_EVERY, settings.history_keep_total) == 0:
            yield trimming(sequence, settings)


def trimming(sequence: int, settings: Settings) -> Statement:
    """Forgets old commits, never the newest one."""
    oldest = Int8(sequence - settings.history_keep_total)
    return sql.TRIM, [Int8(sequence), oldest, settings.history_keep_s]


def _statements_of_rows(
    tx: Transaction, events: Events, made: dict[str, int]
) -> Iterator[Statement]:
    for name, happened in events.by_tree.items():
        number = tx.drafts[name].number
        table = sql.table(made[name] if number is None else number)
        inserted = [event for event in happened if isinstance(event, Insert)]
        removed = [event.key for event in happened if not isinstance(event, Insert)]
        for start in range(0, len(removed), STATEMENT_ROWS):
            yield table.delete, [removed[start : start + STATEMENT_ROWS]]
        for some in _pieces(inserted):
            keys = [event.key for event in some]
            yield table.upsert, [keys, [event.value for event in some]]


def _pieces(inserted: list[Insert]) -> Iterator[list[Insert]]:
    """Runs of bounded size."""
    some: list[Insert] = []
    size = 0
    for event in inserted:
        some.append(event)
        size += len(event.key) + len(event.value)
        if size >= STATEMENT_BYTES or len(some) == STATEMENT_ROWS:
            yield some
            some, size = [], 0
    if some:
        yield some
