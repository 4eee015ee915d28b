"""What open accepts, refuses and leaves untouched, on the real file system."""

import gc
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import threading
from unittest.mock import Mock

import pytest
from forked import refused_in_child

from conduitstore.engine import embedded
from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.files import OsFile
from conduitstore.engine.embedded.flusher import Flusher
from conduitstore.engine.embedded.lifecycle import Store
from conduitstore.errors import (
    ClosedError,
    CorruptedError,
    InvalidArgumentError,
    LockedError,
    UnsupportedFormatError,
)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_store_is_made_with_its_parents_and_explains_itself(tmp_path):
    path = tmp_path / "a" / "b"
    with embedded.open(path) as db:
        assert not db.was_recovered
        assert oct(path.stat().st_mode)[-3:] == "700"
    assert "conduitstore" in (path / names.ABOUT).read_text()
    assert all(names.is_ours(file.name) for file in path.iterdir())


def test_a_second_open_is_refused_in_this_process_and_names_the_holder(tmp_path):
    with embedded.open(tmp_path / "s") as db:
        with pytest.raises(LockedError, match=f"process {os.getpid()}"):
            embedded.open(tmp_path / "s")
        db.insert(b"a", b"goes on")
    embedded.open(tmp_path / "s").close()


def test_a_second_process_is_refused(tmp_path):
    with embedded.open(tmp_path / "s"):
        code = f"from conduitstore.engine import embedded; embedded.open({str(tmp_path / 's')!r})"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert (
        f"LockedError: {tmp_path / 's'} is open for writing by process {os.getpid()}" in done.stderr
    )


def test_a_forked_child_can_do_nothing_with_its_parents_store(tmp_path):
    with embedded.open(tmp_path / "s") as db:
        tree = db.open_tree("t")
        tree.insert(b"a", b"1")
        calls = (lambda: tree.insert(b"a", b"2"), lambda: tree.get(b"a"), db.flush)
        assert refused_in_child(LockedError, *calls, last=db.close)
        tree.insert(b"b", b"3")
    with embedded.open(tmp_path / "s") as db:
        assert list(db.open_tree("t")) == [(b"a", b"1"), (b"b", b"3")]


def test_a_foreign_directory_is_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UnsupportedFormatError, match=r"thesis\.tex"):
        embedded.open(tmp_path)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_newer_store_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("conduitstore.engine.embedded.format.FORMAT_VERSION", 2)
    embedded.open(tmp_path / "s").close()
    monkeypatch.undo()
    before = contents(tmp_path / "s")
    with pytest.raises(UnsupportedFormatError, match="format version 2"):
        embedded.open(tmp_path / "s")
    assert contents(tmp_path / "s") == before


def test_unknown_files_in_a_store_are_left_alone_and_warned_about(tmp_path, caplog):
    embedded.open(tmp_path / "s").close()
    (tmp_path / "s" / "notes.txt").write_text("mine")
    with embedded.open(tmp_path / "s") as db:
        db.insert(b"a", b"1")
    assert (tmp_path / "s" / "notes.txt").read_text() == "mine"
    assert "notes.txt" in caplog.text


def test_create_new_and_temporary(tmp_path):
    with embedded.open(tmp_path / "s", create_new=True) as db:
        db.insert(b"a", b"1")
    for setting in ("create_new", "temporary"):
        with pytest.raises(InvalidArgumentError, match="already holds a store"):
            embedded.open(tmp_path / "s", **{setting: True})
    with embedded.open(tmp_path / "s") as db:
        assert db.get(b"a") == b"1"
    with embedded.open(tmp_path / "t", temporary=True) as db:
        db.insert(b"a", b"1")
        assert (tmp_path / "t").exists()
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"flush_every_seconds": 1},
        {"flush_every_ms": 0},
        {"flush_every_ms": "500"},
        {"durability": "always"},
        {"compression_level": 23},
        {"leaf_entries_max": 2},
        {"temporary": 1},
        {"cache_capacity_bytes": -1},
        {"checkpoint_log_bytes": True},
    ],
)
def test_wrong_settings_are_named_and_nothing_is_made(tmp_path, settings):
    with pytest.raises(InvalidArgumentError, match=next(iter(settings))):
        embedded.open(tmp_path / "s", **settings)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("path", ["", "a\0b", 7, None])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InvalidArgumentError):
        embedded.open(path)


def test_a_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(UnsupportedFormatError, match="not a directory"):
        embedded.open(tmp_path / "file")


def test_a_clean_close_leaves_no_gap_in_counts_and_ids(tmp_path):
    with embedded.open(tmp_path / "s") as db:
        assert [db.generate_id() for _ in range(3)] == [0, 1, 2]
        assert db.transaction(lambda tx: tx.next_count()) == 1
        with pytest.raises(ZeroDivisionError):
            db.transaction(lambda tx: tx.next_count() / 0)
    with embedded.open(tmp_path / "s") as db:
        assert not db.was_recovered
        assert db.generate_id() == 3
        assert db.current_count() == 1
        assert db.transaction(lambda tx: tx.next_count()) == 3, "the rolled-back 2 is skipped"


def test_an_unclosed_store_closes_at_exit_and_a_killed_one_is_recovered(tmp_path):
    code = f"""
        import os, sys
        from conduitstore.engine import embedded
        db = embedded.open({str(tmp_path / "s")!r}, flush_every_ms=60_000)
        db.insert(b"a", sys.argv[1].encode())
        if sys.argv[1] == "killed":
            os.kill(os.getpid(), 9)
    """
    for how, returncode in (("left", 0), ("killed", -signal.SIGKILL)):
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), how], check=False)
        assert done.returncode == returncode
        with embedded.open(tmp_path / "s") as db:
            assert db.get(b"a") == how.encode()
            assert db.was_recovered == (how == "killed")


@pytest.mark.parametrize(
    "keep",
    [
        lambda db: db.open_tree("t"),
        lambda db: db.open_tree("t").range(),
        lambda db: reversed(db.open_tree("t").range()),
        lambda db: db.open_tree("t").keys(),
        lambda db: db.transaction(lambda tx: tx.open_tree("t").range()),
        lambda db: db.snapshot().open_tree("t").range(),
        lambda db: db.snapshot(),
    ],
)
def test_handles_and_iterators_keep_their_store_alive(tmp_path, keep):
    db = embedded.open(tmp_path / "s", flush_every_ms=None, cache_capacity_bytes=0)
    tree = db.open_tree("t")
    tree.insert(b"a", b"1")
    tree.insert(b"b", b"2")
    db.checkpoint()
    kept = keep(db)
    assert next(iter(kept), None) is not None or kept.get(b"a") is None
    del db, tree
    gc.collect()
    with pytest.raises(LockedError):
        embedded.open(tmp_path / "s")
    assert next(iter(kept), None) is not None or kept.get(b"a") is None
    del kept
    gc.collect()
    with embedded.open(tmp_path / "s") as db:
        assert db.open_tree("t").get(b"a") == b"1"


def test_a_missing_segment_is_named(tmp_path):
    with embedded.open(tmp_path / "s") as db:
        db.insert(b"a", b"1")
    (segment,) = (tmp_path / "s").glob("segment-*")
    for _ in range(2):  # So that no second copy is left.
        embedded.open(tmp_path / "s", log_keep_bytes=0).close()
    segment.unlink()
    missing = f"{segment.name} is damaged at byte 0.*missing"
    with pytest.raises(CorruptedError, match=missing + ".*from a backup.*salvage"):
        embedded.open(tmp_path / "s")
    with pytest.raises(CorruptedError, match=missing):
        embedded.survey(tmp_path / "s", recover="strict")
    with pytest.raises(CorruptedError, match=missing):
        embedded.open(tmp_path / "s", read_only=True)


def test_a_missing_segment_that_has_a_second_copy_is_made_again(tmp_path):
    with embedded.open(tmp_path / "s") as db:
        db.insert(b"a", b"1")
    (segment,) = (tmp_path / "s").glob("segment-*")
    segment.unlink()
    with pytest.raises(CorruptedError, match="missing"):
        embedded.survey(tmp_path / "s", recover="strict")
    assert not segment.exists(), "a survey changes nothing"
    with embedded.open(tmp_path / "s") as db:
        assert list(db) == [(b"a", b"1")]
        (damage,) = db.recovery_report.mended
        assert damage.file == segment.name
        assert f"mended: {damage}" in str(db.recovery_report)
    with embedded.open(tmp_path / "s") as db:
        assert not db.recovery_report
        assert list(db.verify()) == []


def test_hot_reads_copy_nothing(tmp_path):
    with embedded.open(tmp_path / "s") as db:
        db.insert(b"a", b"value" * 100)
        assert db.get(b"a") is db.get(b"a")
        db.checkpoint()
        assert db.get(b"a") is db.get(b"a")


def test_what_an_open_would_find_can_be_asked_first(tmp_path):
    path = tmp_path / "s"
    for missing in (path, tmp_path):
        with pytest.raises(InvalidArgumentError, match="no store"):
            embedded.survey(missing, recover="strict")
    assert list(tmp_path.iterdir()) == [tmp_path / names.LOCK]
    db = embedded.open(path, flush_every_ms=None)
    db.insert(b"a", b"1")
    with pytest.raises(LockedError):
        embedded.survey(path, recover="strict")
    db.abandon()
    before = contents(path)
    for how in ("strict", "prefix", "salvage"):
        report = embedded.survey(path, recover=how)
        assert (report.was_unclean, report.commits_replayed, report.sequence) == (True, 1, 1)
    after = contents(path)
    assert {n: d for n, d in after.items() if n != names.LOCK} == {
        n: d for n, d in before.items() if n != names.LOCK
    }
    with embedded.open(path) as db:
        assert db.get(b"a") == b"1"


def test_where_there_is_no_store_nothing_is_verified_or_repaired(tmp_path):
    with pytest.raises(InvalidArgumentError, match="no store"):
        list(embedded.verify(tmp_path))
    with pytest.raises(InvalidArgumentError, match="no store"):
        embedded.repair(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_is_not_supported_is_told_and_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": 1}.get)
    with pytest.raises(UnsupportedFormatError, match="free-threaded"):
        embedded.open(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_who_cannot_be_closed_at_exit_says_so_and_loses_nothing(tmp_path):
    """Without space for the last checkpoint, the log has what was committed."""
    code = f"""
        import errno, os
        from conduitstore.engine import embedded
        from conduitstore.engine.embedded.files import OsDirectory
        db = embedded.open({str(tmp_path / "s")!r}, flush_every_ms=60_000)
        db.insert(b"a", b"1")
        create = OsDirectory.create
        def full(self, name):
            if name.startswith("segment"):
                raise OSError(errno.ENOSPC, "full")
            return create(self, name)
        OsDirectory.create = full
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "could not be closed at exit: no space" in done.stderr
    with embedded.open(tmp_path / "s") as db:
        assert db.get(b"a") == b"1"
        assert db.was_recovered


def test_a_store_left_as_if_its_process_had_been_killed(tmp_path):
    db = embedded.open(tmp_path / "s", flush_every_ms=60_000)
    db.insert(b"a", b"1")
    for _ in range(2):
        db.abandon()
    with pytest.raises(ClosedError):
        db.get(b"a")
    with embedded.open(tmp_path / "s") as db:
        assert db.was_recovered
        assert db.get(b"a") == b"1"


def test_an_open_without_a_background_thread_lets_go_of_the_directory(tmp_path, monkeypatch):
    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="new thread"):
        embedded.open(tmp_path / "s")
    monkeypatch.undo()
    with embedded.open(tmp_path / "s") as db:
        db.insert(b"a", b"1")


REPLACED = pytest.mark.interpreted("it replaces a method of a class")


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (Flusher, "start"),
        (Flusher, "__init__"),
        (Store, "_start"),
        pytest.param(OsFile, "try_lock", marks=REPLACED),
    ],
)
def test_an_open_that_is_interrupted_lets_go_of_the_directory(tmp_path, monkeypatch, owner, method):
    with embedded.open(tmp_path / "s") as db:
        db.insert(b"a", b"1")
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt) as caught:
            embedded.open(tmp_path / "s")
    with embedded.open(tmp_path / "s") as db:
        assert list(db) == [(b"a", b"1")]
    assert caught.tb is not None, "its trace holds what it held, and no lock"


def test_what_no_repair_explains_is_refused_behind_one_too(tmp_path):
    """A segment that has a copy is gone, and so is a commit that was on the platter."""
    db = embedded.open(tmp_path / "s", flush_every_ms=None)
    for _ in range(3):
        db.insert(b"a", b"1")
        db.flush()
    db.checkpoint()
    for number in range(3):
        db.insert(b"b", b"%d" % number)
        db.flush()
    db.abandon()
    log = max((tmp_path / "s").glob("log-*"))
    data = bytearray(log.read_bytes())
    data[90] ^= 1
    log.write_bytes(data)
    max((tmp_path / "s").glob("segment-*")).unlink()
    with pytest.raises(CorruptedError, match=f"{log.name}.*were on the platter"):
        embedded.open(tmp_path / "s")
