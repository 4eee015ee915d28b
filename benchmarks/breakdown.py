"""Where the time of a line of `compare.py` goes, in conduitstore alone.

    python benchmarks/breakdown.py [--only "insert"] [--rounds N] [--seed N] [--to DIR]

While a line runs, the engine's stages and the calls below them are counted and timed: system calls,
zstd, msgpack, checksums, the changing of leaves. A stage's time is without that of the others
inside it, and what the counting costs is taken off. The rest is Python between them, and the
workload's own loop. Where several threads commit, all times are those of one of them: what it waits
for is in them. Of each stage the quickest round counts, since whatever else runs on the machine can
only make it slower; so the sum may be below what `compare.py` finds.

It prints a table for each line, and writes them to `breakdown.md`.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from compare import arenas
from peers import Contender, Setup, field_of
from peers.field import OURS
from suite import report
from suite.arena import Arena, Line, Work
from suite.measure import run
from suite.watching import Spent, Watch, watching

from conduitstore.engine.embedded import forest

HERE = Path(__file__).parent
SHARE_MIN = 0.005
"""What takes less of an operation is in the rest."""

NEVER = (0, 0)


class Round(NamedTuple):
    """What was noted in a round of a line."""

    threads: int
    stages: Spent
    rest_ns: int


def observed(line: Line, watch: Watch, rounds: list[Round]) -> Line:
    """The line, with what happens in its work noted."""

    def prepare(contender: Contender, chance: random.Random) -> Work:
        work = line.prepare(contender, chance)

        def noted() -> object:
            with watching(watch):
                watch.begin()
                began = time.perf_counter_ns()
                answer = work()
                taken_ns = time.perf_counter_ns() - began
                threads, stages = watch.end()
            noting_ns = watch.noting_ns * sum(calls for calls, _ in stages.values())
            noted_ns = sum(stage_ns for _, stage_ns in stages.values())
            rounds.append(Round(threads, stages, taken_ns * threads - noting_ns - noted_ns))
            return answer

        return noted

    return replace(line, prepare=prepare)


def tables(arena: Arena, rounds: int, seed: int) -> Iterator[str]:
    """Of all lines of an arena."""
    watch = Watch()

    def opened(setup: Setup) -> Contender:
        with watching(watch):  # What the store keeps of the system and of libraries, too.
            return field_of([OURS])[OURS](setup)

    noted: list[list[Round]] = [[] for _ in arena.lines]
    lines = [observed(line, watch, to) for line, to in zip(arena.lines, noted, strict=True)]
    with tempfile.TemporaryDirectory(prefix="conduitstore-bench-") as directory:
        list(run(replace(arena, lines=lines), {OURS: opened}, Path(directory), rounds, seed))
    for line, of_line in zip(arena.lines, noted, strict=True):
        yield from told(f"{arena.name}: {line.name}", quickest(of_line), line.operations)


def quickest(rounds: list[Round]) -> Round:
    """Of each stage in its quickest round."""
    names = dict.fromkeys(name for one in rounds for name in one.stages)
    stages = {
        name: min((one.stages.get(name, NEVER) for one in rounds), key=lambda spent: spent[1])
        for name in names
    }
    return Round(rounds[0].threads, stages, min(one.rest_ns for one in rounds))


def told(name: str, best: Round, operations: int) -> Iterator[str]:
    """The table of a line."""
    whole_ns = best.rest_ns + sum(stage_ns for _, stage_ns in best.stages.values())

    def columns(taken_ns: int) -> str:
        return f"{taken_ns / operations / 1e3:.2f} | {taken_ns / whole_ns:.0%}"

    beside = f", of one of {best.threads} threads" if best.threads > 1 else ""
    yield f"### {name}\n"
    yield f"{whole_ns / operations / 1e3:.2f} us an operation{beside}\n"
    yield "| stage | calls | us | share |"
    yield "| --- | ---: | ---: | ---: |"
    for stage, (calls, stage_ns) in sorted(best.stages.items(), key=lambda one: -one[1][1]):
        if calls:  # In every round.
            yield f"| {stage} | {calls / operations:.2f} | {columns(stage_ns)} |"
    yield f"| the rest | | {columns(best.rest_ns)} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="lines whose name has this in it")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--to", type=Path, default=HERE / "results", help="where results go")
    options = parser.parse_args()
    if not forest.__file__.endswith(".py"):
        raise SystemExit("the engine is compiled: its stages can only be watched as Python")
    conditions = report.conditions(options.seed, options.rounds)
    heading = "".join(f"- {name}: {value}\n" for name, value in conditions.items())
    print(heading)
    found = []
    for arena in arenas(options.only):
        for line in tables(arena, options.rounds, options.seed):
            print(line, flush=True)
            found.append(line)
    options.to.mkdir(parents=True, exist_ok=True)
    text = "\n".join(["# Where the time goes\n", heading, *found])
    (options.to / "breakdown.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
