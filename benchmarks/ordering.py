"""Ways to make counts visible in order on PostgreSQL, side by side.

    .venv/bin/python benchmarks/ordering.py --writers 6 --seconds 3

Each writer is a process that draws a count, writes a row and commits, again and again; prints
commits and conflicts per second of each way. The server is one of its own, without fsync.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import time
from collections.abc import Callable

import psycopg

from conduitstore.testing.postgres import running

MAKE = """
    CREATE TABLE counter (one int PRIMARY KEY, count bigint NOT NULL);
    CREATE TABLE commits (count bigint PRIMARY KEY);
    CREATE TABLE rows (k bytea PRIMARY KEY, v bytea NOT NULL);
    INSERT INTO counter VALUES (0, 0);
    INSERT INTO commits VALUES (0);
"""
NEWEST = "SELECT count FROM commits ORDER BY count DESC LIMIT 1"
Connection = psycopg.Connection[tuple[int]]


def _finish(connection: Connection, key: bytes, count: int, *more: str) -> None:
    with connection.pipeline():
        connection.execute(
            "INSERT INTO rows VALUES (%s, 'v') ON CONFLICT (k) DO UPDATE SET v = 'w'", [key]
        )
        connection.execute("INSERT INTO commits VALUES (%s)", [count])
        connection.execute("COMMIT")
        for statement in more:
            connection.execute(statement.encode())


def _newest(connection: Connection) -> int:
    row = connection.execute(NEWEST).fetchone()
    assert row is not None
    return row[0]


def counter_row(connection: Connection, key: bytes) -> None:
    """One row that every transaction counts up, serializable."""
    connection.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
    row = connection.execute("UPDATE counter SET count = count + 1 RETURNING count").fetchone()
    assert row is not None
    _finish(connection, key, row[0])


def lock_inside_repeatable_read(connection: Connection, key: bytes) -> None:
    """An advisory lock inside: the snapshot is older than the wait."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    connection.execute("SELECT pg_advisory_xact_lock(1)")
    _finish(connection, key, _newest(connection) + 1)


def lock_before(connection: Connection, key: bytes) -> None:
    """A session's advisory lock, taken before BEGIN and let go of after COMMIT."""
    connection.execute(
        "SELECT pg_advisory_lock(1); COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ", prepare=False
    )
    _finish(connection, key, _newest(connection) + 1, "SELECT pg_advisory_unlock(1)")


def lock_inside_read_committed(connection: Connection, key: bytes) -> None:
    """An advisory lock inside: each statement behind it sees what is committed by then."""
    found = connection.execute(
        f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(1); {NEWEST}".encode(),
        prepare=False,
    )
    found.nextset()
    found.nextset()
    row = found.fetchone()
    assert row is not None
    _finish(connection, key, row[0] + 1)


def locked_row(connection: Connection, key: bytes) -> None:
    """A row locked FOR UPDATE, serializable: who waited for it begins again."""
    connection.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
    connection.execute("SELECT count FROM counter WHERE one = 0 FOR UPDATE")
    count = _newest(connection) + 1
    connection.execute("UPDATE counter SET count = %s", [count])
    _finish(connection, key, count)


WAYS: list[Callable[[Connection, bytes], None]] = [
    counter_row,
    lock_inside_repeatable_read,
    lock_before,
    lock_inside_read_committed,
    locked_row,
]


def _write(dsn: str, way: int, number: int, until: float, results: object) -> None:
    options = "-c synchronous_commit=off -c client_min_messages=error"
    commits = conflicts = 0
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # Conflicts are what is counted.
    with psycopg.connect(dsn, autocommit=True, options=options) as connection:
        connection.prepare_threshold = None  # Of a pipeline that fails, psycopg loses track.
        while time.time() < until:
            try:
                WAYS[way](connection, b"%d %d" % (number, commits % 100))
                commits += 1
            except (psycopg.errors.SerializationFailure, psycopg.errors.UniqueViolation):
                connection.execute("ROLLBACK")
                conflicts += 1
    results.put((commits, conflicts))  # type: ignore[attr-defined]  # a queue, of no public type


def main() -> None:
    """Measure every way in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    print(f"{'way':<30}{'commits/s':>12}{'conflicts/s':>14}")
    with running() as server:
        for way, function in enumerate(WAYS):
            with psycopg.connect(server.dsn, autocommit=True) as connection:
                connection.execute("DROP TABLE IF EXISTS counter, commits, rows")
                connection.execute(MAKE)
            results: multiprocessing.Queue[tuple[int, int]] = multiprocessing.Queue()
            until = time.time() + arguments.seconds
            writers = [
                multiprocessing.Process(target=_write, args=(server.dsn, way, n, until, results))
                for n in range(arguments.writers)
            ]
            for writer in writers:
                writer.start()
            found = [results.get() for _ in writers]
            for writer in writers:
                writer.join()
            commits, conflicts = (sum(one) / arguments.seconds for one in zip(*found, strict=True))
            print(f"{function.__name__:<30}{commits:>12.0f}{conflicts:>14.0f}")


if __name__ == "__main__":
    main()
