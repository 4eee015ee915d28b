"""Space: files stay within their bound, and what is dead goes back to the system."""

import errno
import random
import threading

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import compaction, index, manifest
from conduitstore.engine.embedded.manifest import REWRITE_BYTES_MIN
from conduitstore.engine.embedded.segment import Segment
from conduitstore.errors import ClosedError, StoreFullError
from conduitstore.testing.disk import SimulatedDisk

SETTINGS = {
    "flush_every_ms": None,
    "checkpoint_log_bytes": 20_000,
    "segment_bytes_target": 30_000,
    "blob_bytes_min": 500,
    "leaf_entries_max": 32,
}
TEXTS_BYTES = 2_000


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk, **settings):
    return embedded.open("store", files=disk, **SETTINGS | settings)


def file_bytes(disk, *kinds):
    files = disk.directory("store")
    return sum(len(files._inode(name).cached) for name in files.names() if name.startswith(kinds))


def leaves_of(db):
    return [leaf for _, leaf in index.leaves(db.forest.roots[0])]


def watched(db, disk):
    """Compare every file with its bound at every call to the system; gives those calls."""
    moments = []

    def look(operation, name):
        stats = db.stats()
        total, logs = file_bytes(disk, ""), file_bytes(disk, "log")
        bound = 2 * stats.live_bytes + stats.checkpoint_bytes + 2 * REWRITE_BYTES_MIN + TEXTS_BYTES
        assert total - logs <= bound, (operation, name)
        assert logs <= 4 * db.settings.checkpoint_log_bytes + db.settings.log_keep_bytes + 1_000
        moments.append((operation, name))

    disk.fail = look
    return moments


def test_files_keep_to_their_bound_under_overwriting_and_deleting(disk):
    chance = random.Random(1)
    db, model = open_on(disk, log_keep_bytes=10_000), {}
    moments = watched(db, disk)
    for turn in range(12_000):
        key = chance.randrange(3_000).to_bytes(2)
        if chance.random() < (0.9 if turn // 3_000 == 2 else 0.3):
            model.pop(key, None)
            db.remove(key)
        else:
            model[key] = chance.randbytes(chance.choice((10, 60, 60, 700)))
            db.insert(key, model[key])
    assert sum(name.startswith("segment") for _, name in moments) > 100
    disk.fail = lambda _operation, _name: None
    assert list(db) == sorted(model.items())
    db.clear()
    db.checkpoint()
    db.compact()
    assert file_bytes(disk, "segment") == 0, "space goes back to the system"
    db.close()


def test_most_of_a_store_deleted_gives_its_space_back(disk):
    db = open_on(disk, log_keep_bytes=0)
    moments = watched(db, disk)
    for number in range(3_000):
        db.insert(number.to_bytes(2), random.Random(number).randbytes(100))
    db.checkpoint()
    full = file_bytes(disk, "")
    for number in range(1_000):
        if number % 100:
            db.remove(number.to_bytes(2))
    db.transaction(lambda tx: [tx.remove(number.to_bytes(2)) for number in range(1_000, 3_000)])
    db.checkpoint()
    db.insert(b"one", b"more")
    assert moments
    assert len(db) == 11
    db.compact()
    assert file_bytes(disk, "") < full / 10


def test_a_manifest_is_as_long_as_its_store_is_large(disk, monkeypatch):
    monkeypatch.setattr(manifest, "REWRITE_BYTES_MIN", 1_000)
    db = open_on(disk, leaf_entries_max=4, checkpoint_log_bytes=1 << 30)
    for number in range(20_000):
        db.insert(number.to_bytes(2), b"%d" % number)
    db.checkpoint()
    assert file_bytes(disk, "manifest") > 10_000
    db.clear()
    for key in (b"a", b"b"):  # The generation before is kept, and so is what holds it.
        db.insert(key, b"")
        db.checkpoint()
    db.insert(b"c", b"")
    db.checkpoint()
    assert file_bytes(disk, "manifest") < 1_000


def test_ceilings_do_not_fill_the_manifest(disk, monkeypatch):
    monkeypatch.setattr(manifest, "REWRITE_BYTES_MIN", 1_000)
    db = open_on(disk, idgen_persist_interval=1)
    for _ in range(500):
        db.generate_id()
        db.keep_up()
    assert file_bytes(disk, "manifest") < 3_000
    newest = db.generate_id()
    disk.kill()
    assert open_on(disk).generate_id() > newest


def test_compact_leaves_little_but_what_lives(disk):
    db = open_on(disk)
    for number in range(3_000):
        db.insert(number.to_bytes(2), random.Random(number).randbytes(80))
    db.checkpoint()
    for number in range(3_000):
        if number % 10:
            db.remove(number.to_bytes(2))
    expected = list(db)
    db.checkpoint()
    small = len(leaves_of(db))
    db.close()
    db = open_on(disk)
    db.compact()
    assert len(leaves_of(db)) <= small
    assert len(leaves_of(db)) <= len(expected) / 8
    assert file_bytes(disk, "segment") < db.checkpointer.live_bytes * 1.1
    assert list(db) == expected
    disk.kill()
    assert list(open_on(disk)) == expected


def test_small_leaves_on_disk_are_merged_by_checkpoints(disk):
    with open_on(disk) as db:
        for number in range(2_000):
            db.insert(number.to_bytes(2), b"v" * 10)
    for rest in range(32):
        with open_on(disk) as db:  # Neighbours are not in memory.
            for number in range(0 if rest else 1, 2_000, 32):
                if rest != 5:
                    db.remove((number + rest).to_bytes(2))
    with open_on(disk) as db:
        left = len(db)
        db.insert(b"one", b"more")
        db.checkpoint()
        assert len(leaves_of(db)) < max(8, left / 8)


@pytest.mark.parametrize("call", ["checkpoint", "compact"])
def test_nobody_waits_while_small_leaves_are_read(disk, monkeypatch, call):
    """Another thread writes in the middle of each read of the merging, to the leaf that is read."""
    with open_on(disk) as db:
        for number in range(2_000):
            db.insert(number.to_bytes(2), b"v" * 10)
    with open_on(disk) as db:
        for number in range(2_000):
            if number % 32:
                db.remove(number.to_bytes(2))
    # Removing left small leaves; what of them is on disk only is as in a store just opened.
    with open_on(disk) as db:
        db.insert(b"one", b"more")
        before, expected = len(leaves_of(db)), dict(iter(db))
        load, reads = Segment.load, []

        def write(key):
            db.insert(key, b"changed")
            db.remove(key + b"new")
            db.insert(key + b"new", b"new")

        def read(segment, location):
            columns = load(segment, location)
            keys, _ = columns.split()
            if threading.current_thread() is threading.main_thread():
                reads.append(keys[0])
                expected.update({keys[0]: b"changed", keys[0] + b"new": b"new"})
                writer = threading.Thread(target=write, args=(keys[0],), daemon=True)
                writer.start()
                writer.join(60)
                assert not writer.is_alive(), "a writer waits for a read"
            return columns

        for leaf in leaves_of(db):
            if leaf.location is not None:
                leaf.evict()
        monkeypatch.setattr(Segment, "load", read)
        getattr(db, call)()
        monkeypatch.undo()
        assert reads
        assert dict(iter(db)) == expected
        db.compact()
        assert len(leaves_of(db)) < before
        assert dict(iter(db)) == expected
    with open_on(disk) as db:
        assert dict(iter(db)) == expected
        assert list(db.verify()) == []


def test_writers_wait_for_a_checkpoint_that_lags(disk, monkeypatch):
    db = open_on(disk, flush_every_ms=10)
    begun, may_end = threading.Event(), threading.Event()
    publish = db._publish

    def slow(*args, **options):
        begun.set()
        may_end.wait(60)
        return publish(*args, **options)

    monkeypatch.setattr(db, "_publish", slow)
    written = []

    def write():
        for number in range(2_000):
            db.insert(number.to_bytes(2), b"x" * 100)
            written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(60)
    writer.join(1)
    assert writer.is_alive(), "it waits"
    assert db.backlog < 2.2
    assert db.get(b"\0\0") == b"x" * 100, "readers do not"
    may_end.set()
    writer.join()
    assert len(written) == 2_000
    db.close()


@pytest.mark.parametrize("flush_every_ms", [None, 10])
def test_a_backlog_that_a_full_disk_keeps_raises_and_clears_by_itself(disk, flush_every_ms):
    db = open_on(disk, flush_every_ms=flush_every_ms)
    disk.fail = lambda operation, name: (
        OSError(errno.ENOSPC, "full") if operation == "create" and "segment" in name else None
    )

    def write_all():
        for number in range(5_000):
            db.insert(number.to_bytes(2), b"x" * 100)

    with pytest.raises(StoreFullError):
        write_all()
    kept = list(db)
    disk.fail = lambda _operation, _name: None
    db.insert(b"goes on", b"")
    assert list(db) == sorted([*kept, (b"goes on", b"")])
    db.close()


def test_a_waiting_writer_hears_that_the_store_was_closed(disk):
    db = open_on(disk, flush_every_ms=60_000)
    db.is_behind = True
    db._flusher.nudge = lambda: None  # It will never come.
    raised = []

    def write():
        try:
            db.insert(b"a", b"1")
        except ClosedError as error:
            raised.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    del db._flusher.nudge
    db._let_go()
    writer.join(60)
    assert raised
    db.abandon()  # It still has a thread.


@pytest.mark.parametrize("target_bytes", [16 << 20, 6_000])
def test_small_segments_do_not_pile_up(disk, target_bytes):
    """Each is whole, and an open file: so many are written into one, or some where all are much."""
    db = open_on(disk, segment_bytes_target=target_bytes, log_keep_bytes=0)
    values = {f"tree {n}": random.Random(n).randbytes(100) for n in range(120)}
    for name, value in values.items():
        db.open_tree(name).insert(b"key", value)
        db.checkpoint()
        found = [n for n in disk.directory("store").names() if n.startswith("segment")]
        assert len(found) <= 2 * compaction.SMALL_SEGMENTS_MAX + 2
    assert list(db.verify()) == []
    db.close()
    with open_on(disk) as db:
        for number in range(120):
            assert db.open_tree(f"tree {number}").get(b"key") == random.Random(number).randbytes(
                100
            )
