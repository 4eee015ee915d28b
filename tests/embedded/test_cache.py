"""The cache: bounded in bytes, and not emptied by a scan."""

import random
import tracemalloc

import pytest

from conduitstore.engine import Batch, embedded
from conduitstore.engine.embedded import index
from conduitstore.engine.embedded.checkpoint import row_of
from conduitstore.engine.embedded.excerpt import ROW_BYTES, Rows
from conduitstore.engine.embedded.leaf import payload_bytes
from conduitstore.engine.embedded.recovery import _leaf
from conduitstore.testing.disk import SimulatedDisk

CAPACITY = 200_000


def bytes_in_memory(leaf):
    """What the cache has to count for it."""
    total, excerpt = 0, leaf.excerpt
    if leaf.entries is not None:
        total += leaf.memory_bytes
    if excerpt is not None and (excerpt.once or excerpt.again):
        total += Rows(leaf, excerpt).memory_bytes
        rows, counted = {**excerpt.once, **excerpt.again}, excerpt.once_bytes + excerpt.again_bytes
        assert counted == payload_bytes(rows) + ROW_BYTES * len(rows)
    if excerpt is not None and excerpt.columns is not None:
        total += excerpt.columns.memory_bytes
    return total


def filled(**settings):
    disk = SimulatedDisk()
    options = {"flush_every_ms": None, "leaf_entries_max": 32, **settings}
    with embedded.open("store", files=disk, **options) as db:
        for number in range(6_000):
            db.insert(number.to_bytes(2), b"value %06d" % number * 8)
    return embedded.open("store", files=disk, **options)


def test_a_scan_leaves_hot_leaves_in_the_cache():
    db = filled(cache_capacity_bytes=CAPACITY)
    hot = [number.to_bytes(2) for number in range(0, 600, 8)]
    for _ in range(3):
        for key in hot:
            db.get(key)
        assert len(list(db.range(lo=(3_000).to_bytes(2), limit=1_500))) == 1_500
    for key in hot:
        db.get(key)
    loads = db.forest.cache.loads_total
    assert len(list(db)) == 6_000
    scanned = db.forest.cache.loads_total
    assert scanned - loads > 150, "the scan had to read"
    for key in hot:
        db.get(key)
    assert db.forest.cache.loads_total == scanned, "what is hot is still there"


def test_the_cache_keeps_to_its_capacity():
    db = filled(cache_capacity_bytes=CAPACITY)
    for _ in range(2):
        for number in range(0, 6_000, 7):
            db.get(number.to_bytes(2))
            assert db.forest.cache.resident_bytes <= CAPACITY
    leaves = [leaf for _, leaf in index.leaves(db.forest.roots[0])]
    assert sum(map(bytes_in_memory, leaves)) == db.forest.cache.resident_bytes > 0


def test_dirty_memory_is_counted_as_it_grows():
    db = filled(cache_capacity_bytes=CAPACITY, blob_bytes_min=500)
    chance = random.Random(1)
    for turn in range(3_000):
        key = chance.randrange(7_000).to_bytes(2)
        if turn % 3:
            db.insert(key, chance.randbytes(chance.randrange(800)))
        else:
            db.remove(key)
    # Blobs that were overwritten stay counted until the next checkpoint, as the log does.
    assert db.stats().dirty_bytes <= db.forest.dirty_bytes < 1.5 * db.stats().dirty_bytes
    db.checkpoint()
    assert db.forest.dirty_bytes == db.stats().dirty_bytes == 0


def test_what_a_commit_loaded_leaves_with_it():
    db = filled(cache_capacity_bytes=0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    batch = Batch()
    for number in range(0, 6_000, 20):
        batch.insert(db, number.to_bytes(2), b"new")
    db.apply_batch(batch)
    dirty = tracemalloc.get_traced_memory()[0] - before
    db.checkpoint()
    left = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert left < dirty / 4


@pytest.mark.interpreted("it passes a bytearray for bytes, so that these are counted")
def test_an_index_is_counted_as_memory_has_it():
    db = filled(cache_capacity_bytes=0, leaf_entries_max=4)
    parts = [(low, leaf) for low, leaf in index.leaves(db.forest.roots[0])]
    rows = [(low + b"", row_of(leaf.location, leaf), leaf.location.segment) for low, leaf in parts]
    del parts
    tracemalloc.start()
    root = index.build([(bytearray(low), _leaf({row[0]: at}, row)) for low, row, at in rows])
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.6 * index.memory_bytes(root) < taken < index.memory_bytes(root)


def test_bytes_are_counted_as_memory_has_them():
    db = filled(cache_capacity_bytes=1 << 30, leaf_entries_max=256)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(0, 6_000, 10):
        db.get(number.to_bytes(2))
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    counted = db.forest.cache.resident_bytes
    assert 0.75 * counted < taken < 1.05 * counted, taken / counted


def test_sums_that_an_interrupt_left_too_high_are_begun_anew():
    db = filled(cache_capacity_bytes=0)
    cache = db.forest.cache
    cache.resident_bytes = cache._columns_bytes = 1_000
    for number in range(0, 6_000, 100):
        assert db.get(number.to_bytes(2)) == b"value %06d" % number * 8
    assert len(list(db)) == 6_000
    assert (cache.resident_bytes, cache._columns_bytes, cache._probation_bytes) == (0, 0, 0)
