"""What sled says of itself, beside what was measured here.

Both from the README of sled 0.34 (https://crates.io/crates/sled/0.34.7): "over a billion operations
in under a minute at 95% read 5% writes on 16 cores on a small dataset", and an id generator
"capable of generating 75-125 million unique ID's per second". Its machine is not ours and nothing
of Python is in it: how far away that is says what an interpreter costs, not which engine is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from peers.field import FLOOR, OURS

from .measure import Result

MIXED = "95 % gets, 5 % inserts"
SLED_MIXED_A_SECOND = 10**9 / 60 / 16
"""Operations of one core."""
SLED_IDS_A_SECOND = (75e6, 125e6)


def mixed(results: Sequence[Result]) -> list[str]:
    """Operations a second on one core, ours and the floor's, where that line was run."""
    for result in results:
        if result.line == MIXED:
            named = [name for name in (OURS, FLOOR) if name in result.seconds]
            rates = ", ".join(f"{name} {millions(1e6 / result.median_us(name))}" for name in named)
            share = 1e6 / result.median_us(OURS) / SLED_MIXED_A_SECOND
            sled = millions(SLED_MIXED_A_SECOND)
            return [
                f"{MIXED}, operations a second on a core: {rates}; sled says {sled} ({share:.0%})"
            ]
    return []


def ids(rates: Mapping[str, float]) -> list[str]:
    """Ids a second, each way to get them."""
    lowest, highest = SLED_IDS_A_SECOND
    sled = f"sled says {lowest / 1e6:.0f} to {millions(highest)}"
    return [
        f"ids a second, {way}: {millions(rate)}; {sled} ({rate / lowest:.0%} of the lower)"
        for way, rate in rates.items()
    ]


def millions(rate: float) -> str:
    return f"{rate / 1e6:.2f} M"
