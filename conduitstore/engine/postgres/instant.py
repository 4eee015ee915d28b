"""A moment of the store, held by a transaction that only reads; and walks over what it shows.

- An :class:`Instant` owns a session in a repeatable-read transaction. It is let go of when nobody
  keeps it any more: a snapshot that was closed lives on in its unfinished iterators.
- A :class:`Walk` reads a range a page at a time from either end, each page behind the last key of
  the one before. What it reads from may be exchanged while it goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Protocol

from conduitstore.engine.rows import backwards
from conduitstore.kv import Item

from . import sql
from .connections import Pool, Row, Session, Statement
from .faults import ConnectionLostError

FIRST_ROWS = 512
LATER_ROWS = 4_096
NO_TIMEOUT = b"SELECT set_config('statement_timeout', '0', true)"
Ends = tuple[Iterator[Item], Iterator[Item]]


class Instant:
    """Reads of one moment; any thread may ask."""

    def __init__(self, pool: Pool, session: Session) -> None:
        self._pool = pool
        self._session = session
        self._lock = threading.Lock()

    @classmethod
    def begin(cls, pool: Pool, statements: Sequence[Statement]) -> tuple[Instant, list[list[Row]]]:
        """A new one, and what the first statements on it gave, in one round trip."""
        while True:
            session = pool.take()
            was_used, session.is_used = session.is_used, True
            try:
                found = session.run([(sql.BEGIN_READING, ()), *statements])
            except BaseException as error:
                pool.give_back(session)
                if was_used and isinstance(error, ConnectionLostError):
                    continue
                raise
            return cls(pool, session), found[1:]

    def rows(self, query: bytes, params: Sequence[object] = ()) -> list[Row]:
        """Run one statement on it."""
        with self._lock:
            return self._session.rows(query, params)

    def take_time(self) -> None:
        """Let its statements take however long they do."""
        with self._lock:
            self._session.take_time()
            self._session.rows(NO_TIMEOUT)

    def __del__(self) -> None:
        with suppress(Exception):  # At the interpreter's end anything may be gone already.
            self._pool.give_back(self._session)


class Source(Protocol):
    """Where a walk reads its pages."""

    def rows(self, query: bytes, params: Sequence[object] = (), /) -> list[Row]: ...


class Span:
    """A half-open range of one tree's keys, and how many of its entries are wanted at most."""

    __slots__ = ("first_rows", "hi", "limit", "lo", "number", "values")

    def __init__(
        self,
        number: int,
        lo: bytes | None,
        hi: bytes | None,
        limit: int | None,
        *,
        values: bool = True,
    ) -> None:
        self.number = number
        self.lo = lo or None
        self.hi = hi
        self.limit = limit
        self.first_rows = min(FIRST_ROWS, FIRST_ROWS if limit is None else limit)
        self.values = values

    @property
    def is_empty(self) -> bool:
        """Whether no key can lie in it."""
        low = self.hi is not None and (self.lo or b"\0") >= self.hi
        return low or self.limit == 0

    def statement(
        self, lo: bytes | None, hi: bytes | None, rows_max: int, *, reverse: bool
    ) -> Statement:
        """Asks for the first ``rows_max`` entries of a part of it."""
        query = sql.page(
            self.number, lo=lo is not None, hi=hi is not None, reverse=reverse, values=self.values
        )
        return query, [*(bound for bound in (lo, hi) if bound is not None), rows_max]

    def first(self, *, reverse: bool) -> Statement:
        """Asks for the first page."""
        return self.statement(self.lo, self.hi, self.first_rows, reverse=reverse)

    def is_whole(self, page: list[Row], rows_max: int) -> bool:
        """Whether nothing follows a page: neither rows nor bytes cut it."""
        if len(page) == self.limit:
            return True
        return len(page) < rows_max and not (
            self.values and sum(len(row[1]) for row in page) >= sql.PAGE_BYTES
        )


class Page:
    """A range that was read whole."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def near(self) -> Iterator[Row]:
        """From the end it was read from."""
        return iter(self._rows)

    def far(self) -> Iterator[Row]:
        """From the other end."""
        return reversed(self._rows)


class Walk:
    """One range at one moment, a page at a time, behind the first one from the end it begins at."""

    def __init__(
        self,
        bounds: Span,
        source: Callable[[], Source],
        *,
        reverse: bool,
        first: list[Row],
        learn: Callable[[list[Row]], None] | None = None,
    ) -> None:
        self._bounds = bounds
        self._source = source
        self._reverse = reverse
        self._first = first
        self._learn = learn

    def near(self) -> Iterator[Row]:
        """From the end that ``reverse`` says."""
        pages = self._pages(reverse=self._reverse, first=self._first)
        return islice(pages, self._bounds.limit)

    def far(self) -> Iterator[Row]:
        """From the other end, of as many as ``near`` gives."""
        if self._bounds.limit is not None:
            return backwards(self.near())
        return self._pages(reverse=not self._reverse, first=None)

    def _pages(self, *, reverse: bool, first: list[Row] | None) -> Iterator[Row]:
        bounds = self._bounds
        lo, hi, rows_max = bounds.lo, bounds.hi, bounds.first_rows
        while not bounds.is_empty:
            page, first = first, None
            if page is None:
                page = self._source().rows(*bounds.statement(lo, hi, rows_max, reverse=reverse))
                if self._learn is not None:
                    self._learn(page)
            yield from page
            if bounds.is_whole(page, rows_max):
                return
            last: bytes = page[-1][0]
            lo, hi = (lo, last) if reverse else (last + b"\0", hi)
            rows_max = LATER_ROWS
