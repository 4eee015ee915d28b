"""How much work fixed inputs make: calls, bytes, loads, system calls; never seconds.

Each bound stands a little above what the code needs today. Where a change needs less, lower it;
where one needs more, the change has to be worth it, and says so in its commit.
"""

import gc
import itertools
import random
import sys
from collections import Counter

import pytest

import conduitstore
from conduitstore.engine import embedded
from conduitstore.engine.embedded import index
from conduitstore.kv import Batch
from conduitstore.testing.disk import SimulatedDisk

ROWS = 2_000
VALUE_BYTES = 100
PREFIX = (7).to_bytes(8)


def key_of(number):
    return (number % 10).to_bytes(8) + number.to_bytes(8)


@pytest.fixture
def disk():
    return SimulatedDisk()


@pytest.fixture
def db(disk):
    """Two thousand rows, in segments and in memory; ``log`` counts what they are written with."""
    chance = random.Random(1)
    db = embedded.open("store", files=disk, flush_every_ms=None)
    batch = Batch()
    for number in range(ROWS):
        batch.insert("rows", key_of(number), chance.randbytes(VALUE_BYTES))
    db.apply_batch(batch)
    db.checkpoint()
    return db


def python_calls(fn):
    """How many functions written in Python ``fn`` runs."""
    fn()  # Whatever is made at first use is there.
    total = 0

    def count(_frame, event, _argument):
        nonlocal total
        total += event == "call"

    gc.collect()
    gc.disable()  # What it finalizes is nobody's work here.
    sys.setprofile(count)
    try:
        fn()
    finally:
        sys.setprofile(None)
        gc.enable()
    return total - 1


def disk_calls(disk, fn):
    """How many system calls of each kind ``fn`` makes."""
    seen = Counter()
    disk.fail = lambda operation, _name: seen.update([operation])
    fn()
    disk.fail = lambda _operation, _name: None
    return dict(seen)


def fresh_rows():
    """New keys and values each time."""
    number = ROWS
    while True:
        number += 1
        yield key_of(number), number.to_bytes(8) * (VALUE_BYTES // 8)


ROW = fresh_rows()


def ten(*trees):
    batch = Batch()
    for number in range(10):
        batch.insert(trees[number % len(trees)], *next(ROW))
    return batch


def come_and_go(db, total):
    """A queue that is filled, and drained by one commit."""
    came, gone = Batch(), Batch()
    for key, value in itertools.islice(ROW, total):
        came.insert("rows", key, value)
        gone.remove("rows", key)
    db.apply_batch(came)
    db.apply_batch(gone)


def batch_behind_a_walk(_, db):
    assert len(db) == 0  # Another tree: nobody writes to it.
    db.apply_batch(ten("rows"))


def page_beside_own_writes(tx):
    tree = tx.open_tree("rows")
    tree.insert(PREFIX + bytes(8), bytes(VALUE_BYTES))
    list(tree.scan_prefix(PREFIX, limit=10))


READS = {
    "get": (lambda tree, _: tree.get(key_of(5)), 3),
    "get, absent": (lambda tree, _: tree.get(b"absent"), 3),
    "page of 10": (lambda tree, _: list(tree.scan_prefix(PREFIX, limit=10)), 12),
    "newest 10": (lambda tree, _: list(tree.scan_prefix(PREFIX, limit=10, reverse=True)), 11),
    "empty range": (lambda tree, _: list(tree.range(b"\x01", b"\x02")), 7),
    "100 empty ranges": (lambda tree, _: tree.ranges([(b"\x01", b"\x02")] * 100), 225),
    "keys of 10": (lambda tree, _: list(tree.keys(PREFIX, limit=10)), 13),
    "snapshot": (lambda _, db: db.snapshot().close(), 11),
}


@pytest.mark.parametrize("name", READS)
def test_calls_of_a_read(db, name):
    read, most = READS[name]
    tree = db.open_tree("rows")
    assert python_calls(lambda: read(tree, db)) <= most


WRITES = {
    "insert": (lambda tree, _: tree.insert(*next(ROW)), 30),
    "batch of 10": (lambda _, db: db.apply_batch(ten("rows")), 55),
    "batch of 10 in 2 trees": (lambda _, db: db.apply_batch(ten("rows", "others")), 55),
    "batch of 10, what was walked let go": (batch_behind_a_walk, 70),
    "60 come, 60 go": (lambda _, db: come_and_go(db, 60), 420),
    "pop": (lambda tree, _: tree.pop_min(), 65),
    "page beside own writes": (
        lambda _, db: db.transaction(page_beside_own_writes),
        62,
    ),
    "transaction of 10": (
        lambda _, db: db.transaction(lambda tx: tx.apply_batch(ten("rows"))),
        165,
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_calls_of_a_commit(db, name):
    write, most = WRITES[name]
    tree = db.open_tree("rows")
    assert python_calls(lambda: write(tree, db)) <= most


def test_a_commit_is_one_write_through_memory(db, disk):
    tree = db.open_tree("rows")
    tree.insert(*next(ROW))  # Behind it space is set aside.
    assert disk_calls(disk, lambda: tree.insert(*next(ROW))) == {"put": 1}
    assert disk_calls(disk, lambda: db.apply_batch(ten("rows"))) == {"put": 1}


def test_a_commit_is_one_append_where_files_cannot_be_mapped():
    disk = SimulatedDisk(can_map=False)
    with embedded.open("store", files=disk, flush_every_ms=None) as db:
        tree = db.open_tree("rows")
        assert disk_calls(disk, lambda: tree.insert(*next(ROW))) == {"append": 1}
        assert disk_calls(disk, lambda: db.apply_batch(ten("rows"))) == {"append": 1}


def test_bytes_in_the_log_beside_key_and_value(db):
    tree = db.open_tree("rows")
    before = db.log.size_bytes
    key, value = next(ROW)
    tree.insert(key, value)
    assert db.log.size_bytes - before - len(key) - len(value) <= 40


def test_bytes_of_a_checkpoint(db, disk):
    """Values are random, so they do not get smaller; keys hardly take any."""
    assert db.stats().live_bytes <= ROWS * (VALUE_BYTES + 6)
    db.open_tree("rows").insert(*next(ROW))
    written = []
    disk.fail = lambda operation, name: (
        written.append(name) if operation == "append" and "segment" in name else None
    )
    db.checkpoint()
    assert len(written) <= 2, "one leaf changed: not all of them are written again"


def test_leaves_that_are_loaded(db, disk):
    db.close()
    with embedded.open("store", files=disk, flush_every_ms=None) as again:
        tree = again.open_tree("rows")
        loads = lambda: again.forest.cache.loads_total  # noqa: E731 - a name for a number
        before = loads()
        for _ in range(3):
            assert tree.get(key_of(5)) is not None
        assert loads() - before == 1, "a leaf that was read stays"
        before = loads()
        assert len(list(tree.scan_prefix(PREFIX, limit=10, reverse=True))) == 10
        assert loads() - before <= 2, "a page reads no more leaves than it lies in"
        before = loads()
        assert len(list(tree)) == ROWS
        assert loads() - before <= ROWS // 64


def test_calls_of_opening_and_closing_for_a_leaf(disk):
    """A large store has a hundred thousand leaves; none is read."""

    def cycle(name):
        embedded.open(name, files=disk, flush_every_ms=None, leaf_entries_max=4).close()

    for name, rows in (("small", 1_000), ("large", 3_000)):
        with embedded.open(name, files=disk, flush_every_ms=None, leaf_entries_max=4) as db:
            for number in range(rows):
                db.insert(number.to_bytes(8), b"value")
            total = sum(1 for _ in index.leaves(db.forest.roots[0]))
            assert total == rows // 4
    calls = [python_calls(lambda name=name: cycle(name)) for name in ("small", "large")]
    assert (calls[1] - calls[0]) / 500 <= 14


PARTS = {
    "to_device.queue": 140,
    "to_device.events_since": 70,
    "to_device.forget_until": 90,
}


@pytest.mark.parametrize("name", PARTS)
def test_calls_of_a_part(name):
    with conduitstore.open(":memory:") as store:
        user, device = "@a:one.test", "PHONE"
        operations = {
            "to_device.queue": lambda: store.to_device.queue(user, user, device, "t", {"n": 1}),
            "to_device.events_since": lambda: store.to_device.events_since(user, device, 0, 10),
            "to_device.forget_until": lambda: store.to_device.forget_until(user, device, 10),
        }
        assert python_calls(operations[name]) <= PARTS[name]
