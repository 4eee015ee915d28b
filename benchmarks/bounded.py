"""Gets where the system's cache is bounded too: all contenders under the same memory limit.

    python benchmarks/bounded.py [--rows N] [--times 4] [--peers A,B] [--seed N] [--to DIR]

LMDB has no cache of its own, and SQLite reads its file through the system's: `compare.py` cannot
bound that, since all contenders share a process. Here each has one of its own, inside a control
group that counts the pages of files against its limit as well: what an idle process takes, room for
buffers, and the rows' bytes divided by `--times`. So much is the cache of those who have one.

The group is made by `systemd-run --scope` (with `--user` unless it is root's). Where that is not
there, or may not limit memory, nothing is measured and the reason is printed: a limit on the
address space alone would bound no page of a file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from peers import Contender, Setup, field_of
from peers.field import FLOOR, OURS
from suite import report
from suite.world import ROOMS, TREE, VALUE_BYTES, batches, history, key_of, zipfian

HERE = Path(__file__).parent
BUFFER_BYTES = 32 << 20
ROUNDS = 5
GETS = 20_000


def limited(limit_bytes: int) -> list[str]:
    """The beginning of a command that runs under a limit."""
    owner = [] if os.geteuid() == 0 else ["--user"]
    limits = ["-p", f"MemoryMax={limit_bytes}", "-p", "MemorySwapMax=0"]
    return ["systemd-run", *owner, "--scope", "--quiet", *limits]


def refusal() -> str:
    """Why this machine does not limit memory; empty where it does."""
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            [*limited(256 << 20), "true"], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def opened(name: str, directory: Path, cache_bytes: int) -> Contender:
    return field_of([name])[name](Setup(directory, [TREE], cache_bytes=cache_bytes))


def keys_of(rows: int, seed: int) -> list[list[bytes]]:
    """Those of each round, and of one before it that warms up."""
    chance = random.Random(seed)
    every = zipfian(chance, rows, GETS * (ROUNDS + 1))
    keys = [key_of(number % ROOMS, number) for number in every]
    return [keys[at : at + GETS] for at in range(0, len(keys), GETS)]


def load(name: str, directory: Path, rows: int, cache_bytes: int, _: int) -> dict[str, float]:
    contender = opened(name, directory, cache_bytes)
    for batch in batches(history(rows)):
        contender.write(batch)
    contender.settle()
    contender.close()
    return {}


def idle(name: str, directory: Path, rows: int, cache_bytes: int, seed: int) -> dict[str, float]:
    """What a process takes that has everything but rows."""
    (directory / "empty").mkdir()
    contender = opened(name, directory / "empty", cache_bytes)
    keys = keys_of(rows, seed)
    taken = resident_bytes()
    contender.close()
    return {"bytes": taken, "keys": len(keys)}


def gets(name: str, directory: Path, rows: int, cache_bytes: int, seed: int) -> dict[str, float]:
    """Microseconds of a get."""
    rounds = keys_of(rows, seed)
    contender = opened(name, directory, cache_bytes)
    get = contender.getter(TREE)
    taken = []
    for keys in rounds:
        began = time.perf_counter()
        found = sum(value is not None for value in map(get, keys))
        taken.append((time.perf_counter() - began) / GETS * 1e6)
        assert found == GETS
    contender.close()
    return {"us": statistics.median(taken[1:]), "first_us": taken[0]}


STAGES = {"load": load, "idle": idle, "gets": gets}


def stage(prefix: Sequence[str], what: str, *arguments: object) -> dict[str, float] | None:
    """What a stage tells, in a process of its own; None where its memory did not suffice."""
    command = [*prefix, sys.executable, __file__, "--stage", what, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - this file
    if done.returncode in (-9, 137):
        return None
    if done.returncode:
        raise SystemExit(f"{what} failed: {' '.join(map(str, arguments))}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def forget_pages(directory: Path) -> None:
    """Files that the system holds in its cache already would count for nobody."""
    os.sync()
    for path in directory.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def measured(name: str, rows: int, cache_bytes: int, seed: int) -> dict[str, float] | None:
    with tempfile.TemporaryDirectory(prefix="conduitstore-bench-") as made:
        arguments = (name, made, rows, cache_bytes, seed)
        stage([], "load", *arguments)
        taken = stage([], "idle", *arguments)
        assert taken is not None
        limit_bytes = int(taken["bytes"]) + BUFFER_BYTES + cache_bytes
        forget_pages(Path(made))
        found = stage(limited(limit_bytes), "gets", *arguments)
        return None if found is None else found | {"limit_mib": limit_bytes / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--times", type=int, default=4, help="how much more data than cache")
    parser.add_argument("--peers", help="names, with commas between; all that are installed")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--to", type=Path, default=HERE / "results", help="where results go")
    parser.add_argument("--stage", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        what, name, directory, *numbers = options.stage
        print(json.dumps(STAGES[what](name, Path(directory), *map(int, numbers))))
        return
    if reason := refusal():
        print(f"left out: this machine does not limit the memory of a group: {reason}")
        return
    names = [n for n in field_of(options.peers.split(",") if options.peers else None) if n != FLOOR]
    cache_bytes = options.rows * (VALUE_BYTES + 16) // options.times
    print(f"{options.rows} rows, a cache of {cache_bytes / 2**20:.0f} MiB, seed {options.seed}")
    print(f"{'':14}{'us a get':>12}{'first round':>14}{'limit, MiB':>12}{'of ours':>10}")
    results: dict[str, dict[str, float]] = {}
    for name in names:
        found = measured(name, options.rows, cache_bytes, options.seed)
        if found is None:
            print(f"{name:14} was killed: its memory did not suffice")
            continue
        results[name] = found
        ratio = found["us"] / results[OURS]["us"] if OURS in results else float("nan")
        print(
            f"{name:14}{found['us']:>12.2f}{found['first_us']:>14.2f}"
            f"{found['limit_mib']:>12.0f}{ratio:>10.2f}",
            flush=True,
        )
    everything = {"conditions": report.conditions(options.seed, ROUNDS), "results": results}
    options.to.mkdir(parents=True, exist_ok=True)
    (options.to / "bounded.json").write_text(json.dumps(everything, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
