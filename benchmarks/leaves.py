"""How large a leaf should be: what its bounds cost each kind of work, side by side in one run.

    python benchmarks/leaves.py [--rows N] [--value-bytes N] [--seed N]

Rows look like events: keys of a room and a count, values half random.
For each pair of `leaf_entries_max` and `leaf_bytes_max` a store is made, and these are measured:

- insert: one row a commit, under random keys, with the checkpoints that it makes necessary;
- hot: gets of rows that are in memory;
- cold: gets of any row, the data being four times the cache;
- skewed: the same, but a few rows are asked for most often (Zipf, exponent 1, scattered);
- page: the newest ten rows of any room, under the same cache;
- scan: all rows, per row;
- disk: bytes an entry takes in a compacted store; index: bytes of memory that never leave.

Times are microseconds an operation, the best of some rounds. Read the columns against each other.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from conduitstore import engine

BOUNDS = (
    (32, 32),
    (64, 32),
    (128, 32),
    (256, 32),
    (256, 16),
    (128, 16),
    (64, 16),
    (128, 8),
    (256, 4),
)
ROOMS = 200
ROUNDS = 3
GETS = 4_000
WORDS = (b'"type":"m.room.message"', b'"sender":"@alice:example.org"', b'"origin_server_ts":')

Rows = list[tuple[bytes, bytes]]


def rows_of(chance: random.Random, total: int, value_bytes: int) -> Rows:
    return [
        (
            b"!room%04d:example.org\xff" % chance.randrange(ROOMS) + (10**6 + count).to_bytes(8),
            b"".join(chance.choices(WORDS, k=value_bytes // 50))
            + chance.randbytes(value_bytes // 2),
        )
        for count in range(total)
    ]


def microseconds(run: Callable[[], object], operations: int) -> float:
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1e6 / operations


def best(run: Callable[[], object], operations: int) -> float:
    return min(microseconds(run, operations) for _ in range(ROUNDS))


def insert_each(path: Path, rows: Rows, settings: dict[str, Any]) -> None:
    with engine.open(path, **settings) as db:
        for key, value in rows:
            db.insert(key, value)
        db.compact()


def measured(path: Path, rows: Rows, chance: random.Random, bounds: tuple[int, int]) -> list[float]:
    entries_max, kib_max = bounds
    settings = {
        "leaf_entries_max": entries_max,
        "leaf_bytes_max": kib_max * 1024,
        "checkpoint_log_bytes": 2 << 20,
        "flush_every_ms": None,
    }
    shuffled = chance.sample(rows, len(rows))
    figures = [microseconds(lambda: insert_each(path, shuffled, settings), len(rows))]
    data_bytes = sum(len(key) + len(value) for key, value in rows)
    with engine.open(path, **settings) as db:
        hot = [key for key, _ in rows[:500]]
        for _ in range(2):
            list(map(db.get, hot))
        figures.append(best(lambda: list(map(db.get, hot)), len(hot)))
        figures.append(best(lambda: list(db), len(rows)))
    with engine.open(path, cache_capacity_bytes=data_bytes // 4, **settings) as db:
        for weights in (None, [1 / n for n in range(1, len(rows) + 1)]):
            asked = [key for key, _ in drawn(chance, shuffled, weights)]
            figures.append(best(lambda asked=asked: list(map(db.get, asked)), GETS))  # type: ignore[misc]
        prefixes = [chance.choice(rows)[0][:-8] for _ in range(GETS // 4)]
        figures.append(
            best(
                lambda: [list(db.scan_prefix(p, reverse=True, limit=10)) for p in prefixes],
                len(prefixes),
            )
        )
        stats = db.stats()
        figures.append(stats.live_bytes / len(rows))
        figures.append(stats.index_bytes / len(rows))
    return figures


def drawn(chance: random.Random, rows: Rows, weights: Sequence[float] | None) -> Rows:
    cumulative = None if weights is None else list(accumulate(weights))
    return chance.choices(rows, cum_weights=cumulative, k=GETS)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rows", type=int, default=20_000)
    arguments.add_argument("--value-bytes", type=int, default=170)
    arguments.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = arguments.parse_args()
    print(f"{options.rows} rows, values of about {options.value_bytes} bytes, seed {options.seed}")
    names = ("insert", "hot", "scan", "cold", "skewed", "page", "disk", "index")
    print("entries   KiB" + "".join(f"{name:>9}" for name in names))
    rows = rows_of(random.Random(options.seed), options.rows, options.value_bytes)
    with tempfile.TemporaryDirectory(prefix="conduitstore-leaves-") as directory:
        for bounds in BOUNDS:
            chance = random.Random(options.seed)
            figures = measured(Path(directory) / "{}-{}".format(*bounds), rows, chance, bounds)
            print(f"{bounds[0]:>7}{bounds[1]:>6}" + "".join(f"{x:>9.2f}" for x in figures))


if __name__ == "__main__":
    main()
