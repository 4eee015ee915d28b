"""The failure table: what each failure leaves, and what the next open finds."""

import errno
import threading

import pytest
from amid import before_each_row

from conduitstore.engine import embedded
from conduitstore.engine.embedded import forest
from conduitstore.errors import CorruptedError, PoisonedError, StoreFullError
from conduitstore.testing.disk import SimulatedDisk

SETTINGS = {"flush_every_ms": None, "leaf_entries_max": 4}


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk, **settings):
    return embedded.open("store", files=disk, **SETTINGS | settings)


def failing(operation, kind, code):
    """Fail calls of one operation on files of one kind."""
    return lambda op, name: (
        OSError(code, "injected") if op == operation and name.startswith(kind) else None
    )


def log_of(disk):
    names = disk.directory("store").names()
    newest = max(name for name in names if name.startswith("log"))
    return newest, disk.directory("store")._inode(newest)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_fails_that_commit_whole_and_clears_by_itself(code):
    disk = SimulatedDisk(can_map=False)
    db = open_on(disk)
    db.insert(b"a", b"1")
    size = db.log.size_bytes
    disk.fail = failing("append", "log", code)
    with pytest.raises(StoreFullError):
        db.insert(b"b", b"2")
    with pytest.raises(StoreFullError):
        db.transaction(lambda tx: [tx.insert(bytes([n]), b"x") for n in range(9)])
    assert list(db) == [(b"a", b"1")]
    assert log_of(disk)[1].cached[size:] == b""
    disk.fail = lambda _operation, _name: None
    db.insert(b"c", b"3")
    disk.kill()
    assert list(open_on(disk)) == [(b"a", b"1"), (b"c", b"3")]


def test_a_full_disk_in_the_middle_of_a_write_leaves_no_part_of_it():
    disk = SimulatedDisk(can_map=False)
    db = open_on(disk)
    db.insert(b"a", b"1")
    disk.append_bytes_max = 7
    calls = []

    def fail(operation, name):
        calls.append(operation)
        is_full = operation == "append" and calls.count("append") > 2
        return OSError(errno.ENOSPC, "full") if is_full else None

    disk.fail = fail
    with pytest.raises(StoreFullError):
        db.insert(b"b", b"2" * 50)
    assert calls == ["append", "append", "append", "truncate"]
    disk.fail = lambda _operation, _name: None
    db.insert(b"c", b"written in pieces")
    disk.kill()
    assert list(open_on(disk)) == [(b"a", b"1"), (b"c", b"written in pieces")]


@pytest.mark.parametrize("operation", ["append", "create"])
def test_a_full_disk_stops_a_checkpoint_but_not_the_store(disk, operation):
    db = open_on(disk)
    for number in range(20):
        db.insert(bytes([number]), b"1")
    disk.fail = failing(operation, "segment", errno.ENOSPC)
    for _ in range(2):
        with pytest.raises(StoreFullError):
            db.checkpoint()
        db.insert(b"goes", b"on")
    assert not [name for name in disk.directory("store").names() if name.startswith("segment")]
    disk.fail = lambda _operation, _name: None
    db.checkpoint()
    disk.power_loss(keep="nothing")
    assert len(open_on(disk)) == 21


@pytest.mark.parametrize("kind", ["log", "segment", "manifest", "store"])
def test_a_failed_sync_is_never_tried_again(disk, kind):
    db = open_on(disk)
    db.insert(b"a", b"1")
    disk.fail = failing("sync directory" if kind == "store" else "sync", kind, errno.EIO)
    with pytest.raises(PoisonedError):
        db.checkpoint() if kind != "log" else db.flush()
    disk.fail = lambda _operation, _name: None
    for call in (lambda: db.insert(b"b", b"2"), db.flush, db.checkpoint):
        with pytest.raises(PoisonedError):
            call()
    assert db.get(b"a") == b"1", "reads go on"
    db.close()
    again = open_on(disk)
    assert list(again) == [(b"a", b"1")]
    assert again.was_recovered


def test_every_waiter_gets_the_failed_sync(disk):
    db = open_on(disk)
    together = threading.Barrier(4)
    errors = []

    def fail(operation, name):
        return OSError(errno.EIO, "dead") if operation == "sync" and "log" in name else None

    def write(number):
        together.wait()
        try:
            db.transaction(lambda tx: tx.insert(bytes([number]), b"1"), durability="commit")
        except PoisonedError as error:
            errors.append(error)

    disk.fail = fail
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 4
    assert db.durable_sequence == 0


def test_a_failed_write_to_the_log_latches(disk):
    db = open_on(disk)
    disk.fail = failing("append", "log", errno.EIO)
    with pytest.raises(OSError, match="injected"):
        db.insert(b"a", b"1")
    disk.fail = lambda _operation, _name: None
    with pytest.raises(PoisonedError):
        db.insert(b"a", b"1")
    assert db.get(b"a") is None, "the change had not begun: reads go on"
    db.close()
    assert list(open_on(disk)) == []


@pytest.mark.interpreted("it replaces a method of a class")
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("at", range(2, 7))
def test_an_interrupt_in_the_middle_of_a_commit_hides_all_of_it(disk, monkeypatch, at, interrupt):
    db = open_on(disk)
    tree = db.open_tree("t")
    items = tree.range()
    calls = []

    def interrupted(*_):
        calls.append(1)
        if len(calls) == at:
            raise interrupt

    before_each_row(monkeypatch, interrupted)
    monkeypatch.setattr(forest, "separator", interrupted)  # The fifth begins a leaf of its own.
    with pytest.raises(interrupt):
        db.transaction(lambda tx: [tx.open_tree("t").insert(bytes([n]), b"1") for n in range(5)])
    for call in (lambda: tree.get(b"\0"), db.snapshot, tree.range, lambda: tree.insert(b"a", b"")):
        with pytest.raises(PoisonedError):
            call()
    assert list(items) == [], "what was made before goes on, with the state before"
    monkeypatch.undo()
    db.close()
    # The frame was whole before anything changed, so all of the commit comes back.
    assert len(open_on(disk).open_tree("t")) == 5


def everything(disk):
    directory = disk.directory("store")
    return {name: bytes(directory._inode(name).cached) for name in directory.names()}


def damaged(disk, at):
    """Flip a byte of the newest log."""
    name, inode = log_of(disk)
    inode.cached[at] ^= 0xFF
    inode.platter = bytes(inode.cached)
    return name


def test_a_torn_tail_is_cut(disk, caplog):
    db = open_on(disk)
    ends = []
    for number in range(5):
        db.insert(bytes([number]), b"1")
        ends.append(db.log.size_bytes)
    disk.kill()
    damaged(disk, ends[3] + 20)
    db = open_on(disk)
    assert len(db) == 4
    assert f"ends at byte {ends[3]}" in caplog.text
    db.insert(b"new", b"history")
    disk.kill()
    assert len(open_on(disk)) == 5


def test_damage_to_what_was_durable_is_told_from_a_torn_tail(disk):
    db = open_on(disk)
    ends = []
    for number in range(5):
        db.insert(bytes([number]), b"1")
        ends.append(db.log.size_bytes)
        if number == 2:
            db.flush()
    disk.kill()
    before = everything(disk)
    name = damaged(disk, ends[0] + 20)
    with pytest.raises(CorruptedError, match="were on the platter") as caught:
        open_on(disk)
    assert (caught.value.file, caught.value.offset) == (name, ends[0])
    damaged(disk, ends[0] + 20)
    disk.kill()
    assert everything(disk) == before
    assert len(open_on(disk)) == 5


@pytest.mark.parametrize(
    ("which", "match"), [(-3, "is missing"), (-2, "commits up to 2 were on the platter")]
)
def test_a_log_that_is_gone_is_noticed(disk, which, match):
    db = open_on(disk)
    db.insert(b"a", b"1")
    db.flush()
    db.log.rotate(98)
    db.insert(b"b", b"2")
    db.flush()
    db.log.rotate(99)
    db.insert(b"c", b"3")
    disk.kill()
    names = [name for name in disk.directory("store").names() if name.startswith("log")]
    disk.directory("store").unlink(names[which])
    with pytest.raises(CorruptedError, match=match):
        open_on(disk)


def test_a_failing_close_loses_nothing(disk):
    db = open_on(disk)
    db.insert(b"a", b"1")
    disk.fail = failing("create", "segment", errno.ENOSPC)
    with pytest.raises(StoreFullError):
        db.close()
    disk.fail = lambda _operation, _name: None
    assert list(open_on(disk)) == [(b"a", b"1")]
