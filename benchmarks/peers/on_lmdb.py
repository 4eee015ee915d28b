"""LMDB by py-lmdb: a named database a tree, a read transaction an operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from typing import Any

import lmdb

from .contender import Get, Getter, Page, Read, Row, Setup, Write

MAP_BYTES = 1 << 36


class OnLmdb:
    """Without durable commits it is opened with ``sync=False``: power loss may then damage it."""

    name = "LMDB"

    def __init__(self, setup: Setup) -> None:
        self._env = lmdb.open(
            str(setup.directory / self.name),
            map_size=MAP_BYTES,
            max_dbs=len(setup.trees),
            sync=setup.is_durable,
            max_spare_txns=16,
        )
        self._trees = {name: self._env.open_db(name.encode()) for name in setup.trees}

    def getter(self, tree: str) -> Getter:
        begin, db = self._env.begin, self._trees[tree]

        def get(key: bytes) -> bytes | None:
            with begin(db) as view:
                value: bytes | None = view.get(key)
                return value

        return get

    def insert(self, tree: str, key: bytes, value: bytes) -> None:
        with self._env.begin(self._trees[tree], write=True) as tx:
            tx.put(key, value)

    def write(self, writes: Iterable[Write]) -> None:
        trees = self._trees
        with self._env.begin(write=True) as tx:
            put, delete = tx.put, tx.delete
            for tree, key, value in writes:
                if value is None:
                    delete(key, db=trees[tree])
                else:
                    put(key, value, db=trees[tree])

    def page(self, page: Page) -> list[Row]:
        with self._env.begin(self._trees[page.tree]) as view:
            return rows_of(view.cursor(), page)

    def read(self, reads: Iterable[Read]) -> list[object]:
        trees = self._trees
        with self._env.begin() as view:
            return [
                view.get(read.key, db=trees[read.tree])
                if isinstance(read, Get)
                else rows_of(view.cursor(trees[read.tree]), read)
                for read in reads
            ]

    def scan(self, tree: str) -> Iterator[Row]:
        with self._env.begin(self._trees[tree]) as view:
            yield from view.cursor()

    def settle(self) -> None:
        self._env.sync(True)

    def close(self) -> None:
        self._env.close()


def rows_of(cursor: Any, page: Page) -> list[Row]:
    _, lo, hi, limit, reverse = page
    if not reverse:
        found = cursor.iternext() if cursor.set_range(lo) else ()
        return list(islice(takewhile(lambda row: row[0] < hi, found), limit))
    is_inside = cursor.prev() if cursor.set_range(hi) else cursor.last()
    found = cursor.iterprev() if is_inside else ()
    return list(islice(takewhile(lambda row: row[0] >= lo, found), limit))
