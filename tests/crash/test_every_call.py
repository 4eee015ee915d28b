"""Crash a workload in every system call; see ``conduitstore.testing.crash``."""

import errno
import os
import random
import sys
from contextlib import suppress

import pytest

from conduitstore.engine import Batch
from conduitstore.engine.embedded import counters
from conduitstore.errors import StoreFullError
from conduitstore.testing.crash import Reopen, explore

SETTINGS = {
    "leaf_entries_max": 3,
    "checkpoint_log_bytes": 600,
    "idgen_persist_interval": 4,
    "blob_bytes_min": 30,
    "segment_bytes_target": 400,  # A checkpoint writes several.
}
SEEDS = int(os.environ.get("CRASH_SEEDS", "1"))
KEYS = [bytes([a, b]) for a in b"ab" for b in b"\x00xyz\xff"]


@pytest.fixture(autouse=True)
def small_reserves(monkeypatch):
    """Ceilings that are reached within a few draws, so that raising them is crashed as well."""
    monkeypatch.setattr(counters, "COUNT_RESERVE", 3)


def insert(key, value, tree="key_value"):
    return lambda db: db.open_tree(tree).insert(key, value)


def remove(key, tree="key_value"):
    return lambda db: db.open_tree(tree).remove(key)


def counted(key, durability):
    """Draw a count and write it down beside a row of another tree."""

    def write(tx):
        count = tx.next_count()
        tx.open_tree("key_count").insert(key, count.to_bytes(8))
        tx.open_tree("count_key").insert(count.to_bytes(8), key)

    def forgetful(tx):
        tx.next_count()
        raise KeyError

    def step(db):
        with pytest.raises(KeyError):
            db.transaction(forgetful)
        # The oracle and the engine must agree on rows: counts differ after a recovery only.
        db.transaction(write, durability=durability)

    step.is_held = durability == "none"
    return step


def batch(rows):
    def step(db):
        writes = Batch()
        for number, (key, value) in enumerate(rows):
            writes.insert(f"tree_{number % 3}", key, value)
        db.apply_batch(writes.remove("key_value", rows[0][0]))

    return step


def checkpoint(db):
    if hasattr(db, "checkpoint"):
        db.checkpoint()


def compact(db):
    db.compact()


def full_checkpoint(db):
    """A checkpoint that turns to a new log and then finds no space: later commits go there."""
    if not hasattr(db, "checkpoint"):
        return
    disk = db.directory._disk
    disk.fail = lambda operation, name: (
        OSError(errno.ENOSPC, "full") if operation == "create" and "segment" in name else None
    )
    with suppress(StoreFullError):
        db.checkpoint()
    disk.fail = lambda _operation, _name: None


def flush(db):
    db.flush()


def drop(db):
    db.drop_tree("tree_1")


def reopen(_db):
    raise Reopen


def random_steps(seed, total):
    """A workload of everything, the same for a seed."""
    chance = random.Random(seed)

    def value():
        return chance.randbytes(chance.choice((0, 3, 40)))

    def one():
        key = chance.choice(KEYS)
        return chance.choice(
            (
                lambda: insert(key, value()),
                lambda: insert(key, value(), tree="__default__"),
                lambda: remove(key),
                lambda: counted(key, chance.choice(("interval", "commit"))),
                lambda: counted(key, chance.choice(("none", "commit"))),
                lambda: batch([(chance.choice(KEYS), value()) for _ in range(5)]),
            )
        )()

    rare = {0: checkpoint, 3: full_checkpoint, 5: flush, 9: drop, 11: compact, 13: reopen}
    return [rare.get(number % 17) or one() for number in range(1, total)]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_call_of_a_workload(seed, capsys):
    report = explore(random_steps(seed, 60), SETTINGS)
    with capsys.disabled():
        sys.stdout.write(f"\n{report.calls_total} calls, {report.crashes_total} crashes: ")
    assert report.crashes_total == report.calls_total * 5
    assert report.calls_total > 100


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_call_of_the_recovery_too(seed, capsys):
    report = explore(random_steps(100 + seed, 9), SETTINGS, seeds=(1,), depth=2)
    with capsys.disabled():
        sys.stdout.write(f"\n{report.calls_total} calls, {report.crashes_total} crashes: ")
    assert report.crashes_total > 20 * report.calls_total
