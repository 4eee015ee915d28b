"""Which small neighbours become one leaf, and what happens to one that cannot be read."""

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import index, lifecycle
from conduitstore.engine.embedded.merging import SmallLeaves
from conduitstore.errors import CorruptedError
from conduitstore.testing.disk import SimulatedDisk

SETTINGS = {"flush_every_ms": None, "leaf_entries_max": 8}
KEYS = [bytes([8 * number]) for number in range(20)]


def leaves_of(db):
    return [leaf for _, leaf in index.leaves(db.forest.roots[0])]


@pytest.fixture
def disk(monkeypatch):
    """Twenty leaves of one entry each."""
    monkeypatch.setattr(lifecycle, "MERGED_LEAVES_MAX", 0)
    disk = SimulatedDisk()
    with embedded.open("store", files=disk, **SETTINGS) as db:
        for number in range(160):
            db.insert(bytes([number]), b"v" * 10)
    for number in range(20):
        with embedded.open("store", files=disk, **SETTINGS) as db:  # No neighbour is in memory.
            keys, _ = db.forest.cache.contents(leaves_of(db)[number])
            for key in keys[1:]:
                db.remove(key)
    with embedded.open("store", files=disk, **SETTINGS) as db:
        assert [leaf.entries_total for leaf in leaves_of(db)] == [1] * 20
        assert list(db.keys()) == KEYS
    return disk


def merged(db, leaves_max=100):
    small = SmallLeaves(db.forest, leaves_max=leaves_max)
    for leaf in leaves_of(db):
        if leaf.location is not None:
            leaf.evict()  # As the cache may do at any time.
    with db.writer_lock:
        return small.merge()


def test_runs_become_one_leaf_each_half_full(disk):
    with embedded.open("store", files=disk, **SETTINGS) as db:
        assert db.forest.dirty_bytes == 0
        assert merged(db) == 15
        assert [leaf.entries_total for leaf in leaves_of(db)] == [4] * 5
        assert db.forest.dirty_bytes == sum(leaf.memory_bytes for leaf in leaves_of(db))
        assert list(db.keys()) == KEYS
        assert merged(db) == 0
    with embedded.open("store", files=disk, **SETTINGS) as db:
        assert list(db.keys()) == KEYS


def test_only_so_many_are_read_at_once(disk):
    with embedded.open("store", files=disk, **SETTINGS) as db:
        assert merged(db, leaves_max=8) == 6
        assert merged(db, leaves_max=0) == 0
        assert merged(db) == 9


def test_one_that_is_written_to_meanwhile_is_merged_as_it_is_then(disk):
    with embedded.open("store", files=disk, **SETTINGS) as db:
        db.insert(KEYS[1] + b"x", b"before")
        small = SmallLeaves(db.forest, leaves_max=100)
        db.insert(KEYS[1] + b"x", b"after" * 1_000)  # A blob, the first one of its leaf.
        with db.writer_lock:
            assert small.merge() > 10
        assert db.get(KEYS[1] + b"x") == b"after" * 1_000
        assert leaves_of(db)[0].entries_total == 4, "it was merged with its neighbours"


def test_trees_that_change_or_go_meanwhile(disk):
    with embedded.open("store", files=disk, **SETTINGS) as db:
        gone = db.open_tree("gone")
        for number in range(16):
            gone.insert(bytes([number]), b"")
        for number in range(12):
            gone.remove(bytes([number + number // 6 * 2]))
        small = SmallLeaves(db.forest, leaves_max=100)
        db.drop_tree("gone")
        db.clear()
        with db.writer_lock:
            assert small.merge() == 0
        assert list(db) == []
        assert db.tree_names() == ["__default__"]


def test_one_that_cannot_be_read_stays_and_keeps_what_it_has(disk):
    with embedded.open("store", files=disk, **SETTINGS) as db:
        leaf = leaves_of(db)[9]
        data = disk.directory("store")._inode(leaf.location.segment.file.name).cached
        at = leaf.location.offset + 20
        data[at] ^= 1
        assert merged(db) > 10
        db.compact()
        with pytest.raises(CorruptedError):
            db.get(KEYS[9])
        data[at] ^= 1
        assert list(db.keys()) == KEYS, "as it was written, if the disk has a better day"
