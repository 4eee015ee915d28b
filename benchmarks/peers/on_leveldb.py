"""LevelDB by plyvel: a prefixed database a tree; snappy, bloom filters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import plyvel

from .contender import Get, Getter, Page, Read, Row, Setup, Write


class OnLeveldb:
    """It has no trees of its own: keys carry the tree's name, cut off again by plyvel."""

    name = "LevelDB"

    def __init__(self, setup: Setup) -> None:
        self._db = plyvel.DB(
            str(setup.directory / self.name),
            create_if_missing=True,
            lru_cache_size=setup.cache_bytes,
            write_buffer_size=setup.log_bytes,
            bloom_filter_bits=10,
        )
        self._sync = setup.is_durable
        self._prefixes = {name: name.encode() + b"\xff" for name in setup.trees}
        self._trees = {name: self._db.prefixed_db(self._prefixes[name]) for name in setup.trees}

    def getter(self, tree: str) -> Getter:
        get: Getter = self._trees[tree].get
        return get

    def insert(self, tree: str, key: bytes, value: bytes) -> None:
        self._trees[tree].put(key, value, sync=self._sync)

    def write(self, writes: Iterable[Write]) -> None:
        prefixes = self._prefixes
        with self._db.write_batch(sync=self._sync) as batch:
            for tree, key, value in writes:
                if value is None:
                    batch.delete(prefixes[tree] + key)
                else:
                    batch.put(prefixes[tree] + key, value)

    def page(self, page: Page) -> list[Row]:
        return rows_of(self._trees[page.tree], page)

    def read(self, reads: Iterable[Read]) -> list[object]:
        with self._db.snapshot() as state:
            views: dict[str, _Prefixed] = {}
            found: list[object] = []
            for read in reads:
                view = views.get(read.tree)
                if view is None:
                    view = views[read.tree] = _Prefixed(state, self._prefixes[read.tree])
                found.append(view.get(read.key) if isinstance(read, Get) else rows_of(view, read))
        return found

    def scan(self, tree: str) -> Iterable[Row]:
        rows: Iterable[Row] = self._trees[tree].iterator()
        return rows

    def settle(self) -> None:
        self._db.compact_range()

    def close(self) -> None:
        self._db.close()


class _Prefixed:
    """A tree of a snapshot, which plyvel offers for databases only."""

    def __init__(self, state: Any, prefix: bytes) -> None:
        self._state = state
        self._prefix = prefix

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._state.get(self._prefix + key)
        return value

    def iterator(self, start: bytes, stop: bytes, *, reverse: bool) -> Iterable[Row]:
        prefix, cut = self._prefix, len(self._prefix)
        rows = self._state.iterator(start=prefix + start, stop=prefix + stop, reverse=reverse)
        return ((key[cut:], value) for key, value in rows)


def rows_of(view: Any, page: Page) -> list[Row]:
    _, lo, hi, limit, reverse = page
    rows = view.iterator(start=lo, stop=hi, reverse=reverse)
    return [row for row, _ in zip(rows, range(limit), strict=False)]
