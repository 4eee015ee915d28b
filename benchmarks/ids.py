"""Ids a second: one call each, and reserved in blocks that are then iterated.

    python benchmarks/ids.py [--total N]

Both ways give numbers that are never given out again, over any crash. A block costs one call
however long it is; iterating it is a loop over a `range`, in Python or, where something written in
C consumes it, in C.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable

from conduitstore import engine
from conduitstore.kv import Database

THREADS = 4
ROUNDS = 3


def call_each(db: Database, total: int) -> None:
    generate = db.generate_id
    for _ in itertools.repeat(None, total):
        generate()


def call_from_threads(db: Database, total: int) -> None:
    share = (db, total // THREADS)
    threads = [threading.Thread(target=call_each, args=share) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def loop_over_block(db: Database, total: int) -> None:
    for _ in db.reserve_ids(total):
        pass


def consume_block(db: Database, total: int) -> None:
    deque(db.reserve_ids(total), maxlen=0)


WAYS: dict[str, Callable[[Database, int], None]] = {
    "generate_id(), one thread": call_each,
    f"generate_id(), {THREADS} threads": call_from_threads,
    "reserve_ids(), a Python loop over it": loop_over_block,
    "reserve_ids(), consumed in C": consume_block,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Ids a second.")
    parser.add_argument("--total", type=int, default=1_000_000)
    total = parser.parse_args().total
    print(f"Python {platform.python_version()}, {total:,} ids, best of {ROUNDS}")
    for name, rate in rates(total).items():
        print(f"{name:40} {rate / 1e6:8.2f} million a second")


def rates(total: int) -> dict[str, float]:
    """Ids a second, each way to get them."""
    with tempfile.TemporaryDirectory() as directory, engine.open(directory) as db:
        return {name: total / best(way, db, total) for name, way in WAYS.items()}


def best(way: Callable[[Database, int], None], db: Database, total: int) -> float:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        way(db, total)
        times.append(time.perf_counter() - begin)
    return min(times)


if __name__ == "__main__":
    main()
