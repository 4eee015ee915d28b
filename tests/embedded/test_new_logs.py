"""Logs that there was no space to make, and readers that came by."""

import pytest
from logs import open_on

from conduitstore.errors import StoreFullError
from conduitstore.testing.disk import SimulatedDirectory, SimulatedDisk


@pytest.fixture
def disk():
    return SimulatedDisk()


@pytest.fixture
def db(disk):
    db = open_on(disk)
    db.insert(b"a", b"1")
    return db


@pytest.fixture
def reader(disk, db):
    return open_on(disk, read_only=True)


def test_no_log_is_left_behind_and_commits_go_on_in_the_one_before(disk, db, reader):
    before = disk.directory("store").names()
    for _ in range(3):
        disk.fail = lambda operation, _: OSError(28, "full") if operation == "append" else None
        with pytest.raises(StoreFullError):
            db.checkpoint()
        disk.fail = lambda *_: None
        assert disk.directory("store").names() == before
    assert reader.refresh() == db.sequence
    db.insert(b"b", b"2")
    assert reader.refresh() == db.sequence


@pytest.mark.parametrize("bytes_total", [0, 30])
def test_a_reader_passes_over_one_that_is_being_made(disk, db, reader, bytes_total):
    disk.directory("store").create("log-00000099").write_at(bytes(bytes_total), 0)
    assert reader.refresh() == db.sequence
    disk.directory("store").unlink("log-00000099")  # There was no space for it after all.
    db.insert(b"b", b"2")
    assert reader.refresh() == db.sequence
    assert reader.get(b"b") == b"2"
    db.checkpoint()
    db.insert(b"c", b"3")
    assert reader.refresh() == db.sequence


def test_a_reader_may_find_its_name_alone(db, reader, monkeypatch):
    found = SimulatedDirectory.names
    monkeypatch.setattr(SimulatedDirectory, "names", lambda it: [*found(it), "log-00000099"])
    db.insert(b"b", b"2")
    assert reader.refresh() == db.sequence
    assert reader.get(b"b") == b"2"
