"""What size costs: load 10^4 to 10^7 rows, then measure points, opening, memory, disk.

    python benchmarks/sizes.py [--rows 10000,10000000] [--peers A,B] [--cache-mb N] [--minutes N]

Each contender and size runs in a process of its own, one after another: memory is what the process
has, and an engine that was killed is really killed. For each it prints microseconds for a row
loaded in batches of 1,000, for a first get and a second one of the same rows, and for an insert;
seconds to open after a clean close and after a kill; bytes on disk for a row; MiB of memory. At the
end stands how much dearer each became from the smallest size to the largest, beside LMDB.

The cache is small beside the larger sizes, but for LMDB, whose cache is all memory that the system
has left: compare growth also with a `--cache-mb` that holds what is read.

Whoever is not done with a size after so many minutes is stopped, and the next begins, so a run ends
in time. What is done is kept in `sizes.json` at once: the same command again goes on from there, as
long as commit, machine and versions are the same.
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
from collections.abc import Iterator
from pathlib import Path

from peers import Contender, Setup, Write, field_of
from peers.field import FLOOR
from suite import report
from suite.world import TREE, batches, event, key_of

HERE = Path(__file__).parent
ROOMS = 50
VALUE_BYTES = 100
POINTS = 20_000
STEP_BATCHES = 1_000
"""After so many batches of a load it is told how far it is."""
GROWING = ("load_us", "get_us", "insert_us")
RIVAL = "LMDB"

Found = dict[str, float | str]


def rows_of(total: int) -> Iterator[Write]:
    chance = random.Random(1)
    return (Write(TREE, key_of(n % ROOMS, n), event(chance, VALUE_BYTES)) for n in range(total))


def opened(name: str, directory: Path, cache_mb: int) -> Contender:
    directory.mkdir(exist_ok=True)
    return field_of([name])[name](Setup(directory, [TREE], cache_bytes=cache_mb << 20))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def disk_bytes(directory: Path) -> int:
    """As the system counts it: LMDB's file is sparse."""
    files = (file for file in directory.rglob("*") if file.is_file())
    return sum(file.stat().st_blocks * 512 for file in files)


def warmed(name: str, directory: Path, cache_mb: int) -> None:
    """Everything that opening imports is imported."""
    opened(name, directory / "warm", cache_mb).close()


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


def load(name: str, directory: Path, total: int, cache_mb: int) -> dict[str, float]:
    """Load, close cleanly; what a killed process leaves is made by :func:`points`."""
    contender = opened(name, directory, cache_mb)
    started = time.perf_counter()
    for number, rows in enumerate(batches(rows_of(total))):
        contender.write(rows)
        if number % STEP_BATCHES == STEP_BATCHES - 1:
            progress(f"{(number + 1) * len(rows):,} of {total:,} rows")
    seconds = time.perf_counter() - started
    contender.settle()
    contender.close()
    return {"load_us": seconds / total * 1e6, "disk_bytes_a_row": disk_bytes(directory) / total}


def points(name: str, directory: Path, total: int, cache_mb: int) -> dict[str, float]:
    """Open what was closed, use it, and die."""
    warmed(name, directory, cache_mb)
    started = time.perf_counter()
    contender = opened(name, directory, cache_mb)
    found = contender.getter(TREE)(key_of(0, 0))
    clean = time.perf_counter() - started
    assert found is not None
    used = per_point(contender, total)
    tell({"open_s": clean, **used, "memory_mib": resident_bytes() / 2**20})
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def after_kill(name: str, directory: Path, total: int, cache_mb: int) -> dict[str, float]:
    warmed(name, directory, cache_mb)
    started = time.perf_counter()
    contender = opened(name, directory, cache_mb)
    found = contender.getter(TREE)(key_of((POINTS // 4 - 1) % ROOMS, total + POINTS // 4 - 1))
    seconds = time.perf_counter() - started
    assert found is not None, "an insert that had returned is gone"
    contender.close()
    return {"open_after_kill_s": seconds}


STAGES = {"load": load, "points": points, "after_kill": after_kill}


def tell(found: dict[str, float]) -> None:
    print(json.dumps(found), flush=True)


def progress(text: str) -> None:
    """Where somebody looks on: beside what is printed, which may go to a file."""
    if sys.stderr.isatty():
        print(f"\r  {text:<60}\r", end="", file=sys.stderr, flush=True)


def measured(name: str, total: int, directory: Path, cache_mb: int, seconds: float) -> Found | None:
    """All stages, each in a process of its own; None where that takes longer."""
    found: Found = {"contender": name, "rows": total}
    deadline = time.monotonic() + seconds
    for stage in STAGES:
        progress(f"{name}, {total:,} rows: {stage}")
        command = [sys.executable, __file__, "--stage", stage, name, str(directory)]
        command += [str(total), str(cache_mb)]
        left = deadline - time.monotonic()
        try:
            run = subprocess.run(  # noqa: S603 - this file
                command, stdout=subprocess.PIPE, text=True, check=False, timeout=left
            )
        except subprocess.TimeoutExpired:
            return None
        if run.returncode not in (0, -signal.SIGKILL):
            raise SystemExit(f"{name} failed with {total:,} rows: {stage}")
        found |= json.loads(run.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--peers", help="names, with commas between; all that are installed")
    parser.add_argument("--cache-mb", type=int, default=256)
    parser.add_argument("--minutes", type=float, default=15, help="for one contender at one size")
    parser.add_argument("--again", action="store_true", help="measure what is done already, too")
    parser.add_argument("--to", type=Path, default=HERE / "results", help="where results go")
    parser.add_argument("--stage", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        stage, name, directory, *numbers = options.stage
        tell(STAGES[stage](name, Path(directory), *map(int, numbers)))
        return
    names = [n for n in field_of(options.peers.split(",") if options.peers else None) if n != FLOOR]
    wanted = [(name, int(total)) for total in options.rows.split(",") for name in names]
    kept = Kept(options.to / "sizes.json", options.cache_mb, is_new=options.again)
    left = [one for one in wanted if one not in kept.results]
    print(
        f"{len(wanted) - len(left)} of {len(wanted)} are done; the others take at most "
        f"{len(left) * options.minutes:g} minutes, {options.minutes:g} each"
    )
    for name, total in wanted:
        if (name, total) in left:
            with tempfile.TemporaryDirectory(prefix="conduitstore-bench-") as directory:
                seconds = options.minutes * 60
                found = measured(name, total, Path(directory), options.cache_mb, seconds)
            if found is None:
                print(f"{name:14}{total:>18,.2f}   not done after {options.minutes:g} minutes")
                continue
            kept.keep(found)
        told(kept.results[name, total], is_first=(name, total) == wanted[0])
    grown([kept.results[one] for one in wanted if one in kept.results])


class Kept:
    """What was measured, here and by earlier runs under the same conditions; in a file."""

    def __init__(self, path: Path, cache_mb: int, *, is_new: bool) -> None:
        self._path = path
        self._conditions = report.conditions(0, 1) | {"cache_mb": cache_mb}
        self.results: dict[tuple[str, int], Found] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not is_new:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["conditions"] == self._conditions and not self._is_dirty:
                for line in found["results"]:
                    self.results[line["contender"], line["rows"]] = line
            else:
                print(f"{path} is of other code, settings, versions or machine: all begins anew")

    @property
    def _is_dirty(self) -> bool:
        """Whether nobody can say which code ran."""
        return str(self._conditions["commit"]).endswith(("dirty", "unknown"))

    def keep(self, found: Found) -> None:
        self.results[str(found["contender"]), int(found["rows"])] = found
        everything = {"conditions": self._conditions, "results": list(self.results.values())}
        self._path.write_text(json.dumps(everything, indent=1), encoding="utf-8")


def told(found: Found, *, is_first: bool) -> None:
    """A line of the table."""
    _, *heads = found
    name, *values = found.values()
    if is_first:
        print(f"{'':14}" + "".join(f"{head:>18}" for head in heads))
    print(f"{name:14}" + "".join(f"{value:>18,.2f}" for value in values), flush=True)


def grown(results: list[Found]) -> None:
    """How many times dearer an operation is at the largest size than at the smallest."""
    sizes = sorted({float(line["rows"]) for line in results})
    lines = {(str(line["contender"]), float(line["rows"])): line for line in results}
    growth: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for name, _ in lines):
        small, large = lines.get((name, sizes[0])), lines.get((name, sizes[-1]))
        if small is not None and large is not None and small is not large:
            growth[name] = {what: float(large[what]) / float(small[what]) for what in GROWING}
    for name, own in growth.items():
        told = [f"{what} x{ratio:.2f}{beside(growth, what, ratio)}" for what, ratio in own.items()]
        print(f"{name:14} grew " + ", ".join(told))


def beside(growth: dict[str, dict[str, float]], what: str, ratio: float) -> str:
    """The same as a part of what LMDB grew: above 1 is worse."""
    return f" ({ratio / growth[RIVAL][what]:.2f} of {RIVAL}'s)" if RIVAL in growth else ""


if __name__ == "__main__":
    main()
