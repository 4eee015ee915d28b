"""What happens between two lines of a call: another thread's doing, done there on purpose."""

import asyncio
import errno
import threading
from itertools import chain

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import wal
from conduitstore.engine.embedded.items import Items, slices_of
from conduitstore.errors import CorruptedError, InvalidArgumentError, PoisonedError
from conduitstore.testing.disk import SimulatedDisk


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk, **settings):
    return embedded.open("store", files=disk, **{"flush_every_ms": None} | settings)


def failing(operation, kind, code):
    return lambda op, name: (
        OSError(code, "injected") if op == operation and name.startswith(kind) else None
    )


def heal(disk):
    disk.fail = lambda _operation, _name: None


@pytest.mark.parametrize("flush_every_ms", [None, 5])
def test_a_callback_that_is_told_of_a_durable_commit_may_close_the_store(flush_every_ms, caplog):
    """It once waited for itself: in the log's sync, and in the close that told it of the end."""
    disk = SimulatedDisk()
    db = open_on(disk, flush_every_ms=flush_every_ms)
    subscriber, closed = db.watch_prefix(b"", only_durable=True), threading.Event()

    def close():
        db.close()
        closed.set()

    subscriber.on_ready(close)

    def write():
        db.insert(b"a", b"1")
        if flush_every_ms is None:
            db.flush()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert closed.wait(20)
    writer.join(20)
    assert not writer.is_alive()
    assert [event.key for event in subscriber] == [b"a"]
    with open_on(disk) as db:
        assert list(db) == [(b"a", b"1")]
        assert not db.was_recovered
    assert not caplog.records


def test_a_callback_of_the_commit_itself_may_not_close_the_store(disk, caplog):
    db = open_on(disk)
    subscriber = db.watch_prefix(b"")
    subscriber.on_ready(db.close)
    db.insert(b"a", b"1")
    assert "only its own handles" in caplog.text
    assert db.get(b"a") == b"1"
    caplog.clear()
    db.close()
    assert [event.key for event in subscriber] == [b"a"]
    assert not caplog.records


def test_what_becomes_durable_while_somebody_begins_to_wait(disk, monkeypatch):
    db = open_on(disk, flush_every_ms=60_000)
    db.insert(b"a", b"1")
    check = db.check_writable

    def meanwhile():
        monkeypatch.undo()
        db.flush()
        check()

    monkeypatch.setattr(db, "check_writable", meanwhile)
    asyncio.run(asyncio.wait_for(db.wait_durable(1), 20))
    assert db.durable_sequence == 1
    assert not db._waiters._waiters
    db.close()


def test_who_gives_up_waiting_just_when_it_is_told(disk):
    db, failed = open_on(disk, flush_every_ms=60_000), []
    db.insert(b"a", b"1")

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        waiting = asyncio.ensure_future(db.wait_durable(1))
        await asyncio.sleep(0)
        db.flush()  # It is told in the next turn of the loop,
        waiting.cancel()  # and gives up in this one.
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)

    asyncio.run(main())
    assert not failed
    assert not db._waiters._waiters
    db.close()


def test_a_tree_that_is_dropped_while_it_is_watched_leaves_no_subscriber(disk, monkeypatch):
    db = open_on(disk)
    tree, watch = db.open_tree("t"), db.watch

    def meanwhile(*args):
        db.drop_tree("t")
        watch(*args)

    monkeypatch.setattr(db, "watch", meanwhile)
    with pytest.raises(InvalidArgumentError, match="dropped"):
        tree.watch_prefix(b"")
    db.open_tree("t").insert(b"a", b"1")
    assert not db.subscribers.watched


class Meanwhile:
    """A lock; what another thread does just before it is first asked for is done then."""

    def __init__(self, lock, do):
        self.lock, self.do = lock, do

    def acquire(self, *args):
        do, self.do = self.do, lambda: None
        do()
        return self.lock.acquire(*args)

    def release(self):
        self.lock.release()


def syncs_of(disk, fn):
    seen = []
    disk.fail = lambda operation, name: seen.append(name) if operation == "sync" else None
    fn()
    heal(disk)
    return seen


def test_who_comes_just_behind_a_sync_makes_none(disk):
    db = open_on(disk)
    db.insert(b"a", b"1")
    log = db.log
    lock = log._sync_lock

    def other():
        log._sync_lock = lock
        log.sync(1)
        log._sync_lock = mine

    mine = log._sync_lock = Meanwhile(lock, other)
    assert len(syncs_of(disk, lambda: log.sync(1))) == 1
    assert db.durable_sequence == 1


def test_who_comes_just_behind_a_failed_sync_makes_none(disk):
    db = open_on(disk)
    db.insert(b"a", b"1")
    disk.fail = failing("sync", "log", errno.EIO)
    with pytest.raises(OSError, match="injected"):
        db.log.sync(1)

    def again():
        with pytest.raises(PoisonedError):
            db.log.sync(1)

    assert syncs_of(disk, again) == []
    db.log.close()


@pytest.mark.interpreted("it puts a list of its own in the place of one")
def test_a_sync_that_ends_while_somebody_gets_in_line_is_not_waited_for(disk, monkeypatch):
    monkeypatch.setattr(wal, "SYNC_WAIT_S", 250)
    db = open_on(disk)
    db.insert(b"a", b"1")
    log = db.log

    class Line(list):
        def append(self, told):
            super().append(told)
            log._sync_lock.release()  # The other thread's sync begins and ends.
            log.sync(1)

    log._waiters = Line()
    log._sync_lock.acquire()
    log.sync(1)
    assert db.durable_sequence == 1


def test_a_blob_moves_while_its_leaf_is_read_from_the_old_place(disk):
    """A checkpoint that then cannot read it there says so: the place is nobody's any more."""
    settings = {"blob_bytes_min": 50, "leaf_entries_max": 8, "compression_level": 0}
    with open_on(disk, **settings) as db:
        db.insert(b"blob", b"value" * 40)
        db.insert(b"k", b"small")
    db = open_on(disk, **settings)
    directory = disk.directory("store")
    (old,) = [name for name in directory.names() if name.startswith("segment")]
    inode = directory._inode(old)

    def meanwhile(operation, name):
        if (operation, name) == ("read", old):
            disk.fail_reads = lambda _operation, _name: None
            db.checkpointer.condemned = frozenset({int(old[-8:], 16)})
            db.compact()

    disk.fail_reads = meanwhile
    assert db.get(b"k") == b"small"
    inode.cached[64 + 30] ^= 1
    db.insert(b"k", b"other")
    with pytest.raises(CorruptedError, match=old):
        db.checkpoint()
    with pytest.raises(PoisonedError):
        db.insert(b"k", b"more")
    db.close()
    with open_on(disk, **settings) as db:
        assert dict(iter(db)) == {b"blob": b"value" * 40, b"k": b"other"}
        assert list(db.verify()) == []


def test_two_threads_that_find_no_ids_left_take_one_block(disk):
    db = open_on(disk)
    counters, lock = db.counters, db.counters._lock

    class Behind:
        """The lock; another thread that was waiting for it as well comes first."""

        def __enter__(self):
            counters._lock = lock
            others.append(db.generate_id())
            lock.acquire()

        def __exit__(self, *_):
            lock.release()

    others, counters._lock = [], Behind()
    assert (db.generate_id(), others) == (1, [0])
    assert db.generate_id() == 2


@pytest.mark.parametrize("reverse", [False, True])
def test_the_far_end_is_asked_for_before_the_first_entry_of_a_leaf_is_taken(disk, reverse):
    """By another thread that has the same iterator: nothing is told twice, and nothing is lost."""
    db = open_on(disk, leaf_entries_max=4)
    for number in range(10):
        db.insert(bytes([number]), b"")
    db.checkpoint()
    root, hold = db.forest.freeze_tree(0, db)
    items = Items.over(slices_of(root, hold), None, None, None, reverse=reverse)
    near = items._range.near_end()
    assert next(near), "a leaf is at hand, of which nothing was taken"
    far = items.next_back()
    rest = list(chain.from_iterable(near))
    keys = [key for key, _ in (*rest, far)]
    assert keys == sorted([bytes([number]) for number in range(10)], reverse=reverse)
