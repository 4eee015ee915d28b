"""Counts and ids that are never given out twice: durable rows that are ahead of both.

- The ceiling of the counts is raised, durably and in steps, before a count above it is drawn. After
  a crash of the server that lost commits, counts go on from there.
- Ids are reserved durably in blocks, each for one process.
"""

from __future__ import annotations

import threading

from psycopg.types.numeric import Int8

from conduitstore.errors import ClosedError, InvalidArgumentError
from conduitstore.kv import IDS_MAX

from . import sql
from .connections import Pool, Row, Statement

COUNT_STEP = 1 << 16
"""How many counts may be skipped by a crash of the server."""


def durably(pool: Pool, *statements: Statement) -> list[list[Row]]:
    """Run statements as one transaction that is on the platter when this returns.

    Where a connection is lost it may run twice: then some numbers are skipped.
    """
    script = [(sql.BEGIN, ()), (sql.SYNC_COMMIT, ()), *statements, (sql.COMMIT, ())]
    return pool.run(script)[2:-1]


class CountCeiling:
    """Up to which count any may be drawn. Used by one transaction at a time."""

    def __init__(self, pool: Pool, value: int) -> None:
        self._pool = pool
        self._value = value

    def reach(self, count: int) -> None:
        """See to it that ``count`` may be drawn: next to always nothing is to be done."""
        if count > self._value:
            raised = (sql.RAISE_COUNTS, [Int8(-(-count // COUNT_STEP) * COUNT_STEP)])
            self._value = durably(self._pool, raised)[0][0][0]


class Ids:
    """Ids out of a block that this process alone has."""

    def __init__(self, pool: Pool, block: int) -> None:
        self._pool = pool
        self._block = block
        self._lock = threading.Lock()
        self._next = 0
        self._end = 0
        self._is_closed = False

    def take(self, total: int) -> range:
        """``total`` consecutive ids."""
        if type(total) is not int or total < 0:
            raise InvalidArgumentError(f"ids are reserved by a total of 0 or more, not {total!r}")
        with self._lock:
            if self._is_closed:
                raise ClosedError("the store is closed")
            if self._next + total > self._end:
                self._reserve(total)
            self._next += total
            return range(self._next - total, self._next)

    def _reserve(self, total: int) -> None:
        """Let the block have room for ``total``: from where it is if nobody else took any since."""
        for size in (total + self._block, total):
            if size < IDS_MAX:
                begin = Int8(self._end), Int8(self._next)
                asked = [*begin, Int8(size), *begin, Int8(IDS_MAX - 1 - size)]
                rows = durably(self._pool, (sql.TAKE_IDS, asked))[0]
                if rows:
                    self._end = rows[0][0]
                    self._next = self._end - size
                    return
        raise InvalidArgumentError(f"there are no {total} ids left below {IDS_MAX}")

    def next_after(self, reserved: int) -> int:
        """The next id where ``reserved`` are taken by all processes."""
        with self._lock:
            return self._next if reserved == self._end else reserved

    def forget_below(self, number: int) -> None:
        """Give out no id below ``number``."""
        with self._lock:
            self._next = min(max(self._next, number), self._end)

    def close(self) -> None:
        """Give out no more, and give back what is left, if nobody else took any since."""
        with self._lock:
            self._is_closed = True
            if self._next < self._end:
                self._pool.rows(sql.RETURN_IDS, [Int8(self._next), Int8(self._end)])
                self._end = self._next
