"""A small coverage-guided fuzzer: mutates real inputs, keeps those that reach new lines.

    report = fuzz(run, seeds, seed=1, runs=1_000)

``run(data)`` returns or raises an error of its own kind that it has caught; whatever leaves it is a
finding, and is raised with the input in its notes. For long runs there are better fuzzers; this one
needs nothing, and does the same for a seed.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import conduitstore

PACKAGE = os.path.dirname(conduitstore.__file__)  # noqa: PTH120 - compared with what frames say
Run = Callable[[bytes], object]
NUMBERS = (0, 1, 1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 63, 1 << 64)
TOKENS = (
    *(b"\xff", b"\0" * 8, b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"[", b"{", b'"', b"\n"),
    *(b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\x7f\xff\xff\xff"),
    *(b"\x90", b"\x81", b"\xc0", b"\xd3" + b"\xff" * 8, b"\xcf\x7f" + b"\xff" * 7),
)
"""What means something in msgpack, zstd, gzip, JSON or keys."""


@dataclass
class Report:
    """How much was tried."""

    runs_total: int = 0
    corpus_total: int = 0
    lines_total: int = 0


def fuzz(run: Run, seeds: Sequence[bytes], *, seed: int, runs: int, seconds: float = 60) -> Report:
    """Try the seeds and so many mutations of them, or as many as there is time for.

    Raises:
        BaseException: what left ``run``; its notes have the input.
    """
    chance = random.Random(seed)  # noqa: S311 - reproducible by design
    corpus, lines, report = list(seeds), set[tuple[Any, int]](), Report()
    until = time.monotonic() + seconds
    for data in seeds:
        _tried(run, data, lines)
    while report.runs_total < runs and time.monotonic() < until:
        data = mutated(chance.choice(corpus), chance.choice(corpus), chance)
        before = len(lines)
        _tried(run, data, lines)
        report.runs_total += 1
        if len(lines) > before:
            corpus.append(data)
    report.corpus_total, report.lines_total = len(corpus), len(lines)
    return report


def _tried(run: Run, data: bytes, lines: set[tuple[Any, int]]) -> None:
    def trace(frame: FrameType, _event: str, _arg: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return None

        def inside(frame: FrameType, _event: str, _arg: Any) -> Any:
            lines.add((code, frame.f_lineno))
            return inside

        return inside

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(data)
    except BaseException as error:
        error.add_note(f"the input: bytes.fromhex({data.hex()!r})")
        raise
    finally:
        sys.settrace(before)


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """One to four changes, some of them with a piece of another input."""
    for _ in range(chance.randint(1, 4)):
        data = chance.choice(_CHANGES)(data, other, chance)
    return data[: 1 << 20]


def _flip(data: bytes, _other: bytes, chance: random.Random) -> bytes:
    if not data:
        return chance.randbytes(1)
    at = chance.randrange(len(data))
    return b"%b%c%b" % (data[:at], data[at] ^ (1 << chance.randrange(8)), data[at + 1 :])


def _number(data: bytes, _other: bytes, chance: random.Random) -> bytes:
    """A number where one may stand: in either order of bytes, of any width."""
    size = chance.choice((1, 2, 4, 8))
    wanted = chance.choice(NUMBERS) + chance.randint(-2, 2)
    number = (wanted & ((1 << 8 * size) - 1)).to_bytes(size, chance.choice(("big", "little")))
    at = chance.randint(0, len(data))
    return data[:at] + number + data[at + (size if chance.random() < 0.8 else 0) :]


def _cut(data: bytes, _other: bytes, chance: random.Random) -> bytes:
    begin, end = sorted(chance.randint(0, len(data)) for _ in range(2))
    return data[:begin] + data[end:]


def _repeat(data: bytes, _other: bytes, chance: random.Random) -> bytes:
    begin, end = sorted(chance.randint(0, len(data)) for _ in range(2))
    return data[:end] + data[begin:end] * chance.choice((1, 1, 2, 20)) + data[end:]


def _splice(data: bytes, other: bytes, chance: random.Random) -> bytes:
    begin, end = sorted(chance.randint(0, len(other)) for _ in range(2))
    at = chance.randint(0, len(data))
    return data[:at] + other[begin:end] + data[at:]


def _token(data: bytes, _other: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice(TOKENS) + data[at:]


def _junk(data: bytes, _other: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.randbytes(chance.randint(1, 8)) + data[at:]


_CHANGES = (_flip, _flip, _number, _number, _cut, _repeat, _splice, _token, _junk)
