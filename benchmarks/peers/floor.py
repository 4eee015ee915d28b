"""The floor: a dict and a sorted list of its keys, in memory, keeping nothing safe.

What Python itself costs. Nobody who keeps anything can be much quicker.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from .contender import Get, Getter, Page, Read, Row, Setup, Write


class OnFloor:
    name = "dict + bisect"

    def __init__(self, setup: Setup) -> None:
        self._rows: dict[str, dict[bytes, bytes]] = {name: {} for name in setup.trees}
        self._keys: dict[str, list[bytes]] = {name: [] for name in setup.trees}

    def getter(self, tree: str) -> Getter:
        return self._rows[tree].get

    def insert(self, tree: str, key: bytes, value: bytes) -> None:
        rows = self._rows[tree]
        if key not in rows:
            keys = self._keys[tree]
            keys.insert(bisect_left(keys, key), key)
        rows[key] = value

    def write(self, writes: Iterable[Write]) -> None:
        for tree, key, value in writes:
            if value is not None:
                self.insert(tree, key, value)
            elif self._rows[tree].pop(key, None) is not None:
                keys = self._keys[tree]
                del keys[bisect_left(keys, key)]

    def page(self, page: Page) -> list[Row]:
        keys, rows = self._keys[page.tree], self._rows[page.tree]
        lo, hi = bisect_left(keys, page.lo), bisect_left(keys, page.hi)
        if page.reverse:
            found = keys[max(lo, hi - page.limit) : hi][::-1]
        else:
            found = keys[lo : min(hi, lo + page.limit)]
        return [(key, rows[key]) for key in found]

    def read(self, reads: Iterable[Read]) -> list[object]:
        return [
            self._rows[read.tree].get(read.key) if isinstance(read, Get) else self.page(read)
            for read in reads
        ]

    def scan(self, tree: str) -> Iterable[Row]:
        rows = self._rows[tree]
        return [(key, rows[key]) for key in self._keys[tree]]

    def settle(self) -> None:
        """Nothing is put off."""

    def close(self) -> None:
        """Nothing is kept."""
