"""Moments at which two threads, a fork or an interrupt once met badly, met here on purpose."""

import asyncio
import errno
import os
import sys
import threading

import pytest
from amid import before_each_row

from conduitstore.engine import embedded
from conduitstore.engine.embedded import counters
from conduitstore.engine.embedded.manifest import Manifest
from conduitstore.errors import (
    ClosedError,
    InvalidArgumentError,
    LockedError,
    PoisonedError,
    StoreFullError,
)
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


def test_a_log_that_turns_over_during_a_sync_is_synced_to_its_end(disk):
    db = open_on(disk)
    db.insert(b"a", b"1")

    def meanwhile(operation, _name):
        if operation == "sync directory":  # The file is synced, the sync not yet over.
            heal(disk)
            db.insert(b"b", b"2")
            db.log.rotate(db.next_number())

    disk.fail = meanwhile
    db.flush()
    db.transaction(lambda tx: tx.insert(b"c", b"3"), durability="commit")
    assert db.durable_sequence == 3
    disk.power_loss(keep="nothing")
    assert [key for key, _ in open_on(disk)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("how", ["from a block", "in a new block", "reserved"])
def test_no_id_is_given_out_behind_a_closes_back(disk, how):
    db = open_on(disk)
    if how != "in a new block":
        assert db.generate_id() == 0
    took = db.counters.take_id
    ids = [] if how == "in a new block" else [0]
    if how == "reserved":
        took = lambda: db.counters.take_ids(1)[0]  # noqa: E731

    def late():  # The handle was checked; then the store is closed.
        db.close()
        return took()

    db.counters.take_id = late
    with pytest.raises(ClosedError):
        db.generate_id()
    assert open_on(disk).generate_id() == len(ids)


def test_ids_of_many_threads_leave_no_gap_whatever_way_they_are_taken(disk, monkeypatch):
    monkeypatch.setattr(counters, "ID_BLOCK", 7)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    taken = []
    with open_on(disk, idgen_persist_interval=50) as db:

        def take(number):
            mine = []
            for at in range(400):
                if (at + number) % 5:
                    mine.append(db.generate_id())
                else:
                    mine.extend(db.reserve_ids(at % 4))
                assert db.counters.ids <= db.counters.ceilings.ids
            taken.extend(mine)

        jobs = [threading.Thread(target=take, args=(number,)) for number in range(4)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        sys.setswitchinterval(interval)
    assert sorted(taken) == list(range(len(taken)))
    with open_on(disk) as db:
        assert db.generate_id() == len(taken)


def test_a_closed_file_writes_into_no_other(tmp_path):
    file = embedded.Os().make_directory(str(tmp_path / "d")).create("old")
    write_at = file.write_at
    file.close()
    with pytest.raises(OSError, match="Bad file"):
        file.write_at(b"late", 0)
    assert write_at.args != file.write_at.args


def test_a_child_forked_inside_a_transaction_commits_nothing(tmp_path):
    parent = os.getpid()

    def run(tx):
        tx.insert(b"a", b"parent")
        if (child := os.fork()) == 0:
            tx.insert(b"a", b"child")
        elif os.waitpid(child, 0)[1]:
            pytest.fail("the child's commit went through")

    def swallow(tx):
        try:
            run(tx)
        except ClosedError:
            if os.getpid() == parent:
                raise

    with embedded.open(tmp_path / "s") as db:
        try:
            db.transaction(swallow)
        except LockedError:
            if os.getpid() != parent:
                os._exit(0)
            raise
        finally:
            if os.getpid() != parent:
                os._exit(1)
        data = (tmp_path / "s" / f"log-{db.log.number:08x}").read_bytes()
        assert len(data.rstrip(b"\0")) == db.log.size_bytes
        assert db.get(b"a") == b"parent"


def test_a_child_that_lives_on_does_not_hold_the_lock(tmp_path):
    db = embedded.open(tmp_path / "s")
    begin, end = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begin[1], b".")
        os.read(end[0], 1)
        os._exit(0)
    try:
        os.read(begin[0], 1)
        db.close()
        embedded.open(tmp_path / "s").close()
    finally:
        os.write(end[1], b".")
        os.waitpid(child, 0)


@pytest.mark.interpreted("it replaces a method of a class")
@pytest.mark.parametrize(
    ("freezing", "freeze"),
    [("freeze_for", lambda db: db.snapshot()), ("freeze_tree", len), ("page", list)],
)
def test_who_waits_while_a_commit_is_cut_short_does_not_see_half_of_it(
    disk, monkeypatch, freezing, freeze
):
    db = open_on(disk)
    begun, answers = threading.Event(), []

    def read():
        with pytest.raises(PoisonedError):
            answers.append(freeze(db))
        answers.append("refused")

    do = getattr(db.forest, freezing)

    def wait_for_the_lock(*args):
        begun.set()  # The handle was checked: from here on the reader only waits for the lock.
        return do(*args)

    rows = []

    def stop():
        rows.append(1)
        if len(rows) == 2:
            monkeypatch.setattr(db.forest, freezing, wait_for_the_lock)
            reader.start()
            assert begun.wait(20)
            raise KeyboardInterrupt

    reader = threading.Thread(target=read)
    before_each_row(monkeypatch, stop)
    latch = db.latch
    # The reader has the lock before the store is latched.
    monkeypatch.setattr(db, "latch", lambda *a, **k: (reader.join(), latch(*a, **k)))
    with pytest.raises(KeyboardInterrupt):
        db.transaction(lambda tx: [tx.insert(bytes([n]), b"1") for n in range(2)])
    reader.join()
    assert answers == ["refused"]


@pytest.mark.parametrize("end", ["commit", "close"])
def test_nobody_waits_for_what_will_never_be_durable(end):
    disk = SimulatedDisk(can_map=False)
    db = open_on(disk, flush_every_ms=60_000)
    db.insert(b"a", b"1")

    async def main():
        waiting = asyncio.ensure_future(db.wait_durable(1))
        await asyncio.sleep(0)
        disk.fail = failing("append", "log", errno.EIO)
        with pytest.raises(OSError, match="injected"):
            db.insert(b"b", b"2")
        with pytest.raises(PoisonedError):
            await asyncio.wait_for(waiting, 20)
        with pytest.raises(PoisonedError):
            await asyncio.wait_for(db.wait_durable(1), 20)

    async def main_close():
        db.latch(RuntimeError(), is_torn=False)
        db.no_writes = None  # It has not heard of it yet when it begins to wait.
        waiting = asyncio.ensure_future(db.wait_durable(1))
        await asyncio.sleep(0)
        db.no_writes = PoisonedError
        db.close()
        with pytest.raises(ClosedError):
            await asyncio.wait_for(waiting, 20)

    asyncio.run(main() if end == "commit" else main_close())
    db.close()


def test_waiting_for_durability_where_nothing_syncs_by_itself(disk):
    db = open_on(disk, flush_every_ms=60_000, durability="none")
    db.insert(b"a", b"1")
    asyncio.run(asyncio.wait_for(db.wait_durable(1), 20))
    assert db.durable_sequence == 1
    db.close()


def test_a_new_manifest_without_space_leaves_the_old_one_in_use(disk, monkeypatch):
    db = open_on(disk, idgen_persist_interval=2)
    db.insert(b"a", b"1")
    monkeypatch.setattr(Manifest, "is_long", lambda *_: True)
    disk.fail = failing("create", "manifest", errno.ENOSPC)
    with pytest.raises(StoreFullError):
        db.checkpoint()
    heal(disk)
    monkeypatch.undo()
    ids = [db.generate_id() for _ in range(9)]
    db.checkpoint()
    disk.power_loss(keep="nothing")
    db = open_on(disk)
    assert list(db) == [(b"a", b"1")]
    assert db.generate_id() > max(ids)


def test_a_checkpoint_that_found_no_space_is_made_when_asked_for_again(disk):
    db = open_on(disk)
    db.insert(b"a", b"1")
    disk.fail = failing("create", "segment", errno.ENOSPC)
    with pytest.raises(StoreFullError):
        db.checkpoint()
    heal(disk)
    db.checkpoint()
    assert [name for name in disk.directory("store").names() if name.startswith("segment")]


def test_more_ids_than_there_are_harm_nothing(disk):
    db = open_on(disk)
    for total in ((1 << 63) + 1, 1 << 64, 1 << 200):
        with pytest.raises(InvalidArgumentError):
            db.reserve_ids(total)
    assert db.generate_id() == 0
    db.insert(b"a", b"1")


@pytest.mark.interpreted("it replaces a method of an object")
def test_a_temporary_store_deletes_its_own_files_and_under_its_lock(tmp_path):
    path = tmp_path / "t"
    db = embedded.open(path, temporary=True)
    (path / "notes.txt").write_text("mine")
    unlink, held = db.directory.unlink, []

    def watched(name):
        with pytest.raises(LockedError):
            db.directory.lock("LOCK", "")
        held.append(name)
        unlink(name)

    db.directory.unlink = watched
    db.close()
    assert len(held) >= 3
    assert [file.name for file in path.iterdir()] == ["notes.txt"]
