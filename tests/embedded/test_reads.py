"""What reads cost and whom they wait for: no lock, no disk where memory will do, else one leaf."""

import threading
from contextlib import ExitStack

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded.segment import Segment
from conduitstore.testing.disk import SimulatedDisk

TREE_SIZE = 400


@pytest.fixture
def db():
    with embedded.open(
        "store",
        files=SimulatedDisk(),
        flush_every_ms=None,
        leaf_entries_max=4,
        cache_capacity_bytes=3_000,
    ) as db:
        for number in range(TREE_SIZE):
            db.insert(number.to_bytes(2), bytes(40))
        yield db


def in_another_thread(fn):
    """What ``fn`` gives there; fails where it waits."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(fn()), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits for something"
    return answers[0]


def test_point_reads_take_no_lock(db):
    key = b"\0\x05"
    db.checkpoint()
    view = db.snapshot()
    assert db.get(key) == view.get(key) == bytes(40)
    cache, forest = db.forest.cache, db.forest
    with ExitStack() as all_locks:
        for lock in (db.checkpoint_lock, db.writer_lock, forest.lock, cache._lock):
            all_locks.enter_context(lock)
        assert in_another_thread(lambda: (db.get(key), key in db, view.get(key), db.get(b"none")))
        assert in_another_thread(db.current_count) == 0


def test_who_reads_from_memory_waits_for_nobody_elses_disk(db, monkeypatch):
    hot, cold = b"\0\x05", (TREE_SIZE - 1).to_bytes(2)
    db.checkpoint()
    reading, on = threading.Event(), threading.Event()

    def load(segment, location, load=Segment.load):
        reading.set()
        assert on.wait(20)
        return load(segment, location)

    for number in range(0, TREE_SIZE, 4):  # Whatever is cold by now, this leaf is hot.
        db.get(number.to_bytes(2))
        assert db.get(hot) == bytes(40)
        assert next(db.range(hot, limit=1)) == (hot, bytes(40))
    monkeypatch.setattr(Segment, "load", load)
    slow = threading.Thread(target=db.get, args=(b"\0\xf0",))
    slow.start()
    assert reading.wait(20)
    assert in_another_thread(lambda: (db.get(hot), next(db.range(hot, limit=1)))) == (
        bytes(40),
        (hot, bytes(40)),
    )
    on.set()
    slow.join()
    assert db.get(cold) == bytes(40)


def test_a_cold_read_reads_one_leaf_however_large_the_tree(db):
    db.checkpoint()
    cache = db.forest.cache
    for number in range(0, TREE_SIZE, 37):
        before = cache.loads_total
        assert db.get(number.to_bytes(2)) == bytes(40)
        assert cache.loads_total - before <= 1
    assert cache.loads_total > 5


def test_a_write_appends_once_and_reads_at_most_one_leaf(db):
    """Like a log-structured tree: no page is read, changed and written back in its place."""
    db.checkpoint()
    disk, seen = db.directory._disk, []
    disk.fail = lambda operation, name: seen.append((operation, name.partition("-")[0]))
    for number in range(0, TREE_SIZE, 37):
        before = db.forest.cache.loads_total
        db.insert(number.to_bytes(2), b"new")
        assert db.forest.cache.loads_total - before <= 1
    assert set(seen) == {("append", "log"), ("put", "log")}
    aside = seen.count(("append", "log")) // 2  # One that goes beyond the end, and one for others.
    assert 0 < aside < 4
    assert len(seen) - aside == len(range(0, TREE_SIZE, 37))


def test_no_byte_in_a_file_is_ever_written_twice(db):
    """Files grow at their end, are renamed and go: kind to flash, and nothing whole is at risk.

    But what is set aside in the log.
    """
    disk, seen = db.directory._disk, set()
    disk.fail = lambda operation, name: seen.add((operation, name.partition("-")[0]))
    for turn in range(6):
        for number in range(0, TREE_SIZE, 3):
            db.insert(number.to_bytes(2), bytes([turn]) * 40)
        db.remove_prefix(b"\1")
        db.checkpoint()
    db.compact()
    db.close()
    seen.remove(("put", "log"))
    assert {operation for operation, _ in seen} <= {
        "append",
        "create",
        "rename",
        "sync",
        "sync directory",
        "unlink",
    }
    assert ("append", "segment") in seen


@pytest.mark.parametrize("cache_capacity_bytes", [0, 1 << 20])
def test_ranges_that_begin_behind_the_last_key_of_a_leaf(cache_capacity_bytes):
    disk = SimulatedDisk()
    settings = {"leaf_entries_max": 4, "cache_capacity_bytes": cache_capacity_bytes}
    rows = [(bytes([number]), b"%d" % number) for number in range(20)]
    with embedded.open("store", files=disk, flush_every_ms=None, **settings) as db:
        for row in rows:
            db.insert(*row)
    with embedded.open("store", files=disk, flush_every_ms=None, **settings) as db:
        for at in range(20):
            lo, hi = bytes([at, 1]), bytes([at])
            assert list(db.range(lo)) == rows[at + 1 :]
            assert list(db.range(hi=hi, reverse=True)) == rows[:at][::-1]
            assert list(db.range(lo, bytes([at + 1]))) == []
            with db.snapshot() as view:
                assert list(view.range(lo, limit=3)) == rows[at + 1 : at + 4]


@pytest.mark.parametrize("reverse", [False, True])
def test_the_far_end_of_a_limit_where_nothing_is_in_memory(tmp_path, reverse):
    """A page that is not in memory is walked, and its far end looked for when it is asked for."""
    keys = [b"%03d" % number for number in range(40)]
    with embedded.open(tmp_path / "s", leaf_entries_max=4) as db:
        for key in keys:
            db.insert(key, b"v")
    ordered = keys[::-1] if reverse else keys
    for taken in (0, 3, 10):
        with embedded.open(tmp_path / "s", leaf_entries_max=4) as db:
            items = db.range(b"000", b"039\0", reverse=reverse, limit=10)
            assert [next(items)[0] for _ in range(taken)] == ordered[:taken]
            assert [key for key, _ in reversed(items)] == ordered[taken:10][::-1]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_range_that_is_used_up_before_its_limit_has_no_far_end(tmp_path, reverse):
    with embedded.open(tmp_path / "s", leaf_entries_max=4) as db:
        for number in range(9):
            db.insert(b"%d" % number, b"v")
    with embedded.open(tmp_path / "s", leaf_entries_max=4) as db:
        items = db.range(b"0", b"8\0", reverse=reverse, limit=20)
        assert len([next(items) for _ in range(9)]) == 9
        assert items.next_back() is None
