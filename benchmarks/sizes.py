"""What size costs: load 10^4 to 10^7 rows, then measure points, opening, memory, disk.

    python benchmarks/sizes.py [--rows 10000,1000000] [--peers A,B] [--to DIR]

Each contender and size runs in a process of its own, one after another: memory is what the process
has, and an engine that was killed is really killed. For each it prints microseconds for a row
loaded in batches of 1,000, for a first get and a second one of the same rows, and for an insert;
seconds to open after a clean close and after a kill; bytes on disk for a row; MiB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import Contender, Setup, field_of
from peers.field import FLOOR
from suite import report
from suite.world import TREE, batches, event, key_of

HERE = Path(__file__).parent
ROOMS = 50
VALUE_BYTES = 100
POINTS = 20_000
CACHE_BYTES = 256 << 20


def rows_of(total: int) -> object:
    chance = random.Random(1)
    return ((TREE, key_of(n % ROOMS, n), event(chance, VALUE_BYTES)) for n in range(total))


def opened(name: str, directory: Path) -> Contender:
    directory.mkdir(exist_ok=True)
    return field_of([name])[name](Setup(directory, [TREE], cache_bytes=CACHE_BYTES))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def disk_bytes(directory: Path) -> int:
    """As the system counts it: LMDB's file is sparse."""
    files = (file for file in directory.rglob("*") if file.is_file())
    return sum(file.stat().st_blocks * 512 for file in files)


def warmed(name: str, directory: Path) -> None:
    """Everything that opening imports is imported."""
    opened(name, directory / "warm").close()


def per_point(contender: Contender, total: int) -> dict[str, float]:
    """Microseconds of gets and of an insert."""
    chance = random.Random(2)
    numbers = [chance.randrange(total) for _ in range(POINTS)]
    keys = [key_of(number % ROOMS, number) for number in numbers]
    get = contender.getter(TREE)
    taken = []
    for _ in range(2):
        started = time.perf_counter()
        found = sum(get(key) is not None for key in keys)
        taken.append((time.perf_counter() - started) / POINTS * 1e6)
        assert found == POINTS
    rows = [(key_of(n % ROOMS, total + n), event(chance, VALUE_BYTES)) for n in range(POINTS // 4)]
    started = time.perf_counter()
    for key, value in rows:
        contender.insert(TREE, key, value)
    insert_us = (time.perf_counter() - started) / len(rows) * 1e6
    return {"first_get_us": taken[0], "get_us": taken[1], "insert_us": insert_us}


def load(name: str, directory: Path, total: int) -> dict[str, float]:
    """Load, close cleanly; what a killed process leaves is made by :func:`points`."""
    contender = opened(name, directory)
    started = time.perf_counter()
    for rows in batches(rows_of(total)):  # type: ignore[arg-type]
        contender.write(rows)
    seconds = time.perf_counter() - started
    contender.settle()
    contender.close()
    return {"load_us": seconds / total * 1e6, "disk_bytes_a_row": disk_bytes(directory) / total}


def points(name: str, directory: Path, total: int) -> dict[str, float]:
    """Open what was closed, use it, and die."""
    warmed(name, directory)
    started = time.perf_counter()
    contender = opened(name, directory)
    found = contender.getter(TREE)(key_of(0, 0))
    clean = time.perf_counter() - started
    assert found is not None
    used = per_point(contender, total)
    tell({"open_s": clean, **used, "memory_mib": resident_bytes() / 2**20})
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def after_kill(name: str, directory: Path, total: int) -> dict[str, float]:
    warmed(name, directory)
    started = time.perf_counter()
    contender = opened(name, directory)
    found = contender.getter(TREE)(key_of((POINTS // 4 - 1) % ROOMS, total + POINTS // 4 - 1))
    seconds = time.perf_counter() - started
    assert found is not None, "an insert that had returned is gone"
    contender.close()
    return {"open_after_kill_s": seconds}


STAGES = {"load": load, "points": points, "after_kill": after_kill}


def tell(found: dict[str, float]) -> None:
    print(json.dumps(found), flush=True)


def measured(name: str, total: int, directory: Path) -> dict[str, float]:
    """All stages, each in a process of its own."""
    found: dict[str, float] = {"rows": total}
    for stage in STAGES:
        command = [sys.executable, __file__, "--stage", stage, name, str(directory), str(total)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this file
        if run.returncode not in (0, -signal.SIGKILL):
            raise SystemExit(run.stderr)
        found |= json.loads(run.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--peers", help="names, with commas between; all that are installed")
    parser.add_argument("--to", type=Path, default=HERE / "results", help="where results go")
    parser.add_argument("--stage", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        stage, name, directory, total = options.stage
        tell(STAGES[stage](name, Path(directory), int(total)))
        return
    names = [n for n in field_of(options.peers.split(",") if options.peers else None) if n != FLOOR]
    results: list[dict[str, float | str]] = []
    for total in map(int, options.rows.split(",")):
        for name in names:
            with tempfile.TemporaryDirectory(prefix="conduitstore-bench-") as directory:
                found = measured(name, total, Path(directory))
            if not results:
                print(f"{'':14}" + "".join(f"{head:>18}" for head in found))
            print(
                f"{name:14}" + "".join(f"{value:>18,.2f}" for value in found.values()), flush=True
            )
            results.append({"contender": name, **found})
    everything = {"conditions": report.conditions(0, 1), "results": results}
    options.to.mkdir(parents=True, exist_ok=True)
    (options.to / "sizes.json").write_text(json.dumps(everything, indent=1), encoding="utf-8")
    grown(results)


def grown(results: list[dict[str, float | str]]) -> None:
    """How many times dearer an operation is at the largest size than at the smallest."""
    for name in dict.fromkeys(str(line["contender"]) for line in results):
        own = [line for line in results if line["contender"] == name]
        told = []
        for what in ("load_us", "get_us", "insert_us"):
            ratio = float(own[-1][what]) / float(own[0][what])
            told.append(f"{what} x{ratio:.2f}")
        print(f"{name:14} grew " + ", ".join(told))


if __name__ == "__main__":
    main()
