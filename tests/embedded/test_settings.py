"""Each setting does what it says, where no other file looks at it."""

import random
import threading

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import index, names
from conduitstore.engine.embedded.config import Settings
from conduitstore.testing.disk import SimulatedDisk


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk, **settings):
    return embedded.open("store", files=disk, **{"flush_every_ms": None} | settings)


def sizes(disk, kind):
    directory = disk.directory("store")
    return {
        name: directory.open(name).size()
        for name in directory.names()
        if (names.parse(name) or ("", 0))[0] == kind
    }


def threads_of_ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("conduitstore")]


def test_it_syncs_every_500_ms_unless_told_otherwise():
    assert (Settings().flush_every_ms, Settings().durability) == (500, "interval")


def test_without_an_interval_nothing_happens_by_itself(disk):
    with open_on(disk, flush_every_ms=None) as db:
        assert threads_of_ours() == []
        db.insert(b"a", b"1")
        assert db.durable_sequence == 0
        assert db.flush() == 1
    with open_on(disk, flush_every_ms=60_000):
        assert len(threads_of_ours()) == 1
    assert threads_of_ours() == []


@pytest.mark.parametrize("bound", [50_000, 1 << 30])
def test_dirty_memory_brings_a_checkpoint_though_the_log_is_short(disk, bound):
    with open_on(disk, dirty_bytes_max=bound) as db:
        for number in range(2_000):
            db.insert(number.to_bytes(2), bytes(100))
        db.checkpoint()
        generation = db.stats().generation
        for number in range(0, 2_000, 10):
            db.insert(number.to_bytes(2), b"1")
        assert (db.stats().generation > generation) == (bound == 50_000)
        assert db.stats().dirty_bytes < 3 * bound


@pytest.mark.parametrize("level", [0, 1, 19])
def test_compression_is_chosen_and_no_obstacle_to_another_choice(disk, level):
    text = random.Random(1)
    rows = {number.to_bytes(4): b"the same words " * text.randrange(20) for number in range(2_000)}
    with open_on(disk, compression_level=level) as db:
        db.transaction(lambda tx: [tx.insert(key, value) for key, value in rows.items()])
        db.checkpoint()
        stored = sum(sizes(disk, names.SEGMENT).values())
    payload = sum(map(len, rows)) + sum(map(len, rows.values()))
    assert stored > payload * 0.9 if level == 0 else stored < payload * 0.3
    with open_on(disk, compression_level=3 - min(level, 3)) as db:
        assert list(db) == sorted(rows.items())
        db.insert(b"another", b"1")


@pytest.mark.parametrize("interval", [1, 10, 1_000])
def test_an_unclean_end_skips_at_most_twice_the_ids_that_are_reserved(disk, interval):
    last = -1
    for _ in range(5):
        db = open_on(disk, idgen_persist_interval=interval)
        first = db.generate_id()
        assert last < first <= last + 1 + 2 * interval
        last = max(db.generate_id() for _ in range(interval + 3))
        disk.kill()


def test_leaves_split_by_entries_and_by_bytes():
    def leaves(**settings):
        with open_on(SimulatedDisk(), **settings) as db:
            for number in range(400):
                db.insert(number.to_bytes(2), bytes(100))
            root = db.forest.roots[db.tree_id]
            return [(leaf.entries_total, leaf.size_bytes) for _, leaf in index.leaves(root)]

    by_entries = leaves(leaf_entries_max=10, leaf_bytes_max=1 << 20)
    assert max(entries for entries, _ in by_entries) == 10
    by_bytes = leaves(leaf_entries_max=10_000, leaf_bytes_max=2_000)
    assert 1_800 < max(size for _, size in by_bytes) <= 2_000
    assert sum(entries for entries, _ in by_bytes) == 400


def test_a_segment_that_is_long_enough_is_followed_by_another(disk):
    with open_on(disk, segment_bytes_target=5_000, leaf_entries_max=10, compression_level=0) as db:
        for number in range(300):
            db.insert(number.to_bytes(2), bytes(200))
        db.checkpoint()
        found = sizes(disk, names.SEGMENT)
    assert len(found) >= 8
    assert max(found.values()) < 5_000 + 10 * 300


def test_an_interval_loses_only_what_was_committed_after_the_last_sync_began(disk):
    db = open_on(disk)
    db.insert(b"before", b"1")

    def commit_meanwhile(operation, name):
        if operation == "sync" and name.startswith("log"):
            disk.fail = lambda *_: None
            db.insert(b"meanwhile", b"1")

    disk.fail = commit_meanwhile
    assert db.flush() == db.durable_sequence
    promised = db.durable_sequence
    db.insert(b"after", b"1")
    disk.power_loss(keep="nothing")
    with open_on(disk) as db:
        assert db.get(b"before") == b"1"
        assert db.sequence >= promised >= 1
        assert db.get(b"after") is None
