"""Commits that nobody waits for, put into a log that is mapped."""

import errno
import mmap
import os
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from forked import exits_well
from logs import calls_of, keys_after, log_of, open_on, put

from conduitstore.engine import embedded
from conduitstore.engine.embedded import mounts, names
from conduitstore.engine.embedded.files import Os
from conduitstore.engine.embedded.logfile import ASIDE_BYTES_MAX, ASIDE_BYTES_MIN
from conduitstore.errors import StoreFullError
from conduitstore.testing.disk import KEEPS, SimulatedCrash, SimulatedDisk


@pytest.fixture
def disk():
    return SimulatedDisk()


@pytest.fixture
def db(disk):
    """A store whose log is mapped."""
    db = open_on(disk)
    db.insert(b"first", b"1")
    return db


def full(operation, name):
    return OSError(errno.ENOSPC, "injected") if operation == "append" and "log" in name else None


def test_a_commit_outlives_the_process_without_a_call(disk, db):
    assert calls_of(disk, lambda: db.insert(b"second", b"2")) == ["put"]
    assert keys_after(disk, SimulatedDisk.kill) == [b"first", b"second"]
    assert keys_after(disk, lambda other: other.power_loss(keep="nothing")) == []
    db.flush()
    assert keys_after(disk, lambda other: other.power_loss(keep="nothing")) == [b"first", b"second"]


@pytest.mark.parametrize("keep", KEEPS)
def test_after_power_loss_there_is_a_prefix(disk, db, keep):
    everything = [b"first"]
    for number in range(100):
        everything.append(b"%04d" % number)
        db.insert(everything[-1], b"x" * (number * 7 % 90))
    for seed in range(20):
        found = keys_after(disk, lambda other: other.power_loss(seed, keep))  # noqa: B023 - called here
        assert sorted(found) == sorted(everything[: len(found)])


def test_one_that_dies_in_it_is_cut(disk, db):
    disk.crash_at = 1
    with pytest.raises(SimulatedCrash):
        db.insert(b"half", b"2" * 50)
    disk.kill()
    again = open_on(disk)
    assert list(again) == [(b"first", b"1")]
    assert len(again.recovery_report.cuts) == 1


def test_what_is_held_comes_first(disk, db):
    put(db, b"a", "none")
    put(db, b"b", "interval")
    assert keys_after(disk, SimulatedDisk.kill) == [b"a", b"b", b"first"]


def test_a_full_disk_is_met_beyond_what_is_set_aside(disk, db):
    room = db.log.size_bytes
    disk.fail = full
    number = 0
    while room + 300 < ASIDE_BYTES_MIN:
        db.insert(b"%04d" % number, b"2" * 100)
        room, number = db.log.size_bytes, number + 1
    with pytest.raises(StoreFullError):
        db.insert(b"too long", b"2" * 300)
    for _ in range(3):  # The file was cut: nothing is put behind its end.
        with pytest.raises(StoreFullError):
            db.insert(b"again", b"")
    assert len(log_of(disk).cached) == db.log.size_bytes
    assert len(keys_after(disk, SimulatedDisk.kill)) == number + 1
    disk.fail = lambda _operation, _name: None
    db.insert(b"again", b"")
    assert calls_of(disk, lambda: db.insert(b"and again", b"")) == ["put"]
    assert len(keys_after(disk, SimulatedDisk.kill)) == number + 3


def test_no_space_to_set_aside_is_mild(disk):
    db = open_on(disk)
    calls = []

    def fail(operation, name):
        calls.append(operation)
        return full(operation, name) if calls.count("append") == 2 else None

    disk.fail = fail
    db.insert(b"a", b"1")
    disk.fail = lambda _operation, _name: None
    assert len(log_of(disk).cached) == db.log.size_bytes
    assert calls_of(disk, lambda: db.insert(b"b", b"2")) == ["append", "append"]
    assert calls_of(disk, lambda: db.insert(b"c", b"3")) == ["put"]


def nearly_full(db):
    """Fill what is set aside until the next commit but a few would set more aside."""
    while db.log.size_bytes < 2 * ASIDE_BYTES_MIN - 500:
        db.insert(b"again", bytes(100))


def test_a_full_disk_at_a_checkpoint_leaves_the_log_its_room(disk, db):
    nearly_full(db)
    length = len(log_of(disk).cached)
    disk.fail = lambda operation, _name: (
        OSError(errno.ENOSPC, "injected") if operation in {"create", "append"} else None
    )
    with pytest.raises(StoreFullError):
        db.checkpoint()
    db.insert(b"interval", b"2")
    put(db, b"commit", "commit")
    assert len(log_of(disk).cached) == length
    disk.fail = lambda _operation, _name: None
    assert calls_of(disk, lambda: db.insert(b"more", b"")) == ["put"]
    assert len(keys_after(disk, SimulatedDisk.kill)) == 5


def test_what_is_set_aside_stays_where_no_more_can_be(disk, db):
    nearly_full(db)
    file, length = db.log._file, len(log_of(disk).cached)
    file.unmap()
    disk.fail = full
    db.insert(b"interval", b"2")
    assert file.length_bytes == len(log_of(disk).cached) == length
    put(db, b"commit", "commit")
    assert len(keys_after(disk, SimulatedDisk.power_loss)) == 4


def test_a_file_that_cannot_be_mapped_after_all_is_written(disk, monkeypatch):
    monkeypatch.setattr("conduitstore.testing.disk.SimulatedFile.map", lambda *_: None)
    db = open_on(disk)
    assert calls_of(disk, lambda: db.insert(b"a", b"1")) == ["append", "append"]
    assert calls_of(disk, lambda: db.insert(b"b", b"2")) == ["write"]
    size = len(log_of(disk).cached)
    db.insert(b"c", b"3" * size)
    assert len(log_of(disk).cached) == db.log.size_bytes, "nothing more is set aside"


def test_space_is_set_aside_as_the_log_grows(disk, db):
    calls = calls_of(disk, lambda: [db.insert(b"again", bytes(1_000)) for _ in range(2_000)])
    assert calls.count("put") + calls.count("append") // 2 == 2_000
    assert calls.count("append") // 2 < 48
    aside = len(log_of(disk).cached) - db.log.size_bytes
    assert 0 <= aside <= ASIDE_BYTES_MAX


def test_threads_that_put_lose_nothing_to_those_that_wait(disk, db):
    def write(number):
        for at in range(50):
            durability = ("commit", "interval", "none")[(at + number) % 3]
            put(db, bytes([number, at]), durability, bytes(40 * (at % 7)))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    put(db, b"last", "interval")
    assert len(keys_after(disk, SimulatedDisk.kill)) == 302


# On real files ------------------------------------------------------------------------------------


SHARED_MEMORY = "/dev/shm"


@pytest.fixture
def store(tmp_path):
    """Where a file system writes in place: in a container that may be the shared memory alone."""
    places = [str(tmp_path), SHARED_MEMORY]
    place = next(filter(mounts.writes_in_place, places), None)
    if place is None:
        kinds = ", ".join(f"{mounts.kind_of(place)} at {place}" for place in places)
        pytest.skip(f"no file is mapped here: {kinds}")
    with tempfile.TemporaryDirectory(dir=place) as made:
        yield Path(made) / "store"


def test_others_see_at_once_what_was_put(store):
    with embedded.open(store, flush_every_ms=None) as db:
        db.insert(b"first", b"1")
        with embedded.open(store, read_only=True) as reader:
            for number in range(1_000):
                db.insert(b"key", b"%d" % number)
                if number % 100 == 0:
                    reader.refresh()
                    assert reader.get(b"key") == b"%d" % number
        assert db.log.size_bytes > 2 * ASIDE_BYTES_MIN


def test_a_process_that_dies_leaves_what_it_put(store):
    def live():
        db = embedded.open(store, flush_every_ms=None)
        for number in range(3_000):
            db.insert(b"%04d" % number, b"x" * 100)
        return True

    assert exits_well(live)
    with embedded.open(store) as db:
        assert [key for key, _ in db] == [b"%04d" % number for number in range(3_000)]


@pytest.mark.skipif(sys.platform != "linux", reason="files are counted in /proc")
def test_a_log_that_is_done_is_let_go_of(store):
    def held():
        return [str(path.resolve()) for path in Path("/proc/self/fd").iterdir()]

    with embedded.open(store, flush_every_ms=None) as db:
        for number in range(5):
            db.insert(bytes([number]), b"1")
            db.flush()
            log = str(store / names.numbered(names.LOG, db.log.number))
            assert [path for path in held() if "log-" in path] == [log, log]
            db.checkpoint()
    assert [path for path in held() if "log-" in path] == []


def test_a_system_that_has_no_memory_for_it(store, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOMEM, "injected")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with embedded.open(store, flush_every_ms=None) as db:
        db.insert(b"a", b"1")
        db.insert(b"b", b"2")
    with embedded.open(store) as db:
        assert len(db) == 2


# Which file systems -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("36 35 {} / /data rw,noatime shared:1 master:2 - ext4 /dev/a rw", "ext4"),
        ("36 35 {} / /data rw - xfs /dev/b rw", "xfs"),
        ("36 35 0:0 / /data rw - ext4 /dev/a rw", None),
        ("36 35 {}", ""),
        ("", None),
    ],
)
def test_the_kind_of_a_file_system(tmp_path, monkeypatch, line, kind):
    device = tmp_path.stat().st_dev
    file = tmp_path / "mountinfo"
    number = f"{os.major(device)}:{os.minor(device)}"
    file.write_text("1 1 0:1 / / rw - proc proc rw\n" + line.format(number) + "\n")
    monkeypatch.setattr(mounts, "MOUNTS", file)
    assert mounts.kind_of(str(tmp_path)) == kind
    assert Os().directory(str(tmp_path))._can_map == (kind in {"ext4", "xfs"})


def test_a_system_that_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "none")
    assert mounts.kind_of(str(tmp_path)) is None
    assert mounts.kind_of(str(tmp_path / "nothing")) is None
