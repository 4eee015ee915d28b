"""A workload: what is filled in, then lines of which each is timed on every contender."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from peers import Contender, Write

Work = Callable[[], object]
Prepare = Callable[[Contender, random.Random], Work]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is timed.

    ``prepare`` makes the work from a random source that is the same for every contender and new in
    each round. What the work returns must be equal on all of them.
    """

    name: str
    operations: int
    prepare: Prepare
    targets: dict[str, float] = field(default_factory=dict)
    """By peer, or "best" of those not named, the ratio to reach: how many times as quick we are."""


@dataclass(frozen=True, slots=True)
class Arena:
    """Lines that run on the same stores, in order, in every round."""

    name: str
    trees: Sequence[str]
    fill: Callable[[], Iterable[Sequence[Write]]]
    lines: Sequence[Line]
    cache_bytes: int = 64 << 20
    log_bytes: int = 64 << 20
    is_durable: bool = False
