"""Logs with space set aside: commits that will be waited for are held, and written in place."""

import errno
import itertools
import threading

import pytest
from logs import calls_of, keys_after, log_of, open_on, put

from conduitstore.engine import embedded
from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.logfile import ASIDE_BYTES_MAX, ASIDE_BYTES_MIN
from conduitstore.errors import CorruptedError, PoisonedError, StoreFullError
from conduitstore.testing.crash import content
from conduitstore.testing.disk import SimulatedDisk, SimulatedFile


@pytest.fixture
def disk():
    return SimulatedDisk(can_map=False)


@pytest.fixture
def db(disk):
    """A store whose log has space set aside."""
    db = open_on(disk)
    put(db, b"first", "commit")
    return db


def unsynced(db, key, durability, value=b"1"):
    """As :func:`put` is before it waits."""
    with db.writer_lock:
        ops = [0, key, value]
        return db.commit(ops, db.forest.count, durability)


def kill(disk):
    disk.kill()


def power_loss(disk):
    disk.power_loss(keep="nothing")


def full(*operations):
    return lambda operation, name: (
        OSError(errno.ENOSPC, "injected") if operation in operations and "log" in name else None
    )


def test_those_who_wait_are_written_at_once_and_in_place(disk, db):
    size = len(log_of(disk).cached)
    last = [unsynced(db, bytes([n]), "commit") for n in range(5)][-1]
    assert keys_after(disk, kill) == [b"first"]
    assert calls_of(disk, lambda: db.sync(last)) == ["write", "sync"]
    assert len(log_of(disk).cached) == size
    assert keys_after(disk, power_loss) == [*(bytes([n]) for n in range(5)), b"first"]


@pytest.mark.parametrize("durability", ["interval", "commit"])
def test_who_writes_at_once_writes_what_is_held_first(disk, db, durability):
    held = unsynced(db, b"held", "commit")
    value = b"longer than what is set aside" * (200 if durability == "commit" else 1)
    unsynced(db, b"x", durability, value)
    assert db.log.written == held + 1
    assert keys_after(disk, kill) == [b"first", b"held", b"x"]


def test_what_nobody_waits_for_need_not_fit(disk, db):
    awaited = unsynced(db, b"awaited", "commit")
    unsynced(db, b"not", "none", b"longer than what is set aside" * 200)
    disk.fail = full("append")
    db.sync(awaited)
    assert (db.log.durable, db.log.written) == (awaited, awaited)
    disk.fail = lambda _operation, _name: None
    assert db.flush() == awaited + 1
    assert keys_after(disk, power_loss) == [b"awaited", b"first", b"not"]


def test_space_is_set_aside_as_the_log_grows(disk, db):
    value, aside = bytes(1000), []
    while db.log.size_bytes < 4 * ASIDE_BYTES_MAX:
        put(db, b"again", "commit", value)
        aside.append(len(log_of(disk).cached) - db.log.size_bytes)
        assert aside[-1] <= min(max(ASIDE_BYTES_MIN, db.log.size_bytes), ASIDE_BYTES_MAX)
    assert sum(now > before for before, now in itertools.pairwise(aside)) < 16
    before = len(log_of(disk).cached)
    put(db, b"waits for nothing", "interval", bytes(2 * ASIDE_BYTES_MAX))
    put(db, b"neither", "interval")
    assert len(log_of(disk).cached) == db.log.size_bytes > before


def test_a_disk_without_space_to_set_aside_is_mild(disk):
    db = open_on(disk)
    is_second = iter([False, True])

    def fail(operation, _name):
        if operation == "append" and next(is_second, False):
            return OSError(errno.ENOSPC, "injected")
        return None

    disk.fail = fail
    put(db, b"a", "commit")
    assert len(log_of(disk).cached) == db.log.size_bytes
    disk.fail = lambda _operation, _name: None
    put(db, b"b", "commit")
    assert keys_after(disk, power_loss) == [b"a", b"b"]


def test_a_full_disk_takes_nothing_from_those_who_wait(disk, db):
    held = unsynced(db, b"held", "commit")
    disk.fail = full("append")
    for durability in ("interval", "commit"):
        with pytest.raises(StoreFullError):
            put(db, b"big", durability, bytes(3 * ASIDE_BYTES_MIN))
    with pytest.raises(StoreFullError):
        put(db, b"small", "commit")  # What was set aside is given back.
    db.sync(held)
    disk.fail = lambda _operation, _name: None
    put(db, b"big", "commit", bytes(3 * ASIDE_BYTES_MIN))
    assert keys_after(disk, power_loss) == [b"big", b"first", b"held"]


def test_held_commits_that_do_not_fit_stay_held(disk, db):
    """In memory, with the space that those before them have."""
    held = unsynced(db, b"held", "commit")
    unsynced(db, b"none", "none", bytes(3 * ASIDE_BYTES_MIN))
    length = len(log_of(disk).cached)
    disk.append_bytes_max = 1000
    calls = []

    def fail(operation, _name):
        calls.append(operation)
        is_full = operation == "append" and calls.count("append") > 1
        return OSError(errno.ENOSPC, "injected") if is_full else None

    disk.fail = fail
    with pytest.raises(StoreFullError):
        db.flush()
    assert (db.log.written, len(log_of(disk).cached)) == (held - 1, length)
    disk.fail, disk.append_bytes_max = full("append"), None
    db.sync(held)
    assert keys_after(disk, power_loss) == [b"first", b"held"]


def test_a_disk_that_breaks_its_word_latches(disk, db):
    """Where writing in place takes new space, as in a file system that copies on writes."""
    disk.fail = full("write")
    with pytest.raises(PoisonedError):
        put(db, b"a", "commit")
    disk.fail = lambda _operation, _name: None
    with pytest.raises(PoisonedError):
        put(db, b"b", "interval")
    db.close()
    assert content(open_on(disk))["__default__"] == [(b"first", b"1")]


def test_what_is_set_aside_is_no_damage(disk, db):
    put(db, b"second", "interval")
    assert len(log_of(disk).cached) > db.log.size_bytes
    assert list(db.verify()) == []
    disk.kill()
    assert list(embedded.verify("store", files=disk)) == []
    for mode in ("prefix", "salvage"):
        assert embedded.survey("store", recover=mode, files=disk).damages == ()
    again = open_on(disk)
    assert again.was_recovered
    assert again.recovery_report.cuts == ()
    assert len(again) == 2


def test_what_is_set_aside_is_no_damage_beside_another_one(disk, db):
    db.checkpoint()
    put(db, b"second", "commit")
    manifest = db.checkpointer.manifest.name
    disk.kill()
    disk.directory("store")._inode(manifest).cached[100] ^= 1
    damages = embedded.survey("store", recover="salvage", files=disk).damages
    assert {damage.file for damage in damages} == {manifest}


def test_what_was_torn_there_is_cut(disk, db):
    end = db.log.size_bytes
    inode = log_of(disk)
    inode.cached[end + 20 : end + 30] = b"torn bytes"
    disk.kill()
    (damage,) = embedded.verify("store", files=disk)
    assert damage.offset == end
    (cut,) = open_on(disk).recovery_report.cuts
    assert (cut.offset, cut.offset + cut.size_bytes) == (end, len(inode.cached))


@pytest.mark.parametrize("commits", [1, 2, 5])
def test_a_reader_that_passes_before_a_writer_writes(disk, db, monkeypatch, commits):
    """The first half of its reading is older than the second, with later frames in it."""
    reader = embedded.open("store", files=disk, read_only=True, leaf_entries_max=4)
    read_at = SimulatedFile.read_at
    rounds = iter(range(2))

    def slowly(self, offset, size):
        if not self.name.startswith("log") or next(rounds, None) is None:
            return read_at(self, offset, size)
        first = read_at(self, offset, min(size, 300))
        for number in range(commits):
            put(db, bytes([number]), "commit", bytes(250))
        return first + read_at(self, offset + len(first), size - len(first))

    monkeypatch.setattr(SimulatedFile, "read_at", slowly)
    reader.refresh()
    monkeypatch.undo()
    assert reader.durable_sequence <= reader.sequence <= db.sequence
    assert reader.refresh() == db.sequence
    assert content(reader) == content(db)


def test_threads_that_wait_lose_nothing_to_those_that_do_not(disk, db):
    acknowledged: list[bytes] = []

    def write(number):
        for at in range(50):
            durability = ("commit", "interval", "none", "commit")[(at + number) % 4]
            key = bytes([number, at])
            put(db, key, durability, bytes(40 * (at % 7)))
            if durability == "commit":
                acknowledged.append(key)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {b"first", *acknowledged} <= set(keys_after(disk, power_loss))
    put(db, b"last", "interval")
    assert len(keys_after(disk, kill)) == 302


def test_a_reader_names_the_log_that_is_damaged_not_the_one_it_came_to(disk, db):
    """It reads on once more, in the newest file, before it calls something missing."""
    first = db.log.number
    with db.writer_lock:
        db.log.rotate(first + 1)
    for number in range(3):
        put(db, bytes([number]), "commit")
    disk.kill()
    name = names.numbered(names.LOG, first)
    inode = disk.directory("store")._inode(name)
    inode.cached[80] ^= 0xFF
    inode.platter = bytes(inode.cached)
    with pytest.raises(CorruptedError, match="were on the platter") as caught:
        embedded.open("store", files=disk, read_only=True)
    assert (caught.value.file, caught.value.offset) == (name, 64)
