"""The leaf store by itself: runs written whole, read through a bounded cache, replaced at once."""

import random
import threading

import pytest
from forked import refused_in_child

from conduitstore.engine import embedded
from conduitstore.engine.blocks import LeafStore
from conduitstore.errors import (
    ClosedError,
    CorruptedError,
    InvalidArgumentError,
    LockedError,
    StoreFullError,
    UnsupportedFormatError,
)
from conduitstore.testing.disk import SimulatedDisk


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk, **settings):
    return LeafStore("leaves", files=disk, **{"leaf_entries_max": 4} | settings)


def entries(total, value=b"value"):
    return [(number.to_bytes(3), value + b"%d" % number) for number in range(total)]


def test_a_run_is_read_like_a_tree(disk):
    with open_on(disk) as store:
        run = store.write("numbers", iter(entries(100)))
        assert (run.name, len(run), store.names()) == ("numbers", 100, ["numbers"])
        assert list(run) == entries(100)
        assert run.get((7).to_bytes(3)) == b"value7"
        assert run.get(b"absent") is None
        assert run.get_many([(1).to_bytes(3), b"absent"]) == [b"value1", None]
        assert run.first() == entries(100)[0]
        assert run.last() == entries(100)[-1]
        assert list(run.range((3).to_bytes(3), (6).to_bytes(3))) == entries(100)[3:6]
        assert list(run.range(reverse=True, limit=5)) == entries(100)[:-6:-1]
        assert list(run.scan_prefix(b"\0\0", limit=2)) == entries(2)
        for write in (lambda: run.insert(b"a", b"1"), run.clear, lambda: run.remove(b"a")):
            with pytest.raises(InvalidArgumentError):
                write()


def test_runs_are_there_after_opening_again_and_after_power_loss(disk):
    with open_on(disk) as store:
        store.write("a", entries(50))
    store = open_on(disk)
    store.write("b", entries(5, b"big" * 5_000))
    store.write("empty", [])
    for seed in range(5):
        disk.power_loss(seed)
        with open_on(disk) as store:
            assert store.names() == ["a", "b", "empty"]
            assert list(store.run("a")) == entries(50)
            assert list(store.run("b")) == entries(5, b"big" * 5_000)
            assert list(store.run("empty")) == []
            assert store.run("absent") is None


def test_a_run_takes_the_place_of_another_and_its_readers_read_on(disk):
    with open_on(disk, cache_capacity_bytes=0) as store:
        old = store.write("a", entries(50, b"old"))
        half = old.range()
        assert next(half) == entries(50, b"old")[0]
        new = store.write("a", entries(60, b"new"))
        assert list(store.run("a")) == list(new) == entries(60, b"new")
        assert store.drop("a")
        assert not store.drop("a")
        assert (store.run("a"), store.names()) == (None, [])
        for _ in range(3):
            store.write("b", entries(10))
        assert list(old) == entries(50, b"old")
        assert list(half) == entries(50, b"old")[1:]
        assert list(new) == entries(60, b"new")
        assert list(store.run("b")) == entries(10)


def test_files_keep_to_twice_what_lives(disk):
    chance = random.Random(2)
    rows = [(key, chance.randbytes(500)) for key, _ in entries(100)]
    live = sum(len(key) + len(value) for key, value in rows)
    with open_on(disk, segment_bytes_target=20_000) as store:
        for _ in range(20):
            store.write("a", rows)
        directory = disk.directory("leaves")
        stored = sum(directory.open(name).size() for name in directory.names())
    assert stored < 4 * live + 20_000, "twice what lives, and what the last two writes wrote"


def test_the_cache_keeps_to_its_capacity_and_reads_again(disk):
    with open_on(disk, cache_capacity_bytes=5_000) as store:
        run = store.write("a", entries(2_000, b"x" * 100))
        assert store.cache_bytes <= 5_000
        before = store.loads_total
        assert run.get((1_000).to_bytes(3)) == b"x" * 100 + b"1000"
        assert store.loads_total <= before + 1
        assert list(run) == entries(2_000, b"x" * 100)
        assert store.loads_total > before + 400
        assert store.cache_bytes <= 5_000


@pytest.mark.parametrize(
    "items",
    [
        [(b"b", b""), (b"a", b"")],
        [(b"a", b""), (b"a", b"")],
        [(b"", b"")],
        [("a", b"")],
        [(b"a", None)],
        [(b"k" * 2_049, b"")],
    ],
)
def test_what_is_no_run_changes_nothing(disk, items):
    with open_on(disk) as store:
        store.write("a", entries(5))
        with pytest.raises(InvalidArgumentError):
            store.write("a", items)
        for name in ("", "a\0", "__default__", None):
            with pytest.raises(InvalidArgumentError):
                store.write(name, [])
        assert store.run("__default__") is None
        assert not store.drop("__default__")
        assert list(store.run("a")) == entries(5)


def test_a_full_disk_leaves_the_run_before(disk):
    with open_on(disk) as store:
        store.write("a", entries(5))
        disk.append_bytes_max = None
        disk.fail = lambda operation, _: OSError(28, "full") if operation == "append" else None
        with pytest.raises(StoreFullError):
            store.write("a", entries(50))
        disk.fail = lambda *_: None
        assert list(store.run("a")) == entries(5)
        assert list(store.write("a", entries(50))) == entries(50)
    with open_on(disk) as store:
        assert list(store.run("a")) == entries(50)


def test_a_damaged_leaf_is_named_and_spares_the_rest(disk):
    with open_on(disk, cache_capacity_bytes=0, compression_level=0) as store:
        store.write("a", entries(100))
        directory = disk.directory("leaves")
        (segment,) = [name for name in directory.names() if name.startswith("segment")]
        directory.open(segment)._inode.cached[1_000] ^= 1
        run, damaged = store.run("a"), []
        for key, value in entries(100):
            try:
                assert run.get(key) == value
            except CorruptedError as error:
                damaged.append((error.file, key))
        assert 0 < len(damaged) <= 4
        assert {file for file, _ in damaged} == {segment}


def test_readers_need_no_writer_and_no_lock(disk):
    with open_on(disk, cache_capacity_bytes=3_000) as store:
        store.write("a", entries(200, b"0"))
        stop, seen = threading.Event(), []

        def read():
            while not stop.is_set():
                run = store.run("a")
                values = {value[:1] for _, value in run}
                assert len(values) == 1
                assert len(run) == 200
                seen.append(values.pop())

        readers = [threading.Thread(target=read) for _ in range(2)]
        for thread in readers:
            thread.start()
        for turn in range(1, 9):
            store.write("a", entries(200, b"%d" % turn))
        stop.set()
        for thread in readers:
            thread.join()
        assert seen == sorted(seen) or len(set(seen)) > 1
        with store.writer_lock:
            assert store.run("a").get((5).to_bytes(3)) == b"85"


def test_who_may_open_what(tmp_path):
    with LeafStore(tmp_path / "leaves") as store:
        kept = store.write("a", entries(5))
        with pytest.raises(LockedError):
            LeafStore(tmp_path / "leaves")
    for call in (
        lambda: store.run("a"),
        store.names,
        lambda: store.write("a", []),
        lambda: store.drop("a"),
        lambda: kept.get(b"a"),
        kept.range,
    ):
        with pytest.raises(ClosedError):
            call()
    store.close()
    embedded.open(tmp_path / "store").close()
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").write_text("mine")
    for name in ("store", "else"):
        with pytest.raises(UnsupportedFormatError):
            LeafStore(tmp_path / name)
    with pytest.raises(CorruptedError, match="log-00000001"):
        embedded.open(tmp_path / "leaves")
    with LeafStore(tmp_path / "leaves") as store:
        assert list(store.run("a")) == entries(5)


def test_settings_that_are_none_are_refused(tmp_path):
    for settings in ({"durability": "commit"}, {"leaf_entries_max": 0}, {"colour": "red"}):
        with pytest.raises(InvalidArgumentError, match=next(iter(settings))):
            LeafStore(tmp_path / "leaves", **settings)
    assert not (tmp_path / "leaves").exists()


def test_a_damaged_manifest_is_named_and_locks_nobody_out(disk):
    with open_on(disk) as store:
        store.write("numbers", entries(9))
    directory = disk.directory("leaves")
    (name,) = [name for name in directory.names() if name.startswith("manifest")]
    inode = directory._inode(name)
    inode.cached[100] ^= 1
    with pytest.raises(CorruptedError, match=name):
        open_on(disk)
    inode.cached[100] ^= 1
    with open_on(disk) as store:
        assert list(store.run("numbers")) == entries(9)


def test_what_a_crash_left_half_made_is_taken_away(disk):
    with open_on(disk) as store:
        store.write("numbers", entries(9))
    directory = disk.directory("leaves")
    directory.create("manifest-0000ffff.new").write_at(b"half of a manif", 0)
    with open_on(disk) as store:
        assert list(store.run("numbers")) == entries(9)
        assert not [name for name in directory.names() if name.endswith(".new")]


def test_a_forked_child_can_do_nothing_with_it(tmp_path):
    with LeafStore(tmp_path / "leaves") as store:
        run = store.write("numbers", entries(9))
        calls = (lambda: run.get(b"a"), store.names, lambda: store.write("a", entries(1)))
        assert refused_in_child(LockedError, *calls, last=store.close)
        with pytest.raises(LockedError):
            LeafStore(tmp_path / "leaves")
        assert list(run) == entries(9)
