"""What a homeserver asks of its store, on conduitstore and on SQLite, side by side in one run.

    python benchmarks/homeserver.py [--rows N] [--seed N]

Both keep the same rows, ordered by the same byte keys, with equal durability: a commit is in the
kernel's hands when its call returns, so that a killed process loses nothing, and power loss may
take the newest. SQLite gets write-ahead logging, `WITHOUT ROWID` and prepared statements.

Every measure runs on both in turn, several times, and the best time of each counts. Printed are
both times per operation and their ratio; below 1 conduitstore is quicker. See README.md on what to
make of it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from conduitstore import engine

ROUNDS = 3
ROOMS = 50
VALUE_BYTES = 700  # about an event
PAGE_EVENTS = 10
CACHE_BYTES = 64 * 1024 * 1024
OPERATIONS = 2_000

Rows = list[tuple[bytes, bytes]]


class Contender(Protocol):
    """The few operations that are compared."""

    def insert(self, key: bytes, value: bytes) -> None:
        """One commit."""

    def insert_many(self, rows: Rows) -> None:
        """One commit for all."""

    def get(self, key: bytes) -> bytes | None: ...
    def page(self, prefix: bytes, limit: int) -> Rows:
        """The last entries under a prefix, last first."""

    def close(self) -> None: ...


class OnConduitstore:
    """The embedded engine, without parts above it."""

    def __init__(self, directory: Path) -> None:
        self._db = engine.open(directory / "conduitstore", cache_capacity_bytes=CACHE_BYTES)
        self._tree = self._db.open_tree("pduid_pdu")
        self.get = self._tree.get

    def insert(self, key: bytes, value: bytes) -> None:
        self._tree.insert(key, value)

    def insert_many(self, rows: Rows) -> None:
        batch = engine.Batch()
        for key, value in rows:
            batch.insert("pduid_pdu", key, value)
        self._db.apply_batch(batch)

    def page(self, prefix: bytes, limit: int) -> Rows:
        return list(self._tree.scan_prefix(prefix, reverse=True, limit=limit))

    def close(self) -> None:
        self._db.close()


class OnSqlite:
    """One table, ordered by its key."""

    def __init__(self, directory: Path) -> None:
        self._db = sqlite3.connect(directory / "sqlite", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = NORMAL",
            f"PRAGMA cache_size = -{CACHE_BYTES // 1024}",
            "CREATE TABLE rows (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID",
        ):
            self._db.execute(statement)

    def insert(self, key: bytes, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO rows VALUES (?, ?)", (key, value))

    def insert_many(self, rows: Rows) -> None:
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", rows)
        self._db.execute("COMMIT")

    def get(self, key: bytes) -> bytes | None:
        row = self._db.execute("SELECT value FROM rows WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def page(self, prefix: bytes, limit: int) -> Rows:
        return self._db.execute(
            "SELECT key, value FROM rows WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT ?",
            (prefix, prefix + b"\xff" * 9, limit),
        ).fetchall()

    def close(self) -> None:
        self._db.close()


class Measure(NamedTuple):
    """One thing to compare: what it does with a contender, and how many operations that is."""

    name: str
    run: Callable[[Contender], object]
    operations: int


def key_of(room: int, count: int) -> bytes:
    return room.to_bytes(8) + count.to_bytes(8)


def event(chance: random.Random) -> bytes:
    """Half of it random: real events hold hashes, signatures and repeated field names."""
    return chance.randbytes(VALUE_BYTES // 2) + b'{"type":"m.room.message"}' * (VALUE_BYTES // 50)


def measures(chance: random.Random, rows_total: int, round: int) -> Iterator[Measure]:
    """In the order they run. Each round inserts rows of its own, newer than all before."""
    counts = itertools.count(round * 10**9 + 1)
    rows = new_rows(chance, rows_total, counts)
    yield Measure("insert, 100 in a commit", lambda store: fill(store, rows), rows_total)
    stored = [key for key, _ in chance.choices(rows, k=OPERATIONS)]
    yield Measure("get, present", lambda store: list(map(store.get, stored)), OPERATIONS)
    absent = [key_of(ROOMS, count) for count in range(OPERATIONS)]
    yield Measure("get, absent", lambda store: list(map(store.get, absent)), OPERATIONS)
    prefixes = [key_of(chance.randrange(ROOMS), 0)[:8] for _ in range(OPERATIONS)]
    yield Measure(
        f"page of {PAGE_EVENTS}, newest first",
        lambda store: [store.page(prefix, PAGE_EVENTS) for prefix in prefixes],
        OPERATIONS,
    )
    single = new_rows(chance, OPERATIONS, counts)
    yield Measure("insert, one in a commit", lambda store: insert_each(store, single), OPERATIONS)


def new_rows(chance: random.Random, total: int, counts: Iterator[int]) -> Rows:
    return [(key_of(chance.randrange(ROOMS), next(counts)), event(chance)) for _ in range(total)]


def fill(store: Contender, rows: Rows) -> None:
    for start in range(0, len(rows), 100):
        store.insert_many(rows[start : start + 100])


def insert_each(store: Contender, rows: Rows) -> None:
    for key, value in rows:
        store.insert(key, value)


def check_equal(contenders: list[Contender]) -> None:
    """Times of different answers would mean nothing."""
    for room in range(ROOMS):
        ours, theirs = (store.page(key_of(room, 0)[:8], 10**9) for store in contenders)
        assert ours == theirs


def elapsed_us(measure: Measure, store: Contender) -> float:
    """Microseconds an operation."""
    started = time.perf_counter()
    measure.run(store)
    return (time.perf_counter() - started) * 1e6 / measure.operations


def best_us(
    contenders: list[Contender], chance: random.Random, rows: int
) -> dict[str, list[float]]:
    """By measure, one time for each contender; they take turns, so that noise meets both."""
    best: dict[str, list[float]] = {}
    for round in range(ROUNDS):
        for measure in measures(chance, rows, round):
            times = [elapsed_us(measure, store) for store in contenders]
            best[measure.name] = list(map(min, best.get(measure.name, times), times))
    return best


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rows", type=int, default=20_000, help="inserted in each round")
    arguments.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = arguments.parse_args()
    print(
        f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, {platform.machine()}, "
        f"{os.cpu_count()} cores; {ROUNDS} rounds of {options.rows} rows, seed {options.seed}"
    )
    with tempfile.TemporaryDirectory(prefix="conduitstore-bench-") as directory:
        contenders: list[Contender] = [
            OnConduitstore(Path(directory)),
            OnSqlite(Path(directory)),
        ]
        best = best_us(contenders, random.Random(options.seed), options.rows)
        check_equal(contenders)
        for store in contenders:
            store.close()
    print(f"{'microseconds an operation':<28}{'conduitstore':>14}{'SQLite':>10}{'ratio':>8}")
    for name, (ours, theirs) in best.items():
        print(f"{name:<28}{ours:>14.2f}{theirs:>10.2f}{ours / theirs:>8.2f}")


if __name__ == "__main__":
    main()
