"""How long single operations take at worst, under mixed load, while checkpoints run.

    python benchmarks/latency.py [--seconds N] [--peers A,B] [--seed N] [--to DIR]

Four gets to an insert, one thread, a small bound on the log, so that what was put off is written to
its place again and again. Contenders take turns of some hundred milliseconds. Printed are
percentiles in microseconds, and the longest; below, whether ours keep to the bound.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from peers import Contender, Setup, field_of
from peers.field import FLOOR, OURS
from suite import report
from suite.world import TREE, batches, event, history, key_of

HERE = Path(__file__).parent
ROWS = 40_000
ROOMS = 50
LOG_BYTES = 4 << 20
STEPS = 2_000
PERCENTILES = (50, 90, 99, 99.9)
WANTED, WANTED_US = "p99.9", 1_000
"""Of point operations."""

Times = dict[str, list[int]]


def take_turn(contender: Contender, chance: random.Random, start: int, times: Times) -> None:
    """Some steps, each of them timed in nanoseconds."""
    get, insert, clock = contender.getter(TREE), contender.insert, time.perf_counter_ns
    gets, inserts = times["get"], times["insert"]
    for step in range(STEPS):
        if step % 5:
            number = chance.randrange(ROWS)
            key = key_of(number % ROOMS, number)
            began = clock()
            get(key)
            gets.append(clock() - began)
        else:
            key, value = key_of(chance.randrange(ROOMS), start + step), event(chance)
            began = clock()
            insert(TREE, key, value)
            inserts.append(clock() - began)


def percentile(ordered: list[int], percent: float) -> float:
    """Microseconds."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] / 1e3


def told(name: str, kind: str, times: list[int]) -> dict[str, object]:
    ordered = sorted(times)
    return {
        "contender": name,
        "operation": kind,
        "total": len(ordered),
        "mean": statistics.fmean(ordered) / 1e3,
        **{f"p{percent}": percentile(ordered, percent) for percent in PERCENTILES},
        "longest": ordered[-1] / 1e3,
    }


def verdicts(lines: list[dict[str, object]]) -> Iterator[str]:
    """Whether ours keep to what is wanted."""
    for line in lines:
        found_us = float(str(line[WANTED]))
        if line["contender"] == OURS:
            word = "held" if found_us <= WANTED_US else "missed"
            yield f"{word}: {WANTED} of {line['operation']} {found_us:.1f} us, wanted {WANTED_US}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="for all contenders together")
    parser.add_argument("--peers", help="names, with commas between; all that are installed")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--to", type=Path, default=HERE / "results", help="where results go")
    options = parser.parse_args()
    openers = field_of(options.peers.split(",") if options.peers else None)
    openers.pop(FLOOR, None)
    times: dict[str, Times] = {name: defaultdict(list) for name in openers}
    with (
        tempfile.TemporaryDirectory(prefix="conduitstore-bench-") as directory,
        ExitStack() as all_,
    ):
        setup = Setup(Path(directory), [TREE], log_bytes=LOG_BYTES)
        contenders = {
            name: all_.enter_context(closing(open_one(setup))) for name, open_one in openers.items()
        }
        for rows in batches(history(ROWS)):
            for contender in contenders.values():
                contender.write(rows)
        deadline = time.monotonic() + options.seconds
        turn = 0
        gc.freeze()  # What the rows of other contenders are made of is nobody's to collect.
        while time.monotonic() < deadline:
            turn += 1
            for name, contender in contenders.items():
                chance = random.Random(f"{options.seed} {turn}")
                take_turn(contender, chance, turn * 10**6, times[name])
    lines = [
        told(name, kind, taken) for name, kinds in times.items() for kind, taken in kinds.items()
    ]
    print(f"{'microseconds':24}" + "".join(f"{head:>11}" for head in list(lines[0])[2:]))
    for line in lines:
        heads = f"{line['operation']}, {line['contender']}"
        print(f"{heads:24}" + "".join(f"{value:>11.1f}" for value in list(line.values())[2:]))
    print("\n".join(verdicts(lines)))
    everything = {"conditions": report.conditions(options.seed, turn), "results": lines}
    options.to.mkdir(parents=True, exist_ok=True)
    (options.to / "latency.json").write_text(json.dumps(everything, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
