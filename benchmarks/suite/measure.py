"""Time the lines of an arena, every contender in turn, in rounds."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers import Contender, Setup
from peers.field import FLOOR, OURS

from .arena import Arena, Line

Openers = dict[str, Callable[[Setup], Contender]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as quick as a peer we are: the median of rounds, and how far they spread."""

    peer: str
    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class Result:
    """One line: by contender, the seconds of each round."""

    arena: str
    line: str
    operations: int
    targets: dict[str, float]
    seconds: dict[str, list[float]]

    def median_us(self, contender: str) -> float:
        """Microseconds an operation."""
        return statistics.median(self.seconds[contender]) / self.operations * 1e6

    def ratio(self, peer: str) -> Ratio:
        """Each round's own: both sides had the same minute."""
        rounds = [
            theirs / ours
            for theirs, ours in zip(self.seconds[peer], self.seconds[OURS], strict=True)
        ]
        return Ratio(peer, statistics.median(rounds), min(rounds), max(rounds))

    def ratios(self) -> list[Ratio]:
        """To every peer, the quickest peer first; the floor is none."""
        peers = [self.ratio(name) for name in self.seconds if name not in (OURS, FLOOR)]
        return sorted(peers, key=lambda ratio: ratio.median)

    def missed(self) -> list[str]:
        """Each target that was not reached, in words."""
        named = [
            (self.ratio(peer), wanted)
            for peer, wanted in self.targets.items()
            if peer in self.seconds
        ]
        others = [ratio for ratio in self.ratios() if ratio.peer not in self.targets]
        if "best" in self.targets and others:
            named.append((others[0], self.targets["best"]))
        return [
            f"{ratio.median:.2f} of {ratio.peer}, wanted {wanted}"
            for ratio, wanted in named
            if ratio.median < wanted
        ]


class DifferentAnswersError(Exception):
    """Times of different answers mean nothing."""


def run(
    arena: Arena, openers: Openers, directory: Path, rounds: int, seed: int
) -> Iterator[Result]:
    """The results of each line, when all rounds are over."""
    setup = Setup(
        directory, arena.trees, arena.cache_bytes, arena.log_bytes, is_durable=arena.is_durable
    )
    with ExitStack() as opened:
        contenders = {
            name: opened.enter_context(closing(open_one(setup)))
            for name, open_one in openers.items()
        }
        for rows in arena.fill():
            for contender in contenders.values():
                contender.write(rows)
        results = [
            Result(
                arena.name, line.name, line.operations, line.targets, {n: [] for n in contenders}
            )
            for line in arena.lines
        ]
        names = list(contenders)
        for number in range(rounds):
            for line, result in zip(arena.lines, results, strict=True):
                take_turns(
                    line, result, contenders, names, f"{seed} {arena.name} {line.name} {number}"
                )
            names.append(names.pop(0))  # another begins the next round
    yield from results


def take_turns(
    line: Line, result: Result, contenders: dict[str, Contender], names: list[str], source: str
) -> None:
    """Once on every contender. Answers are compared, then let go."""
    answers = {}
    for name in names:
        work = line.prepare(contenders[name], random.Random(source))
        with collector_at_rest():
            started = time.perf_counter()
            answers[name] = work()
            result.seconds[name].append(time.perf_counter() - started)
    for name, answer in answers.items():
        if answer != answers[OURS]:
            raise DifferentAnswersError(f"{result.arena}, {line.name}: {name} and {OURS} differ")


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """One contender must not pay for collecting what another left."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
