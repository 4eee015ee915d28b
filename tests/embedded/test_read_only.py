"""A store open for reading: what it sees beside a writer, and that it touches nothing."""

import asyncio
import os
import random
import subprocess
import sys
import textwrap

import pytest
from forked import refused_in_child

import conduitstore
from conduitstore.engine import Batch, embedded
from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.manifest import Manifest
from conduitstore.errors import (
    ClosedError,
    CorruptedError,
    InvalidArgumentError,
    LockedError,
    UnsupportedFormatError,
)
from conduitstore.testing import MemoryDatabase
from conduitstore.testing.crash import content
from conduitstore.testing.disk import SimulatedDisk

SECONDS = float(os.environ.get("READER_SECONDS", "2"))
ENOUGH = 3
"""Checkpoints that there are at least meanwhile, however long it takes."""


@pytest.fixture
def disk():
    return SimulatedDisk()


def write_on(disk, **settings):
    defaults = {"flush_every_ms": None, "leaf_entries_max": 4}
    return embedded.open("s", files=disk, **defaults | settings)


def read_on(disk, **settings):
    return embedded.open("s", files=disk, read_only=True, leaf_entries_max=4, **settings)


def test_it_sees_what_was_committed_and_moves_when_asked(disk):
    db = write_on(disk)
    tree = db.open_tree("t")
    tree.insert(b"a", b"1")
    reader = read_on(disk)
    handle, absent = reader.open_tree("t"), reader.open_tree("later")
    assert (list(handle), list(absent), reader.sequence) == ([(b"a", b"1")], [], db.sequence)
    view, items = reader.snapshot(), handle.range()
    for number in range(20):
        tree.insert(bytes([number]), b"2")
        db.transaction(lambda tx: tx.open_tree("later").insert(b"x", bytes([tx.next_count()])))
        if number == 10:
            db.checkpoint()
        assert reader.refresh() == db.sequence
        assert content(reader) == content(db)
        assert list(absent) == [(b"x", bytes([db.current_count()]))]
        assert reader.current_count() == db.current_count()
        assert reader.tree_names() == db.tree_names()
    assert list(items) == [(b"a", b"1")]
    assert list(view.open_tree("t")) == [(b"a", b"1")]
    assert list(view.open_tree("later")) == []
    db.drop_tree("t")
    reader.refresh()
    with pytest.raises(InvalidArgumentError, match="dropped"):
        handle.get(b"a")
    reader.close()
    with pytest.raises(ClosedError):
        absent.get(b"x")
    db.close()


def test_it_follows_a_writer_that_takes_in_another_store(disk):
    """Its sequence goes up by far, and no log leads there."""
    source = embedded.open("source", files=disk, flush_every_ms=None)
    for number in range(20):
        source.insert(bytes([number]), b"1")
    db = write_on(disk)
    reader = read_on(disk)
    db.import_(source.export())
    db.insert(b"x", b"2")
    assert reader.refresh() == db.sequence > 1 << 32
    assert content(reader) == content(db)
    disk.kill()
    assert content(reader) == content(db)
    with write_on(disk) as db:
        assert reader.refresh() == db.sequence
        assert list(db.verify()) == []


def test_iterators_made_between_refreshes_stay(disk):
    db, held = write_on(disk), []
    chance = random.Random(7)
    reader = read_on(disk)
    trees = [reader.open_tree(name) for name in ("a", "b")]  # not there yet
    for _ in range(300):
        db.open_tree(chance.choice("ab")).insert(bytes([chance.randrange(30)]), chance.randbytes(3))
        if chance.random() < 0.05:
            db.checkpoint()
        if chance.random() < 0.5:
            reader.refresh()
        tree = chance.choice([*trees, reader.open_tree("a")])
        held.append((tree.range(), list(tree)))
    for items, expected in held:
        assert list(items) == expected
    db.close()


def test_every_write_is_refused_and_nothing_is_touched(disk):
    db = write_on(disk)
    db.insert(b"a", b"1")
    disk.kill()
    calls = []
    disk.fail = lambda operation, name: calls.append((operation, name))
    reader = read_on(disk)
    tree = reader.open_tree("absent")
    for write in (
        lambda: reader.insert(b"a", b"2"),
        lambda: tree.remove(b"a"),
        lambda: tree.increment(b"a"),
        lambda: reader.apply_batch(Batch().insert("t", b"a", b"1")),
        lambda: reader.transaction(lambda tx: tx.get(b"a")),
        lambda: reader.drop_tree("t"),
        reader.flush,
        reader.generate_id,
        lambda: reader.reserve_ids(2),
        lambda: reader.watch_prefix(b""),
        reader.clear,
        reader.compact,
        lambda: reader.import_([]),
        lambda: asyncio.run(reader.wait_durable(1)),
    ):
        with pytest.raises(InvalidArgumentError):
            write()
    with pytest.raises(InvalidArgumentError, match="only a writer makes: ask it"):
        reader.backup("elsewhere")
    with pytest.raises(InvalidArgumentError, match="nobody has it open"):
        reader.verify()
    assert list(reader) == [(b"a", b"1")]
    assert reader.durable_sequence == 0
    assert not reader.was_recovered
    reader.close()
    assert calls == []


def test_what_it_knows_to_be_durable(disk):
    db = write_on(disk)
    db.insert(b"a", b"1")
    db.flush()
    db.insert(b"b", b"1")
    reader = read_on(disk)
    assert reader.durable_sequence == 1
    asyncio.run(reader.wait_durable(1))
    db.checkpoint()
    reader.refresh()
    assert reader.durable_sequence == 2
    db.close()


@pytest.mark.parametrize("setting", ["create_new", "temporary"])
def test_it_makes_no_store(tmp_path, setting):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidArgumentError, match="no store"):
            embedded.open(path, read_only=True)
    with pytest.raises(InvalidArgumentError):
        embedded.open(tmp_path, read_only=True, **{setting: True})
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidArgumentError, match="no store"):
        embedded.open(tmp_path, read_only=True)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_newer_store_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("conduitstore.engine.embedded.format.FORMAT_VERSION", 2)
    embedded.open(tmp_path / "s").close()
    monkeypatch.undo()
    with pytest.raises(UnsupportedFormatError, match="format version 2"):
        embedded.open(tmp_path / "s", read_only=True)


def test_damage_is_told_from_a_writer_at_work(disk):
    db = write_on(disk)
    db.insert(b"a", b"1")
    db.checkpoint()
    reader = read_on(disk)
    directory = disk.directory("s")
    (segment,) = [name for name in directory.names() if name.startswith(names.SEGMENT)]
    directory.unlink(segment)
    assert reader.refresh() == 1, "what is open stays open"
    with pytest.raises(CorruptedError, match=segment):
        read_on(disk)


@pytest.mark.parametrize("at", range(1, 40))
def test_a_writer_that_checkpoints_between_any_two_steps_of_a_reader(disk, monkeypatch, at):
    db = write_on(disk)
    for number in range(6):
        db.open_tree("t").insert(bytes([number]), b"1")
    steps, directory_class = [], type(disk.directory("s"))

    def meanwhile(operation, made):
        def call(self, *args):
            steps.append(operation)
            if len(steps) == at:
                for number in range(3):  # Two generations on: what the reader knew of is gone.
                    db.open_tree("t").insert(bytes([number]), b"2")
                    db.checkpoint()
            return made(self, *args)

        return call

    for operation in ("names", "open"):
        made = getattr(directory_class, operation)
        monkeypatch.setattr(directory_class, operation, meanwhile(operation, made))
    reader = read_on(disk)
    found = content(reader)
    monkeypatch.undo()
    assert found["t"] in (
        [(bytes([n]), b"1") for n in range(6)],
        *([(bytes([n]), b"2" if n <= upto else b"1") for n in range(6)] for upto in range(3)),
    )
    reader.refresh()
    assert content(reader) == content(db)
    db.close()


def test_a_read_only_directory_will_do(tmp_path):
    with conduitstore.open(tmp_path / "s") as store:
        store.users.create("@a:example.org", None)
    before = {file.name: file.read_bytes() for file in (tmp_path / "s").iterdir()}
    (tmp_path / "s" / names.LOCK).unlink()
    (tmp_path / "s" / names.ABOUT).unlink()
    (tmp_path / "s").chmod(0o500)
    try:
        with conduitstore.open(tmp_path / "s", read_only=True) as store:
            assert store.users.all() == ["@a:example.org"]
            with pytest.raises(InvalidArgumentError, match="reading only"):
                store.users.create("@b:example.org", None)
    finally:
        (tmp_path / "s").chmod(0o700)
    after = {file.name: file.read_bytes() for file in (tmp_path / "s").iterdir()}
    assert after == {k: v for k, v in before.items() if k not in (names.LOCK, names.ABOUT)}


def test_a_schema_that_needs_a_migration_is_refused_and_left(tmp_path):
    embedded.open(tmp_path / "s").close()
    with pytest.raises(UnsupportedFormatError, match="for writing once"):
        conduitstore.open(tmp_path / "s", read_only=True)


WRITER = textwrap.dedent("""
    import os, sys
    from conduitstore.engine import embedded

    db = embedded.open(sys.argv[1], flush_every_ms=5, checkpoint_log_bytes=20_000,
                       leaf_entries_max=16, idgen_persist_interval=50)
    rows, number = db.open_tree("rows"), 0
    while True:
        number += 1
        def run(tx):
            tx.insert(b"newest", number.to_bytes(8))
            tx.open_tree("rows").insert(number.to_bytes(8), os.urandom(40))
            if number > 500:
                tx.open_tree("rows").remove((number - 500).to_bytes(8))
        db.transaction(run)
        db.generate_id()
        if number % 97 == 0:
            db.checkpoint()
        os.write(1, b"%d\\n" % number)
""")


@pytest.mark.slow
def test_each_state_beside_a_real_writer_is_a_prefix_and_new_enough(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        acknowledged = int(writer.stdout.readline())
        os.set_blocking(writer.stdout.fileno(), False)
        reader = embedded.open(tmp_path / "s", read_only=True)
        rows, text, reloads = reader.open_tree("rows"), b"", set()
        try:
            began = os.times().elapsed
            while os.times().elapsed - began < SECONDS or len(reloads) <= ENOUGH:
                text += writer.stdout.read() or b""
                whole, _, text = text.rpartition(b"\n")
                if whole:
                    acknowledged = int(whole.rpartition(b"\n")[2])
                reader.refresh()
                with reader.snapshot() as view:
                    newest = int.from_bytes(view.get(b"newest"))
                    found = [int.from_bytes(key) for key, _ in view.open_tree("rows")]
                assert newest >= acknowledged
                assert found == list(range(max(1, newest - 499), newest + 1))
                assert rows.last()[0] == newest.to_bytes(8)
                reloads.add(reader._manifest)
        finally:
            writer.kill()
            writer.wait()
        newest = reader.refresh()
        with embedded.open(tmp_path / "s") as db:
            assert db.sequence == newest
            assert content(db) == content(reader)
        reader.close()


def test_a_tree_that_went_before_a_checkpoint_goes_with_a_refresh(disk):
    db = write_on(disk)
    db.open_tree("t").insert(b"a", b"1")
    reader = read_on(disk)
    handle = reader.open_tree("t")
    assert list(handle) == [(b"a", b"1")]
    db.drop_tree("t")
    db.checkpoint()
    reader.refresh()
    assert reader.tree_names() == ["__default__"]
    with pytest.raises(InvalidArgumentError, match="dropped"):
        handle.get(b"a")
    db.close()


@pytest.mark.parametrize("moves", [1, 500])
def test_a_manifest_that_is_replaced_before_it_is_opened(disk, monkeypatch, moves):
    """The reader goes on in the next one; where that goes on for ever it says so, and may retry."""
    db = write_on(disk)
    db.insert(b"a", b"1")
    reader = read_on(disk)
    db.insert(b"a", b"2")
    db.checkpoint()
    monkeypatch.setattr(Manifest, "is_long", lambda *_: True)
    left = [moves]

    def meanwhile(operation, name):
        if operation == "open" and name.startswith("manifest") and left[0]:
            before = left[0]
            left[0] = 0
            for _ in range(2):  # The one before is kept as well.
                db.insert(b"a", b"%d" % before)
                db.checkpoint()
            left[0] = before - 1

    disk.fail_reads = meanwhile
    if moves == 1:
        assert reader.refresh() == db.sequence
    else:
        with pytest.raises(FileNotFoundError):
            reader.refresh()
        assert 0 < left[0] < moves
        left[0] = 0
        assert reader.refresh() == db.sequence
    assert list(reader) == list(db)
    reader.refresh()
    db.close()


def test_what_an_operator_may_ask_of_it(disk):
    db = write_on(disk)
    for number in range(20):
        db.open_tree("t").insert(bytes([number]), b"value")
    db.transaction(lambda tx: tx.next_count())
    db.generate_id()
    db.checkpoint()
    reader = read_on(disk)
    stats, its = reader.stats(), db.stats()
    assert (stats.trees["t"].entries_total, stats.count) == (20, 1)
    assert stats.size_on_disk_bytes == its.size_on_disk_bytes
    copy = MemoryDatabase()
    copy.import_(reader.export())
    assert copy.checksum() == reader.checksum() == db.checksum()
    assert copy.generate_id() > 0, "the writer may have given out more than a reader can know"
    last = db.generate_id()
    db.close()
    reader.refresh()
    copy = MemoryDatabase()
    copy.import_(reader.export())
    assert copy.generate_id() == last + 1, "a clean close left the exact number"


def test_a_forked_child_can_do_nothing_with_it(tmp_path):
    with embedded.open(tmp_path / "s") as db:
        db.insert(b"a", b"1")
    reader = embedded.open(tmp_path / "s", read_only=True)

    def after_close():
        reader.close()
        reader.refresh()

    assert refused_in_child(LockedError, lambda: reader.get(b"a"), after_close)
    assert reader.get(b"a") == b"1"
    reader.close()
