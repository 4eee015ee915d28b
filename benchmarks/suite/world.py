"""The rows that workloads use: rooms, events, and how often each is asked for."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence

from peers import Write

ROOMS = 50
VALUE_BYTES = 700  # about an event
TREE = "pduid_pdu"


def key_of(room: int, count: int) -> bytes:
    """As `pduid_pdu` has it: the room's short id, then the count."""
    return room.to_bytes(8) + count.to_bytes(8)


def event(chance: random.Random, length: int = VALUE_BYTES) -> bytes:
    """Half of it random: real events hold hashes, signatures and repeated field names."""
    text = b'{"type":"m.room.message","content":{"msgtype":"m.text"}}'
    half = length // 2
    return chance.randbytes(half) + (text * (half // len(text) + 1))[: length - half]


def batches(rows: Iterable[Write], size: int = 1_000) -> Iterator[Sequence[Write]]:
    """Commits of ``size`` rows."""
    taken = iter(rows)
    while batch := list(itertools.islice(taken, size)):
        yield batch


def history(total: int, *, seed: int = 1, tree: str = TREE) -> Iterator[Write]:
    """Events of rooms that talk at the same time: event n is in room n mod ROOMS."""
    chance = random.Random(seed)
    return (Write(tree, key_of(n % ROOMS, n), event(chance)) for n in range(total))


def zipfian(chance: random.Random, total: int, draws: int, exponent: float = 0.99) -> list[int]:
    """Numbers below ``total``: few often, most seldom; the frequent ones lie anywhere."""
    weights = itertools.accumulate(1 / rank**exponent for rank in range(1, total + 1))
    places = list(range(total))
    random.Random(7).shuffle(places)
    return [
        places[rank] for rank in chance.choices(range(total), cum_weights=list(weights), k=draws)
    ]
