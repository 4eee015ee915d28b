"""The real door to the operating system, where that does what it seldom does."""

import errno
import os
import resource

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded.files import Os, OsFile
from conduitstore.errors import LockedError


@pytest.fixture
def directory(tmp_path):
    return Os().make_directory(str(tmp_path / "d"))


def test_reads_that_come_in_pieces(tmp_path, monkeypatch):
    with embedded.open(tmp_path / "s") as db:
        db.insert(b"a", b"value" * 99)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, 7), offset))
    with embedded.open(tmp_path / "s") as db:
        assert db.get(b"a") == b"value" * 99
        assert list(db.verify()) == []


@pytest.mark.interpreted("it replaces a method of a class")
def test_the_lock_of_a_file_that_was_just_deleted_locks_nothing(directory, monkeypatch):
    """Somebody closed a temporary store between our opening of its lock file and our locking it."""
    try_lock = OsFile.try_lock

    def meanwhile(self):
        directory.unlink("LOCK")
        return try_lock(self)

    monkeypatch.setattr(OsFile, "try_lock", meanwhile)
    with pytest.raises(LockedError):
        directory.lock("LOCK", "me")
    monkeypatch.undo()
    directory.lock("LOCK", "me").close()


def test_the_lock_holds_where_there_is_no_space_to_say_who_has_it(directory):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        held = directory.lock("LOCK", "me")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(LockedError, match="by another process"):
        directory.lock("LOCK", "somebody else")
    held.close()
    directory.lock("LOCK", "me").close()


def test_a_lock_that_cannot_be_written_to_is_let_go_of(directory, monkeypatch):
    def fail(_fd, _size):
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(OSError, match="injected") as caught:
        directory.lock("LOCK", "me")
    monkeypatch.undo()
    directory.lock("LOCK", "me").close()
    assert caught.value.errno == errno.EIO


def test_a_directory_that_somebody_else_removed_is_told(directory):
    directory.remove()
    with pytest.raises(FileNotFoundError):
        directory.remove()
