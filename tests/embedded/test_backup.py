"""Backups while writing, repeated, refused, opened and restored."""

import errno
import threading
import time

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.format import MARKER
from conduitstore.errors import (
    CorruptedError,
    InvalidArgumentError,
    LaggedError,
    LockedError,
    StoreFullError,
    UnsupportedFormatError,
)
from conduitstore.testing.disk import SimulatedDisk

SETTINGS = {"flush_every_ms": None, "leaf_entries_max": 4}


@pytest.fixture(autouse=True, params=[4, 4096], ids=["blobs", "no blobs"])
def blobs(request, monkeypatch):
    """Values beside their leaves, and in them."""
    monkeypatch.setitem(SETTINGS, "blob_bytes_min", request.param)


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk, path="store", **settings):
    return embedded.open(path, files=disk, **SETTINGS | settings)


def fill(db, seed=0, total=40):
    for number in range(total):
        db.open_tree("t").insert(bytes([number]), bytes([seed]) * 50)


def content(db):
    return {name: list(db.open_tree(name)) for name in db.tree_names()}


def everything(disk, path):
    directory = disk.directory(path)
    return {name: bytes(directory._inode(name).cached) for name in directory.names()}


def segments(disk, path):
    found = disk.directory(path).names()
    return [name for name in found if (names.parse(name) or ("",))[0] == names.SEGMENT]


def damage(disk, path, name, at=-5):
    inode = disk.directory(path)._inode(name)
    inode.cached[at] ^= 1
    inode.platter = bytes(inode.cached)


def test_a_backup_is_a_store_with_everything_committed(disk):
    db = open_on(disk)
    fill(db)
    db.transaction(lambda tx: tx.next_count())
    report = db.backup("backup")
    assert report.sequence == db.sequence
    assert report.copied_bytes > 0
    expected, checksum = content(db), db.checksum()
    fill(db, seed=1)
    db.close()
    with open_on(disk, "backup") as copy:
        assert content(copy) == expected
        assert copy.checksum() == checksum
        assert copy.recovery_report.sequence == report.sequence
        assert copy.recovery_report.was_backup
        assert not copy.was_recovered
        assert "new incarnation" in str(copy.recovery_report)


def test_a_second_backup_copies_only_what_is_new(disk):
    db = open_on(disk)
    fill(db, total=200)
    first = db.backup("backup")
    db.open_tree("t").insert(b"new", b"row")
    second = db.backup("backup")
    assert second.copied_bytes < first.copied_bytes / 4
    assert second.kept_bytes == first.copied_bytes
    assert len(second.files) == 1
    third = db.backup("backup")
    assert (third.copied_bytes, third.files) == (0, ())
    expected = content(db)
    fill(db, seed=7, total=200)
    db.backup("backup")
    assert len(segments(disk, "backup")) <= len(segments(disk, "store"))
    expected = content(db)
    db.close()
    with open_on(disk, "backup") as copy:
        assert content(copy) == expected


def test_what_no_longer_verifies_in_the_backup_is_copied_again(disk):
    db = open_on(disk)
    fill(db)
    db.backup("backup")
    for name in segments(disk, "backup"):
        damage(disk, "backup", name)
    assert set(db.backup("backup").files) == set(segments(disk, "backup"))
    with open_on(disk, "backup") as copy:
        assert list(copy.verify()) == []
        assert content(copy) == content(db)


def test_a_damaged_store_does_not_spoil_its_backup(disk):
    db = open_on(disk)
    fill(db)
    db.checkpoint()
    before = content(db)
    db.backup("backup")
    fill(db, seed=1)
    db.checkpoint()
    newest = segments(disk, "store")[-1]
    damage(disk, "store", newest)
    with pytest.raises(CorruptedError, match="repair the store first") as caught:
        db.backup("backup")
    assert caught.value.file == newest
    with open_on(disk, "backup") as copy:
        assert content(copy) == before


def test_writers_and_checkpoints_go_on_while_a_backup_runs(tmp_path):
    with embedded.open(tmp_path / "s", checkpoint_log_bytes=20_000, flush_every_ms=5) as db:
        stop = threading.Event()

        def write():
            number = 0
            while not stop.is_set():
                number += 1
                key = (number % 500).to_bytes(2)

                def run(tx, key=key, number=number):
                    for name in ("a", "b"):
                        tx.open_tree(name).insert(key, number.to_bytes(8) * 9)

                db.transaction(run)

        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        sequences = []
        for _ in range(12):
            sequences.append(db.backup(tmp_path / "b").sequence)
            while db.sequence == sequences[-1]:  # A busy machine may let no writer run meanwhile.
                time.sleep(0.001)
        stop.set()
        for thread in threads:
            thread.join()
        assert sequences == sorted(set(sequences)), "each got further"
        assert db.stats().generation > 12
    with embedded.open(tmp_path / "b") as copy:
        assert copy.recovery_report.sequence == sequences[-1]
        assert list(copy.verify()) == []
        assert list(copy.open_tree("a")) == list(copy.open_tree("b")), "half a commit"


def test_a_directory_that_is_something_else_is_refused(disk, tmp_path):
    db = open_on(disk)
    fill(db)
    with pytest.raises(LockedError):
        db.backup("store")
    other = open_on(disk, "other")
    with pytest.raises(LockedError):
        db.backup("other")
    other.close()
    before = everything(disk, "other")
    with pytest.raises(InvalidArgumentError, match="store in use"):
        db.backup("other")
    with open_on(disk, "third") as third:
        third.backup("backup")
    backed_up = everything(disk, "backup")
    with pytest.raises(InvalidArgumentError, match="another store"):
        db.backup("backup")
    for path, was in (("other", before), ("backup", backed_up)):
        assert {n: b for n, b in everything(disk, path).items() if n != names.LOCK} == {
            n: b for n, b in was.items() if n != names.LOCK
        }
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "thesis.tex").write_text("years")
    with embedded.open(tmp_path / "s") as real:
        with pytest.raises(UnsupportedFormatError, match=r"thesis\.tex"):
            real.backup(tmp_path / "d")
        assert [path.name for path in (tmp_path / "d").iterdir()] == ["thesis.tex"]
        with pytest.raises(UnsupportedFormatError, match="not a directory"):
            real.backup(tmp_path / "d" / "thesis.tex")


def test_a_backup_that_was_opened_is_a_store_of_its_own(disk):
    db = open_on(disk)
    fill(db)
    db.backup("backup")
    open_on(disk, "backup").close()
    with pytest.raises(InvalidArgumentError, match="store in use"):
        db.backup("backup")
    with open_on(disk, "backup") as copy:
        assert not copy.recovery_report.was_backup, "only once"
        copy.backup("backup of the copy")
    with pytest.raises(InvalidArgumentError, match="another store or incarnation"):
        db.backup("backup of the copy")


def test_no_space_for_a_backup_leaves_the_one_before(disk):
    db = open_on(disk)
    fill(db)
    db.backup("backup")
    before = content(db)
    fill(db, seed=1)
    db.checkpoint()

    for operation in ("create", "append"):
        disk.fail = lambda op, name, operation=operation: (
            OSError(errno.ENOSPC, "full") if op == operation and name.endswith(".new") else None
        )
        with pytest.raises(StoreFullError):
            db.backup("backup")
    disk.fail = lambda _operation, _name: None
    db.insert(b"goes", b"on")
    with open_on(disk, "backup") as copy:
        assert content(copy) == before


def test_restored_stores_repeat_no_count_and_no_id(disk):
    db = open_on(disk)
    fill(db)
    taken = [db.generate_id(), *db.reserve_ids(1_000)]
    db.backup("backup")
    expected = content(db)
    taken += db.reserve_ids(1 << 31)[-1:]
    counts = [db.transaction(lambda tx: tx.next_count()) for _ in range(5)]
    incarnations = {db.stats().incarnation}
    for path in ("one", "two"):
        embedded.restore("backup", path, files=disk)
        with open_on(disk, path) as restored:
            assert content(restored) == expected
            assert restored.current_count() > max(counts)
            counts.append(restored.transaction(lambda tx: tx.next_count()))
            assert counts[-1] == max(counts)
            taken.append(restored.generate_id())
            assert taken[-1] == max(taken)
            taken += restored.reserve_ids(1 << 31)[-1:]
            counts.append(counts[-1] + (1 << 31))
            incarnations.add(restored.stats().incarnation)
            assert list(restored.verify()) == []
    assert len(incarnations) == 3
    db.backup("backup")
    with open_on(disk, "backup") as copy:
        assert copy.generate_id() > max(taken), "what restores took stays taken"


def test_an_id_that_was_reserved_with_many_others_is_not_repeated(disk):
    db = open_on(disk)
    db.backup("backup")
    taken = db.reserve_ids(1 << 40)
    with open_on(disk, "backup") as copy:
        assert copy.generate_id() > taken[-1]


def test_nobody_goes_on_in_the_history_of_another_store(disk):
    """Stores of one backup each have commits that follow it: none passes for another's."""
    db = open_on(disk)
    fill(db, total=3)
    report = db.backup("backup")
    places = [0, report.sequence]

    def live(store):
        for number in range(5):
            store.insert(b"k", b"%d" % number)
            places.append(store.sequence)

    live(db)
    for path in ("one", "two"):
        assert embedded.restore("backup", path, files=disk).sequence == report.sequence
        foreign = list(places)
        for is_first in (True, False):  # Opening it again changes nothing any more.
            with open_on(disk, path) as restored:
                begin = restored.sequence
                assert begin > max(foreign) + (1 << 31)
                assert is_first or begin == places[-1]
                for since in foreign:
                    with pytest.raises(LaggedError, match="not of this history"):
                        restored.watch_prefix(b"", since=since)
                told = restored.watch_prefix(b"", since=begin)
                live(restored)
                assert [told.next(0).value for _ in range(5)] == [b"%d" % n for n in range(5)]
                assert told.sequence == restored.sequence
    db.backup("backup")
    with open_on(disk, "backup") as copy:
        assert copy.sequence > max(places), "what restores wrote is theirs"


def test_what_cannot_be_restored_is_refused(disk):
    db = open_on(disk)
    fill(db)
    db.backup("backup")
    for source in ("nowhere", "store"):
        with pytest.raises((InvalidArgumentError, LockedError)):
            embedded.restore(source, "target", files=disk)
    with pytest.raises(LockedError):
        embedded.restore("backup", "store", files=disk)
    db.close()
    with pytest.raises(InvalidArgumentError, match="store in use"):
        embedded.restore("store", "target", files=disk)
    with pytest.raises(InvalidArgumentError, match="already holds"):
        embedded.restore("backup", "store", files=disk)
    damage(disk, "backup", segments(disk, "backup")[0])
    with pytest.raises(CorruptedError):
        embedded.restore("backup", "target", files=disk)


@pytest.mark.parametrize("path", ["backup", "store"])
def test_a_segment_that_ends_too_early_is_neither_restored_nor_backed_up(disk, path):
    """Each frame that is left of it is whole, so only the manifest tells that some are missing."""
    db = open_on(disk)
    fill(db)
    db.backup("backup")
    segment = segments(disk, "backup")[0]
    inode = disk.directory(path)._inode(segment)
    data = bytes(inode.cached)
    inode.cached = bytearray(data[: data.rindex(MARKER)])
    whole = everything(disk, "backup")
    with pytest.raises(CorruptedError, match=segment):
        db.backup("other") if path == "store" else embedded.restore("backup", "new", files=disk)
    assert segment in everything(disk, "backup")
    if path == "store":
        assert everything(disk, "backup") == whole


def test_reading_is_counted_and_can_be_left(disk):
    db = open_on(disk)
    fill(db)
    read = []
    report = db.backup("backup", on_read=read.append)
    assert sum(read) == report.copied_bytes

    def stop(_size):
        raise KeyboardInterrupt

    fill(db, seed=1)
    with pytest.raises(KeyboardInterrupt):
        db.backup("backup", on_read=stop)
    assert db.backup("backup").sequence == db.sequence


def test_a_backup_behind_a_compaction_that_found_no_space_is_whole(disk):
    with open_on(disk) as db:
        for number in range(60):
            db.insert(bytes([number]), b"value %d" % number)
        db.checkpoint()
        for number in range(0, 60, 2):
            db.remove(bytes([number]))
        disk.fail = lambda operation, name: (
            OSError(errno.ENOSPC, "full") if operation == "create" and "segment" in name else None
        )
        with pytest.raises(StoreFullError):
            db.compact()
        disk.fail = lambda _operation, _name: None
        kept = list(db)
        db.backup("copy")
    with open_on(disk, "copy") as copy:
        assert list(copy) == kept
