"""The log by itself: its records, what a crash leaves of them, and what it refuses."""

import os
import threading

import pytest
from forked import refused_in_child

from conduitstore.engine import embedded
from conduitstore.engine.blocks import LeafStore, Log
from conduitstore.errors import (
    ClosedError,
    CorruptedError,
    InvalidArgumentError,
    LaggedError,
    LockedError,
    PoisonedError,
    StoreFullError,
    UnsupportedFormatError,
)
from conduitstore.testing.disk import KEEPS, SimulatedCrash, SimulatedDisk


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk):
    return Log("log", files=disk)


def record(number):
    return b"record %d" % number * (number % 5)


def filled(disk, total=20, *, turn_every=6):
    log = open_on(disk)
    for number in range(1, total + 1):
        assert log.append(record(number)) == number
        if number % turn_every == 0:
            log.rotate()
    return log


def test_records_come_back_in_order_with_their_numbers(disk):
    with filled(disk) as log:
        wanted = [(number, record(number)) for number in range(1, 21)]
        assert list(log.records()) == wanted
        for since in range(21):
            assert list(log.records(since)) == wanted[since:]
        assert (log.sequence, log.cuts) == (20, ())
    with open_on(disk) as log:
        assert (log.sequence, log.durable_sequence, log.cuts) == (20, 20, ())
        assert list(log.records(7)) == wanted[7:]
        assert log.append(b"next") == 21
        assert list(log.records(20)) == [(21, b"next")]


def test_a_new_log_is_empty(disk):
    with open_on(disk) as log:
        assert list(log.records()) == list(log.records(0)) == []
        assert log.sequence == log.durable_sequence == log.sync() == 0
        assert log.append(b"") == 1
        assert list(log.records()) == [(1, b"")]


def test_records_are_those_of_the_moment_they_were_asked_for(disk):
    with open_on(disk) as log:
        log.append(b"1")
        records = log.records()
        log.append(b"2")
        assert list(records) == [(1, b"1")]


def test_what_was_synced_survives_a_power_loss_and_the_rest_is_a_prefix(disk):
    written = 0
    for seed in range(40):
        log = open_on(disk)
        assert log.sequence <= written
        log.rotate()
        for _ in range(4):
            log.append(record(log.sequence + 1))
        durable = log.sync()
        for _ in range(4):
            log.append(record(log.sequence + 1))
            if seed % 3 == 0:
                log.rotate()
        written = log.sequence
        disk.power_loss(seed)
        with open_on(disk) as log:
            assert durable <= log.sequence == log.durable_sequence <= written
            assert list(log.records()) == [(n, record(n)) for n in range(1, log.sequence + 1)]


def test_a_torn_end_is_cut_and_told(disk):
    log = open_on(disk)
    log.append(b"whole")
    log.sync()
    disk.crash_at = 1
    with pytest.raises(SimulatedCrash):
        log.append(b"never finished " * 100)
    disk.kill()
    with open_on(disk) as log:
        assert list(log.records()) == [(1, b"whole")]
        (cut,) = log.cuts
        assert (cut.file, cut.offset > 64, cut.size_bytes > 100) == ("log-00000001", True, True)
        assert log.append(b"again") == 2
    with open_on(disk) as log:
        assert list(log.records()) == [(1, b"whole"), (2, b"again")]


def test_what_is_no_longer_needed_is_forgotten_file_by_file(disk):
    with filled(disk) as log:
        assert log.forget(5) == 0, "the first file has the sixth record too"
        assert log.forget(13) == 2
        assert [sequence for sequence, _ in log.records()] == list(range(13, 21))
        with pytest.raises(LaggedError):
            log.records(11)
        assert log.forget(1_000) == 1, "the file that is written to stays"
        log.rotate()
        log.forget(20)
        assert list(log.records()) == []
        assert log.append(b"next") == 21
    with open_on(disk) as log:
        assert list(log.records(20)) == [(21, b"next")]


def test_damage_to_what_was_durable_is_told_and_names_the_place(disk):
    with filled(disk) as log:
        log.sync()
        log.append(b"says what was durable")
    directory = disk.directory("log")
    directory.open("log-00000002")._inode.cached[100] ^= 1
    with pytest.raises(CorruptedError, match="log-00000002"):
        open_on(disk)


def test_damage_while_it_is_open_is_told_when_it_is_read(disk):
    with filled(disk) as log:
        disk.directory("log").open("log-00000002")._inode.cached[100] ^= 1
        records = log.records()
        with pytest.raises(CorruptedError, match="log-00000002"):
            list(records)
        assert [sequence for sequence, _ in log.records(12)] == list(range(13, 21))


def test_no_flipped_byte_gives_a_wrong_record(disk):
    with filled(disk, 8, turn_every=3) as log:
        wanted = list(log.records())
    directory = disk.directory("log")
    for name in [name for name in directory.names() if name.startswith("log")]:
        inode = directory.open(name)._inode
        for at in range(len(inode.cached)):
            kept = bytes(inode.cached)
            files = set(directory.names())
            inode.cached[at] ^= 0x41
            try:
                with open_on(disk) as log:
                    found = list(log.records())
                    assert found == wanted[: len(found)]
            except (CorruptedError, UnsupportedFormatError):
                pass
            inode.cached[:] = kept
            for made in set(directory.names()) - files:
                directory.unlink(made)


def test_a_full_disk_refuses_one_record_and_nothing_else():
    disk = SimulatedDisk(can_map=False)
    with open_on(disk) as log:
        log.append(b"1")
        disk.fail = lambda operation, _: OSError(28, "full") if operation == "append" else None
        with pytest.raises(StoreFullError):
            log.append(b"2")
        disk.fail = lambda *_: None
        assert log.append(b"3") == 2
        assert list(log.records()) == [(1, b"1"), (2, b"3")]


def test_a_full_disk_takes_no_new_file_and_nothing_else(disk):
    with open_on(disk) as log:
        log.append(b"1")
        disk.fail = lambda operation, _: OSError(28, "full") if operation == "append" else None
        with pytest.raises(StoreFullError):
            log.rotate()
        disk.fail = lambda *_: None
        log.append(b"2")
        log.rotate()
        log.append(b"3")
        assert list(log.records()) == [(1, b"1"), (2, b"2"), (3, b"3")]


@pytest.mark.parametrize("operation", ["append", "sync"])
def test_what_fails_half_way_latches(operation):
    disk = SimulatedDisk(can_map=False)
    log = open_on(disk)
    log.append(b"1")
    disk.fail = lambda called, _: OSError(5, "broken") if called == operation else None
    for _ in range(2):
        with pytest.raises(PoisonedError):
            (log.sync if operation == "sync" else lambda: log.append(b"2"))()
        disk.fail = lambda *_: None
    with pytest.raises(PoisonedError):
        log.append(b"3")
    log.close()
    with open_on(disk) as log:
        assert list(log.records()) == [(1, b"1")]


def test_many_threads_append_and_share_syncs(disk):
    syncs, log = [], open_on(disk)
    disk.fail = lambda operation, _: syncs.append(1) if operation == "sync" else None
    gate = threading.Barrier(8)

    def write(number):
        gate.wait()
        for at in range(20):
            sequence = log.append(bytes([number, at]))
            assert log.sync() >= sequence

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(syncs) <= 160
    records = [record for _, record in log.records()]
    assert sorted(records) == [bytes([n, at]) for n in range(8) for at in range(20)]
    for number in range(8):
        assert [r[1] for r in records if r[0] == number] == list(range(20))
    log.close()


def test_on_real_files(tmp_path):
    with Log(tmp_path / "new" / "log") as log:
        log.append(b"1")
        with pytest.raises(LockedError, match=str(os.getpid())):
            Log(tmp_path / "new" / "log")
        assert log.sync() == 1
        data = (tmp_path / "new" / "log" / "log-00000001").read_bytes()
        assert log.file_bytes == len(data.rstrip(b"\0"))
    with Log(tmp_path / "new" / "log") as log:
        assert list(log.records()) == [(1, b"1")]


def test_a_forked_child_can_do_nothing_with_it(tmp_path):
    with Log(tmp_path / "log") as log:
        assert refused_in_child(LockedError, lambda: log.append(b"child"), last=log.close)
        with pytest.raises(LockedError):
            Log(tmp_path / "log")
        assert log.append(b"parent") == 1


def test_after_close_every_call_says_so(disk):
    log = open_on(disk)
    log.append(b"1")
    records = log.records()
    log.close()
    log.close()
    for call in (lambda: log.append(b"2"), log.sync, log.rotate, lambda: log.forget(1)):
        with pytest.raises(ClosedError):
            call()
    for call in (log.records, lambda: next(records)):
        with pytest.raises(ClosedError):
            call()


@pytest.mark.parametrize("bad", ["text", None, 1, bytearray(b"a"), bytes((64 << 20) + 1)])
def test_a_bad_record_is_refused(disk, bad):
    with open_on(disk) as log:
        with pytest.raises(InvalidArgumentError):
            log.append(bad)
        assert log.append(b"1") == 1


@pytest.mark.parametrize("since", [-1, "1", 1.5, True])
def test_a_bad_sequence_is_refused(disk, since):
    with open_on(disk) as log:
        for call in (log.records, log.forget):
            with pytest.raises(InvalidArgumentError):
                call(since)


def test_directories_of_others_are_left_as_they_are(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    embedded.open(tmp_path / "store").close()
    LeafStore(tmp_path / "leaves").close()
    for name in ("thesis", "store", "leaves"):
        before = {path: path.read_bytes() for path in (tmp_path / name).iterdir()}
        with pytest.raises(UnsupportedFormatError):
            Log(tmp_path / name)
        assert {path: path.read_bytes() for path in (tmp_path / name).iterdir()} == before
    Log(tmp_path / "log").close()
    with pytest.raises(UnsupportedFormatError):
        LeafStore(tmp_path / "log")


@pytest.mark.parametrize("failed_sync", ["clean", "half", "dropped"])
@pytest.mark.parametrize("keep", KEEPS)
def test_what_only_the_cache_holds_after_a_failed_sync_is_written_anew(failed_sync, keep):
    """Linux shows pages that it could not write as clean: a later sync of them proves nothing."""
    disk = SimulatedDisk()
    disk.failed_sync = failed_sync
    log = Log("log", files=disk)
    for number in range(3):
        log.append(bytes([number]) * 100)
    assert log.sync() == 3
    log.append(b"y" * 700)
    log.append(b"z")
    disk.fail = lambda operation, _: OSError(5, "broken") if operation == "sync" else None
    with pytest.raises(PoisonedError):
        log.sync()
    disk.kill()
    with_cache = Log("log", files=disk)
    told = with_cache.durable_sequence
    assert told == (3 if failed_sync == "dropped" else 5) or failed_sync == "half"
    disk.power_loss(keep=keep)
    with Log("log", files=disk) as log:
        assert log.durable_sequence >= told
        assert [sequence for sequence, _ in log.records()] == list(range(1, told + 1))
        assert log.append(b"more") == told + 1


def test_nothing_is_written_anew_after_a_close():
    disk = SimulatedDisk()
    with Log("log", files=disk) as log:
        for number in range(3):
            log.append(bytes([number]) * 1_000)
    for _ in range(2):
        with Log("log", files=disk) as log:
            assert log.file_bytes < 200
            assert len(list(log.records())) == 3


@pytest.mark.parametrize("size", [0, 10, 64])
def test_a_first_file_that_was_being_made_is_no_damage(disk, size):
    directory = disk.make_directory("log")
    directory.create("log-00000001").write_at(b"\0" * size, 0)
    log = open_on(disk)
    assert list(log.records()) == []
    assert "log-00000001" not in directory.names()
    assert log.append(b"1") == 1
    log.close()
    assert list(open_on(disk).records()) == [(1, b"1")]
