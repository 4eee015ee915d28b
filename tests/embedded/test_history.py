"""What the log still holds is told in order and without a gap, or not at all."""

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.history import commits_behind, commits_since
from conduitstore.errors import CorruptedError, LaggedError
from conduitstore.testing.disk import SimulatedDisk


@pytest.fixture
def disk():
    """Three logs with three commits each."""
    disk = SimulatedDisk()
    for _ in range(3):
        with embedded.open("store", files=disk, flush_every_ms=None) as db:
            for number in range(3):
                db.insert(bytes([number]), b"")
    return disk


def logs(disk):
    return [name for _, name in names.of_kind(names.LOG, disk.directory("store").names())]


def behind(disk, sequence, start=0):
    with embedded.open("store", files=disk, flush_every_ms=None) as db:
        found = commits_behind(db.directory, db.store_id, sequence, start=start)
        return [number for number, _ in found]


def test_commits_lead_on_from_file_to_file(disk):
    assert behind(disk, 0) == list(range(1, 10))
    assert behind(disk, 5) == [6, 7, 8, 9]
    assert behind(disk, 9) == []
    _, second, _ = names.of_kind(names.LOG, logs(disk))[:3]
    assert behind(disk, 3, start=second[0]) == list(range(4, 10))


def test_a_missing_file_ends_it(disk):
    disk.directory("store").unlink(logs(disk)[1])
    assert behind(disk, 0) == [1, 2, 3]
    assert behind(disk, 6) == [7, 8, 9]
    with embedded.open("store", files=disk, flush_every_ms=None) as db:
        assert len(commits_since(db.directory, db.store_id, 6, 9)) == 3
        for since in (0, 3, 5):
            with pytest.raises(LaggedError):
                commits_since(db.directory, db.store_id, since, 9)
        with pytest.raises(LaggedError):
            commits_since(db.directory, db.store_id, 9, 8)


def test_a_lost_header_is_known_and_another_stores_is_refused(disk):
    first, second = (disk.directory("store")._inode(name) for name in logs(disk)[:2])
    kept = bytes(second.cached)
    second.cached[20] ^= 1
    assert behind(disk, 0) == list(range(1, 10))
    second.cached[:] = first.cached
    with pytest.raises(CorruptedError, match="another place or store"):
        behind(disk, 0)
    second.cached[:] = kept
    assert behind(disk, 0) == list(range(1, 10))


def told(subscriber):
    found = []
    while (event := subscriber.next(timeout=0)) is not None:
        found.append(event.key)
    return found


def test_what_is_committed_while_the_log_is_read_is_told_once(disk):
    db = embedded.open("store", files=disk, flush_every_ms=None)
    db.insert(b"a", b"")
    began = db.sequence

    def meanwhile(operation, _name):
        if operation == "list":
            disk.fail_reads = lambda _operation, _name: None
            db.insert(b"b", b"")

    disk.fail_reads = meanwhile
    subscriber = db.watch_prefix(b"", since=began - 1)
    assert (told(subscriber), subscriber.sequence) == ([b"a", b"b"], began + 1)


def test_a_log_that_a_checkpoint_takes_away_while_it_is_looked_for(disk):
    db = embedded.open("store", files=disk, flush_every_ms=None, log_keep_bytes=0)
    began = db.sequence
    db.insert(b"a", b"")

    def meanwhile(operation, name):
        if operation == "open" and name.startswith("log"):
            disk.fail_reads = lambda _operation, _name: None
            for key in (b"b", b"c", b"d"):
                db.insert(key, b"")
                db.checkpoint()

    disk.fail_reads = meanwhile
    with pytest.raises(LaggedError):
        db.watch_prefix(b"", since=began)
    subscriber = db.watch_prefix(b"", since=db.sequence)
    db.insert(b"e", b"")
    assert told(subscriber) == [b"e"]
