"""What a transaction wrote to one tree, over what the tree holds, and what it has seen of that."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Final, cast

from conduitstore.engine.rows import Held, Rows
from conduitstore.kv import Item

from . import sql
from .connections import Row
from .instant import Source

KNOWN_BYTES_MAX = 32 << 20
"""How much of what it read a transaction remembers."""
KEYS_ASKED_MAX = 10_000


class _There:
    """Stands for a value that was not read."""


THERE: Final = _There()


class Draft:
    """One tree in a transaction; ``number`` is None while the tree is only to be made."""

    __slots__ = ("_known", "_known_bytes", "_source", "number", "over")

    def __init__(self, source: Source, number: int | None) -> None:
        self._source = source
        self.number = number
        self.over = Rows()
        self._known: dict[bytes, bytes | _There | None] = {}
        self._known_bytes = 0

    def learn(self, rows: Iterable[Row]) -> None:
        """Remember entries, or keys, that were read."""
        for key, *value in rows:
            self._remember(key, value[0] if value else self._known.get(key) or THERE)

    def _remember(self, key: bytes, value: bytes | _There | None) -> None:
        if self._known_bytes > KNOWN_BYTES_MAX:
            self._known.clear()
            self._known_bytes = 0
        self._known[key] = value
        self._known_bytes += len(key) + (len(value) if isinstance(value, bytes) else 0) + 100

    def committed(self, key: bytes) -> bytes | None:
        """The value that the tree has for ``key``."""
        value = self._known.get(key, THERE)
        if not isinstance(value, _There):
            return value
        if self.number is None:
            return None
        rows = self._source.rows(sql.table(self.number).get, [key])
        found: bytes | None = rows[0][0] if rows else None
        self._remember(key, found)
        return found

    def committed_many(self, keys: Iterable[bytes]) -> dict[bytes, bytes | None]:
        """The values that the tree has for ``keys``."""
        wanted = dict.fromkeys(keys)
        found: dict[bytes, bytes | None] = {}
        for key in wanted:
            value = self._known.get(key, THERE)
            if not isinstance(value, _There):
                found[key] = value
        asked = [key for key in wanted if key not in found]
        if asked and self.number is not None:
            rows = self._source.rows(sql.table(self.number).get_many, [asked])
            values: dict[bytes, bytes] = dict(cast("list[Item]", rows))
            for key in asked:
                found[key] = values.get(key)
                self._remember(key, found[key])
        return found

    def is_there(self, keys: Iterable[bytes]) -> set[bytes]:
        """Which of ``keys`` the tree has."""
        there, asked = set(), []
        for key in keys:
            if key not in self._known:
                asked.append(key)
            elif self._known[key] is not None:
                there.add(key)
        if self.number is not None:
            for start in range(0, len(asked), KEYS_ASKED_MAX):
                some = asked[start : start + KEYS_ASKED_MAX]
                rows = self._source.rows(sql.table(self.number).has_many, [some])
                there.update(row[0] for row in rows)
        return there


def merged(
    base: Iterator[Item], over: Held, lo: bytes | None, hi: bytes | None, *, reverse: bool
) -> Iterator[Item]:
    """``base`` in order, as the entries written ``over`` it (None: removed) change it."""
    entries = over.entries
    written = ((key, entries[key]) for key in entries.irange(lo, hi, (True, False), reverse))
    both = heapq.merge(written, base, key=itemgetter(0), reverse=reverse)
    for key, same in groupby(both, itemgetter(0)):
        value = next(same)[1]
        if value is not None:
            yield key, value
