"""SQLite by Python's own module: a write-ahead log, a table a tree, rows ordered by key."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from threading import Lock, local

from .contender import Get, Getter, Page, Read, Row, Setup, Write

PAGE_BYTES = 4096


class OnSqlite:
    """A connection a thread, as its documentation asks; each keeps its prepared statements.

    Writers line up at a lock: SQLite itself has them sleep for a while and look again.
    """

    name = "SQLite"

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._threads = local()
        self._writing = Lock()
        for tree in setup.trees:
            self._db.execute(
                f"CREATE TABLE IF NOT EXISTS {tree} "
                "(key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
            )

    @property
    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._threads, "db", None)
        if db is None:
            path = self._setup.directory / self.name
            path.mkdir(exist_ok=True)
            db = sqlite3.connect(path / "rows", isolation_level=None, timeout=60)
            for pragma in (
                "journal_mode = WAL",
                f"synchronous = {'FULL' if self._setup.is_durable else 'NORMAL'}",
                f"cache_size = -{self._setup.cache_bytes // 1024}",
                f"wal_autocheckpoint = {self._setup.log_bytes // PAGE_BYTES}",
            ):
                db.execute(f"PRAGMA {pragma}")
            self._threads.db = db
        return db

    def getter(self, tree: str) -> Getter:
        ask = self._db.execute
        statement = f"SELECT value FROM {tree} WHERE key = ?"

        def get(key: bytes) -> bytes | None:
            row = ask(statement, (key,)).fetchone()
            return None if row is None else row[0]

        return get

    def insert(self, tree: str, key: bytes, value: bytes) -> None:
        with self._writing:
            self._db.execute(f"INSERT OR REPLACE INTO {tree} VALUES (?, ?)", (key, value))

    def write(self, writes: Iterable[Write]) -> None:
        with self._writing:
            self._write(self._db, writes)

    def _write(self, db: sqlite3.Connection, writes: Iterable[Write]) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            for (tree, removes), rows in by_statement(writes).items():
                kind = (
                    "DELETE FROM {} WHERE key = ?"
                    if removes
                    else "INSERT OR REPLACE INTO {} VALUES (?, ?)"
                )
                db.executemany(kind.format(tree), rows)
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def page(self, page: Page) -> list[Row]:
        order = "DESC" if page.reverse else "ASC"
        return self._db.execute(
            f"SELECT key, value FROM {page.tree} "
            f"WHERE key >= ? AND key < ? ORDER BY key {order} LIMIT ?",
            (page.lo, page.hi, page.limit),
        ).fetchall()

    def read(self, reads: Iterable[Read]) -> list[object]:
        self._db.execute("BEGIN")
        found: list[object] = [
            self.getter(read.tree)(read.key) if isinstance(read, Get) else self.page(read)
            for read in reads
        ]
        self._db.execute("COMMIT")
        return found

    def scan(self, tree: str) -> Iterable[Row]:
        return self._db.execute(f"SELECT key, value FROM {tree} ORDER BY key")

    def settle(self) -> None:
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._db.close()


def by_statement(writes: Iterable[Write]) -> dict[tuple[str, bool], list[Sequence[bytes]]]:
    """Rows by table and by whether they go, so that each statement runs over all of its rows."""
    rows: dict[tuple[str, bool], list[Sequence[bytes]]] = defaultdict(list)
    for tree, key, value in writes:
        rows[tree, value is None].append((key,) if value is None else (key, value))
    return rows
