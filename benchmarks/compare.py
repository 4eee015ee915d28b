"""conduitstore against LMDB, RocksDB, LevelDB, SQLite, and a dict: every workload in one run.

    python benchmarks/compare.py [--only TEXT] [--rounds N] [--peers A,B] [--seed N] [--to DIR]

Every contender holds the same rows, with the same durability, and as much cache; each line runs on
all of them in turn, in rounds, and their answers are compared. A ratio is the peer's time over
ours: above 1 conduitstore is quicker. See README.md on how to read it. Below the table stand two
figures that sled publishes of itself, and ours.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ids
from peers import field_of
from suite import basics, headlines, homeserver, report, ycsb
from suite.arena import Arena
from suite.measure import Result, run

HERE = Path(__file__).parent
IDS = 200_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="lines whose name has this in it")
    parser.add_argument("--peers", help="names, with commas between; all that are installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--to", type=Path, default=HERE / "results", help="where results go")
    options = parser.parse_args()
    openers = field_of(options.peers.split(",") if options.peers else None)
    told = report.conditions(options.seed, options.rounds)
    print("\n".join(f"{name}: {value}" for name, value in told.items()))
    results: list[Result] = []
    for arena in arenas(options.only):
        with tempfile.TemporaryDirectory(prefix="conduitstore-bench-") as directory:
            results += run(arena, openers, Path(directory), options.rounds, options.seed)
        print(f"{arena.name}: done", flush=True)
    beside = headlines.mixed(results)
    if options.only in "ids a second":
        beside += headlines.ids(ids.rates(IDS))
    if results:
        print(report.table(results))
        report.write(results, told, beside, options.to)
    print("\n".join(beside))


def arenas(only: str) -> Iterator[Arena]:
    """Those with a line that is wanted, with the lines that are."""
    for arena in (*basics.arenas(), homeserver.arena(), ycsb.arena()):
        lines = [line for line in arena.lines if only in f"{arena.name}: {line.name}"]
        if lines:
            yield replace(arena, lines=lines)


if __name__ == "__main__":
    main()
