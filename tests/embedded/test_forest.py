"""Commits of many writes while hardly a leaf is in memory: nothing may be read while they apply."""

import random

import pytest

from conduitstore.engine import Batch, embedded
from conduitstore.testing.disk import SimulatedDisk


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk):
    return embedded.open(
        "store",
        files=disk,
        flush_every_ms=None,
        leaf_entries_max=4,
        cache_capacity_bytes=0,
    )


def test_a_commit_empties_a_leaf_and_then_writes_where_it_was(disk):
    """Were the leaf gone at once, the key would fall into its neighbour, which nobody has read."""
    db = open_on(disk)
    keys = [bytes([number]) for number in range(40)]
    for key in keys:
        db.insert(key, b"old")
    db.checkpoint()
    for begin in range(4, 12):
        batch, gone = Batch(), keys[begin : begin + 8]
        for key in gone:
            batch.remove(db, key)
        db.apply_batch(batch.insert(db, gone[3] + b"new", b"1"))
        assert [key for key, _ in db] == sorted({*keys, gone[3] + b"new"} - {*gone})
        db.remove(gone[3] + b"new")
        for key in gone:
            db.insert(key, b"old")
        db.checkpoint()
    disk.kill()
    with open_on(disk) as db:
        assert [key for key, _ in db] == keys


def test_random_commits_with_nothing_in_memory(disk):
    chance = random.Random(3)
    db, expected = open_on(disk), {}
    for number in range(400):
        batch = Batch()
        for _ in range(chance.randrange(12)):
            key = bytes([chance.randrange(60)])
            if chance.random() < 0.6:
                batch.remove(db, key)
                expected.pop(key, None)
            else:
                batch.insert(db, key, str(number).encode())
                expected[key] = str(number).encode()
        db.apply_batch(batch)
        if chance.random() < 0.5:
            db.checkpoint()
        if chance.random() < 0.1:
            disk.kill()
            db = open_on(disk)
        assert list(db) == sorted(expected.items())
    db.close()
