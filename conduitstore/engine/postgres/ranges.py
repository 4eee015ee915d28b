"""Many short ranges of one tree, read by one statement for as many as make a page."""

from __future__ import annotations

from collections.abc import Sequence

from conduitstore.kv import KEY_BYTES_MAX, Bounds, Item

from . import sql
from .connections import Row, Statement
from .instant import LATER_ROWS, Source

RANGES_MAX = 1_000
"""How many one statement asks for."""
ABOVE_ALL = b"\xff" * (KEY_BYTES_MAX + 1)
"""No key comes behind this one. An open end would keep the server from seeking."""
Asked = tuple[int, bytes, bytes]
"""Which range, and the bounds of what is left to read of it."""


class Ranges:
    """What was asked for, and what was read of it so far; where ``number`` is None, nothing is."""

    def __init__(
        self, number: int | None, ranges: Sequence[Bounds], limit: int | None, *, reverse: bool
    ) -> None:
        self._number = number
        self._limit = limit
        self._reverse = reverse
        self._rows_max = min(LATER_ROWS, LATER_ROWS if limit is None else limit)
        self._left = [] if number is None else _not_empty(ranges, limit)
        self._asked: list[Asked] = []
        self.found: list[list[Item]] = [[] for _ in ranges]

    def statement(self) -> Statement | None:
        """Asks for the next page; None where everything was read."""
        if not self._left or self._number is None:
            return None
        self._asked = self._left[:RANGES_MAX]
        bounds = [[asked[at] for asked in self._asked] for at in (1, 2)]
        query = sql.ranges(self._number, reverse=self._reverse)
        return query, [*bounds, self._rows_max, LATER_ROWS]

    def take(self, page: list[Row]) -> None:
        """Take in what the statement gave."""
        for at, key, value in page:
            self.found[self._asked[at - 1][0]].append((key, value))
        del self._left[: len(self._asked)]
        if len(page) == LATER_ROWS or sum(len(row[2]) for row in page) >= sql.PAGE_BYTES:
            self._left = [*self._rest(*page[-1][:2]), *self._left]

    def _rest(self, at: int, last: bytes) -> list[Asked]:
        """What was asked for behind the last row of a page that was cut."""
        number, lo, hi = self._asked[at - 1]
        rest = self._asked[at:]
        if self._limit is None or len(self.found[number]) < self._limit:
            rest.insert(0, (number, lo, last) if self._reverse else (number, last + b"\0", hi))
        return rest

    def read(self, source: Source) -> list[list[Item]]:
        """All of them."""
        while (statement := self.statement()) is not None:
            self.take(source.rows(*statement))
        # A range that a page cut was asked for once more with the whole limit.
        return [rows[: self._limit] for rows in self.found]


def _not_empty(ranges: Sequence[Bounds], limit: int | None) -> list[Asked]:
    asked = ((n, lo or b"", ABOVE_ALL if hi is None else hi) for n, (lo, hi) in enumerate(ranges))
    return [] if limit == 0 else [(number, lo, hi) for number, lo, hi in asked if lo < hi]
