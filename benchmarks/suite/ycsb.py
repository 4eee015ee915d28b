"""The core workloads A to F of the Yahoo! Cloud Serving Benchmark: rows of 1,000 bytes."""

from __future__ import annotations

import random
from functools import partial
from typing import NamedTuple

from peers import Contender, Page, Write

from .arena import Arena, Line, Work
from .world import batches, event, zipfian

TREE = "usertable"
ROWS = 20_000
STEPS = 2_000
ROW_BYTES = 1_000
END = b"user\xff"


class Mix(NamedTuple):
    """Parts in a hundred of each kind of step."""

    read: int = 0
    update: int = 0
    insert: int = 0
    scan: int = 0
    modify: int = 0


MIXES = {
    "A, half updates": Mix(read=50, update=50),
    "B, mostly reads": Mix(read=95, update=5),
    "C, reads only": Mix(read=100),
    "D, reads of the newest": Mix(read=95, insert=5),
    "E, short ranges": Mix(scan=95, insert=5),
    "F, read-modify-write": Mix(read=50, modify=50),
}


def key_of(number: int) -> bytes:
    return b"user%020d" % number


def prepare(contender: Contender, chance: random.Random, *, mix: Mix, is_newest: bool) -> Work:
    """The steps, drawn beforehand."""
    kinds = chance.choices(Mix._fields, weights=mix, k=STEPS)
    picked = zipfian(chance, ROWS, STEPS)
    if is_newest:  # the newest are asked for most: the ranks before they are scattered
        picked = [ROWS - 1 - int(ROWS * chance.random() ** 8) for _ in range(STEPS)]
    start = ROWS + chance.getrandbits(30) * STEPS
    steps = []
    for n, (kind, number) in enumerate(zip(kinds, picked, strict=True)):
        key = key_of(start + n if kind == "insert" else number)
        value = b"" if kind in ("read", "scan") else event(chance, ROW_BYTES)
        steps.append((kind, key, value, chance.randint(1, 100)))

    def work() -> int:
        get, insert, page = contender.getter(TREE), contender.insert, contender.page
        seen = 0
        for kind, key, value, rows in steps:
            if kind == "read":
                seen += get(key) is not None
            elif kind == "scan":
                seen += len(page(Page(TREE, key, END, rows)))
            else:
                if kind == "modify":
                    seen += get(key) is not None
                insert(TREE, key, value)
        return seen

    return work


def arena() -> Arena:
    chance = random.Random(2)
    rows = [Write(TREE, key_of(n), event(chance, ROW_BYTES)) for n in range(ROWS)]
    return Arena(
        "YCSB",
        [TREE],
        lambda: batches(rows),
        [
            Line(name, STEPS, partial(prepare, mix=mix, is_newest=name.startswith("D")))
            for name, mix in MIXES.items()
        ],
    )
