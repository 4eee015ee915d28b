"""Interrupted at every moment, a store is whole, or latched with the error that says so.

Opened again it has what it had before the interrupted call or after it. ``INTERRUPT_EVERY=1`` tries
each moment, without it one in so many; ``INTERRUPT_SEED`` says which, and from where on the lives
are numbered.
"""

import logging
import os
import random
from importlib import import_module

import pytest

from conduitstore.engine import embedded
from conduitstore.testing.calls import ApplyBatch, Call, Nested, Read, Watch
from conduitstore.testing.crash import content
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.testing.interruptions import HAPPENINGS, explore_interrupts, moments_of
from conduitstore.testing.steps import (
    Backup,
    Checkpoint,
    Close,
    Commit,
    Compact,
    Drop,
    Flush,
    Group,
    TakeIds,
    workload,
)

EVERY = int(os.environ.get("INTERRUPT_EVERY", "37"))
SEED = int(os.environ.get("INTERRUPT_SEED", "0"))
KEYS = [bytes([number]) for number in range(20)]
SETTINGS = {
    "leaf_entries_max": 4,
    "cache_capacity_bytes": 700,
    "blob_bytes_min": 30,
    "log_keep_bytes": 0,
    "idgen_persist_interval": 5,
}


def put(key, value, tree="__default__"):
    return Call("insert", (key, value), tree)


LIVED = [
    *(put(key, b"first") for key in KEYS),
    put(b"big", b"big" * 20, "u"),
    put(b"k", b"v", "gone"),
    Checkpoint(),
    *(put(key, b"second") for key in KEYS[::2]),
    Close(),
    put(KEYS[6], b"dirty"),
]
REMOVALS = tuple(("__default__", key, None) for key in KEYS[2:9])
STEPS = {
    "put": put(KEYS[3], b"put"),
    "put_blob": put(b"big", b"other" * 20, "u"),
    "transaction": Nested(
        Commit((*REMOVALS, ("u", b"small", b"1")), draws=1), Commit((("new", b"k", b"v"),))
    ),
    "durable": Commit((("__default__", KEYS[1], b"durable"),), "commit"),
    "batch": ApplyBatch(
        tuple(("__default__", KEYS[5] + bytes([number]), b"split") for number in range(6))
    ),
    "drop": Drop("gone"),
    "watched": Watch(KEYS[4], b"seen"),
    "take_ids": TakeIds(19),
    "take_an_id": Call("generate_id"),
    "checkpoint": Checkpoint(),
    "compact": Compact(),
    "flush": Flush(),
    "backup": Backup(),
    "verify": Call("verify"),
    "read": Read((*(("__default__", key) for key in KEYS[::3]), ("u", b"big"))),
    "export": Call("export"),
    "close": Close(),
}


def interrupted(faults, steps, happening="KeyboardInterrupt", every=EVERY, begin=None):
    """Interrupts the last of some steps, and says with what seed it did so."""
    begin = 1 + SEED % every if begin is None else begin
    try:
        found = explore_interrupts(steps, SETTINGS, happening, begin=begin, every=every)
    except Exception as error:
        error.add_note(f"INTERRUPT_SEED={SEED} INTERRUPT_EVERY={EVERY}")
        raise
    faults.update(found)
    return found


def test_an_interrupted_sync_leaves_no_lock_behind(faults):
    """Once it did where it came right behind the taking, or amid the giving back."""
    interrupted(faults, [*LIVED, Flush()], every=1)


def test_a_close_that_is_interrupted_at_its_very_end_has_closed(faults):
    """Once writes were taken again behind the generation that says that all is clean."""
    steps = [*LIVED, Close()]
    begin = moments_of(steps, SETTINGS) - 60
    assert interrupted(faults, steps, every=1, begin=begin)["closed"] > 50


def test_a_tree_whose_making_is_interrupted_is_undone(faults):
    """Once what was interrupted ended in a KeyError."""
    interrupted(faults, [*LIVED, Nested(Commit(), Commit((("new", b"k", b"v"),)))], every=1)


def test_every_moment_is_seen_whatever_ran_before(faults):
    """Once Python 3.13 told of half of them, and of fewer after each interruption."""
    steps = [*LIVED, Close()]
    total = moments_of(steps, SETTINGS)
    assert total > 600  # Fewer where the engine is compiled.
    for at in (1, total // 2, total):
        interrupted(faults, steps, every=total, begin=at)
        assert moments_of(steps, SETTINGS) == total


def verified(disk):
    return list(embedded.verify("store", files=disk))


def read_all(disk):
    return content(embedded.open("store", files=disk, flush_every_ms=None, **SETTINGS))


@pytest.mark.parametrize(
    ("module", "decoder", "use"),
    [
        ("claims", "decode_leaf", verified),
        ("segment", "decode_columns", read_all),
        ("manifest", "unpacked", read_all),
    ],
)
def test_too_little_memory_is_no_damage(monkeypatch, module, decoder, use):
    """Once it was told as a file that is damaged."""
    monkeypatch.setattr(logging.getLogger("conduitstore"), "disabled", True)
    disk = SimulatedDisk()
    with embedded.open("store", files=disk, flush_every_ms=None, **SETTINGS) as db:
        for step in LIVED[:-2]:
            step(db)
    found = import_module(f"conduitstore.engine.embedded.{module}")

    def fail(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr(found, decoder, fail)
    with pytest.raises(MemoryError):
        use(disk)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("happening", HAPPENINGS)
def test_interrupted_at_every_moment(step, happening, faults):
    every = EVERY if happening != "collection" else 3 * EVERY
    interrupted(faults, [*LIVED, STEPS[step]], happening, every)


def has_two_outcomes(step):
    """What several threads commit has more of them, and what may be lost when the process dies."""
    return not isinstance(step, Group) and getattr(step, "durability", None) != "none"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED, SEED + 8))
def test_random_lives_interrupted(seed, faults):
    steps = [step for step in workload(seed, 16 + seed % 5) if has_two_outcomes(step)]
    chance = random.Random(seed)
    begin = chance.randint(1, EVERY)
    interrupted(faults, steps, chance.choice(HAPPENINGS), begin=begin)
