"""Fail every call of a workload; see ``conduitstore.testing.faults``."""

import errno
import random
import sys

import pytest

from conduitstore.engine import Batch
from conduitstore.engine.embedded import counters
from conduitstore.testing.faults import explore_errors

SETTINGS = {"leaf_entries_max": 3, "checkpoint_log_bytes": 400, "idgen_persist_interval": 4}
TREES = ("one", "two")


def insert(key, value, durability):
    return lambda db: db.transaction(
        lambda tx: tx.open_tree("one").insert(key, value), durability=durability
    )


def remove(key):
    return lambda db: db.transaction(lambda tx: tx.open_tree("two").remove(key))


def batch(rows):
    def step(db):
        writes = Batch()
        for number, (key, value) in enumerate(rows):
            writes.insert(TREES[number % 2], key, value)
        db.apply_batch(writes)

    return step


def draw(key):
    def run(tx):
        tx.next_count()
        tx.open_tree("two").insert(key, b"counted")

    return lambda db: db.transaction(run)


def take_ids(db):
    db.reserve_ids(3)


def checkpoint(db):
    if hasattr(db, "checkpoint"):
        db.checkpoint()


def flush(db):
    db.flush()


def steps(seed, total):
    """Single commits over two trees, and what makes checkpoints, syncs and ceilings happen."""
    chance = random.Random(seed)

    def value():
        return chance.randbytes(chance.choice((0, 5, 60)))

    def key():
        return bytes([chance.choice(b"abcdef"), chance.choice(b"xyz")])

    def one():
        return chance.choice(
            (
                lambda: insert(key(), value(), chance.choice(("interval", "commit"))),
                lambda: insert(key(), value(), "interval"),
                lambda: remove(key()),
                lambda: batch([(key(), value()) for _ in range(4)]),
                lambda: draw(key()),
            )
        )()

    rare = {5: take_ids, 8: checkpoint, 11: flush}
    return [rare.get(number % 13) or one() for number in range(total)]


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_every_call_fails(code, lasts, monkeypatch, capsys):
    monkeypatch.setattr(counters, "COUNT_RESERVE", 3)
    report = explore_errors(steps(code, 45), SETTINGS, code, lasts=lasts)
    with capsys.disabled():
        sys.stdout.write(f"\n{report.faults_total} faults, {report.outcomes}: ")
    assert report.calls_total > 60
    expected = "latched" if code == errno.EIO else "store full"
    assert report.outcomes[expected] > 10
