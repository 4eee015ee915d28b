"""Big values: outside leaves, read when asked for, rewritten only when they change."""

import random

import pytest

from conduitstore.engine import Batch, embedded
from conduitstore.engine.embedded.blob import Blob, BlobEntries, entries_of
from conduitstore.engine.embedded.format import HEADER_BYTES, FrameKind, decode_header, frames
from conduitstore.engine.embedded.segment import BUFFER_BYTES
from conduitstore.errors import CorruptedError
from conduitstore.kv import Insert
from conduitstore.testing.disk import SimulatedDisk

SETTINGS = {"flush_every_ms": None, "leaf_entries_max": 8, "compression_level": 0}
BIG = 10_000


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk, **settings):
    return embedded.open("store", files=disk, **SETTINGS | settings)


def value_of(number):
    return random.Random(number).randbytes(BIG + number)


def filled(disk, total=20, **settings):
    """A store with big and small values in turn, opened again so that nothing is in memory."""
    with open_on(disk, **settings) as db:
        for number in range(total):
            db.insert(bytes([number]), value_of(number) if number % 2 else b"small")
    return open_on(disk, **settings)


def segment_frames(disk):
    """Kind and payload bytes of every frame in every segment."""
    files = disk.directory("store")
    for name in files.names():
        if name.startswith("segment"):
            data = bytes(files._inode(name).cached)
            for frame in frames(data, decode_header(data[:HEADER_BYTES], name, b"S").seed):
                yield name, frame


def test_what_a_commit_writes_beside_its_first_big_value_is_kept(disk):
    """A leaf's entries become others when the first of them is big."""
    db = open_on(disk)
    db.insert(b"a", b"1")
    rows = {b"b": value_of(1), b"c": b"2", b"a": b"3", b"d": value_of(2), b"e": b"4"}
    batch = Batch()
    for key, value in rows.items():
        batch.insert(db, key, value)
    db.apply_batch(batch)
    assert dict(iter(db)) == rows
    assert [db.get(key) for key in rows] == list(rows.values())
    disk.kill()
    assert dict(iter(open_on(disk))) == rows


def test_every_way_to_read_gives_plain_bytes(disk):
    db = filled(disk)
    expected = [(bytes([n]), value_of(n) if n % 2 else b"small") for n in range(20)]
    with db.snapshot() as view:
        assert list(db) == list(view) == expected
        assert db.checksum() == view.open_tree("__default__")._db.checksum()
    assert list(db.range(reverse=True)) == expected[::-1]
    assert db.get_many(key for key, _ in expected) == [value for _, value in expected]
    assert db.last() == expected[-1]
    assert db.transaction(lambda tx: [tx.get(b"\x03"), *tx.range(limit=2)]) == [
        expected[3][1],
        *expected[:2],
    ]
    with db.watch_prefix(b"") as events:
        assert db.insert(b"\x03", value_of(99)) == value_of(3)
        assert db.remove(b"\x05") == value_of(5)
        assert events.next(0) == Insert(b"\x03", value_of(99))
    for _, value in db:
        assert type(value) is bytes


def test_a_hot_blob_is_not_copied(disk):
    db = filled(disk)
    assert db.get(b"\x01") is db.get(b"\x01")
    db.insert(b"\x01", value_of(50))
    assert db.get(b"\x01") is db.get(b"\x01")
    db.checkpoint()
    assert db.get(b"\x01") is db.get(b"\x01")


def test_statistics_tell_how_much_lies_beside_the_leaves(disk):
    """Of what was written already by the frames; no leaf and no value is read for it."""
    with open_on(disk) as db:
        tree = db.open_tree("t")
        tree.insert(b"big", bytes(BIG))
        tree.insert(b"small", b"v")
        assert db.stats().trees["t"].blob_bytes == BIG
        db.checkpoint()
        tree.insert(b"small", b"w")  # A dirty leaf that has a blob on the disk.
        dirty = db.stats().trees["t"]
        tree.insert(b"other", bytes(BIG))
        assert db.stats().trees["t"].blob_bytes == dirty.blob_bytes + BIG
    with open_on(disk) as db:
        loads = db.stats().cache_loads_total
        found = db.stats().trees["t"]
        assert 2 * BIG < found.blob_bytes == 2 * dirty.blob_bytes < 2 * BIG + 100
        assert found.payload_bytes < BIG
        assert db.stats().cache_loads_total == loads
        db.open_tree("t").remove(b"big")
        assert db.stats().trees["t"].blob_bytes == dirty.blob_bytes


def test_the_threshold_decides(disk):
    with open_on(disk, blob_bytes_min=100) as db:
        db.insert(b"a", b"x" * 99)
        db.insert(b"b", b"y" * 100)
    found = [(frame.kind, frame.payload) for _, frame in segment_frames(disk)]
    assert (FrameKind.BLOB, b"y" * 100) in found
    (leaf,) = [payload for kind, payload in found if kind == FrameKind.LEAF]
    assert b"x" * 99 in leaf
    assert b"y" not in leaf


def test_blobs_are_read_only_when_asked_for(disk):
    db = filled(disk)
    assert db.get(b"\x00") == b"small"
    assert db.forest.cache.resident_bytes < BIG
    db.get(b"\x01")
    assert BIG < db.forest.cache.resident_bytes < 2 * BIG


def test_a_blob_that_did_not_change_is_not_rewritten_with_its_leaf(disk):
    db = filled(disk)
    before = {name for name, _ in segment_frames(disk)}
    for number in range(0, 20, 2):
        db.insert(bytes([number]), b"changed")
    db.insert(b"\x07", value_of(77))
    db.checkpoint()
    new = [frame for name, frame in segment_frames(disk) if name not in before]
    assert [len(frame.payload) for frame in new if frame.kind == FrameKind.BLOB] == [BIG + 77]
    disk.kill()
    db = open_on(disk)
    assert db.get(b"\x07") == value_of(77)
    assert db.get(b"\x09") == value_of(9)
    assert db.get(b"\x08") == b"changed"


def damaged(disk, number, **settings):
    """A store in which the blob of one key does not read; gives it with file and offset of that."""
    filled(disk, **settings).close()
    name, victim = next(
        (name, frame)
        for name, frame in segment_frames(disk)
        if frame.kind == FrameKind.BLOB and len(frame.payload) == BIG + number
    )
    inode = disk.directory("store")._inode(name)
    inode.cached[victim.offset + 500] ^= 1
    return open_on(disk, **settings), (name, victim.offset)


def test_a_damaged_blob_is_missing_for_its_key_only(disk):
    db, place = damaged(disk, 5)
    with pytest.raises(CorruptedError) as caught:
        db.get(b"\x05")
    assert (caught.value.file, caught.value.offset) == place
    for number in (3, 7):
        assert db.get(bytes([number])) == value_of(number)
    assert db.get(b"\x04") == b"small"
    db.insert(b"\x04", b"its leaf can still be written")
    db.checkpoint()
    assert db.get(b"\x04") == b"its leaf can still be written"


@pytest.mark.parametrize("number", range(1, 20, 2))
def test_keys_are_walked_and_found_without_reading_blobs(disk, number):
    db = filled(disk)
    everything = [bytes([n]) for n in range(20)]
    assert list(db.keys()) == everything
    assert list(db.keys(reverse=True, limit=3)) == everything[:-4:-1]
    assert bytes([number]) in db

    def in_transaction(tx):
        tx.insert(b"\x00", b"drafted")
        assert list(tx.keys()) == everything
        assert bytes([number]) in tx
        assert tx.remove_prefix(bytes([number])) == 1
        assert bytes([number]) not in tx

    db.transaction(in_transaction)
    assert db.forest.cache.resident_bytes < BIG


def overwrite_in_a_batch(db):
    batch = Batch()
    batch.insert(db, b"\x05", b"new")
    db.apply_batch(batch)
    assert db.get(b"\x05") == b"new"


def remove_in_a_batch(db):
    batch = Batch()
    batch.remove(db, b"\x05")
    db.apply_batch(batch)
    assert b"\x05" not in db


def remove_by_prefix(db):
    assert db.remove_prefix(b"\x05") == 1
    assert b"\x05" not in db


def clear(db):
    db.clear()
    assert list(db) == []


@pytest.mark.parametrize(
    "write", [overwrite_in_a_batch, remove_in_a_batch, remove_by_prefix, clear]
)
def test_a_damaged_blob_goes_by_what_does_not_ask_for_it(disk, write):
    db, place = damaged(disk, 5)
    for asking in (lambda: db.insert(b"\x05", b"new"), lambda: db.remove(b"\x05")):
        with pytest.raises(CorruptedError) as caught:
            asking()
        assert (caught.value.file, caught.value.offset) == place
    assert db.sequence == 20, "nothing was written"
    write(db)
    expected = [(key, value) for key, value in db if key != b"\x05"]
    db.checkpoint()
    disk.kill()
    assert [(key, value) for key, value in open_on(disk) if key != b"\x05"] == expected


def test_entries_with_blobs_copy_without_reading():
    blob = Blob(None, None, size_bytes=5)  # Reading it would fail: it has no cache.
    entries = entries_of({b"a": b"1", b"b": blob})
    assert type(entries) is type(entries.copy()) is BlobEntries
    assert list(entries.copy().values()) == list((entries | {}).values()) == [b"1", blob]
    assert type(entries_of({b"a": b"1"})) is dict
    assert entries.get(b"a") == entries[b"a"] == b"1"
    assert entries.get(b"c") is None


def test_blobs_of_leaves_that_were_split_and_merged_are_blobs(disk):
    with filled(disk, total=60) as db:
        expected = dict(iter(db))
        for number in range(60):
            if number % 7 != 1:
                del expected[bytes([number])]
                db.remove(bytes([number]))
        assert dict(iter(db)) == expected
        db.checkpoint()
    with open_on(disk) as db:
        assert dict(iter(db)) == expected


def test_two_readers_of_a_blob_see_the_same_object(disk):
    """The second one comes while the first is reading."""
    with open_on(disk) as db:
        db.insert(b"k", b"value" * 2_000)
    db, others = open_on(disk), []
    assert db.contains_key(b"k")

    def meanwhile(operation, _name):
        disk.fail_reads = lambda _operation, _name: None
        assert operation == "read"
        others.append(db.get(b"k"))

    disk.fail_reads = meanwhile
    assert db.get(b"k") is others[0]
    assert db.get(b"k") == b"value" * 2_000
    assert db.forest.cache.resident_bytes < 15_000, "it is counted once"


def test_more_than_a_buffer_of_blobs_goes_into_one_segment(disk):
    chance = random.Random(3)
    values = {bytes([number]): chance.randbytes(300_000) for number in range(9)}
    with open_on(disk, segment_bytes_target=1 << 30) as db:
        for key, value in values.items():
            db.insert(key, value)
    (segment,) = [n for n in disk.directory("store").names() if n.startswith("segment")]
    assert disk.directory("store").open(segment).size() > 2 * BUFFER_BYTES
    with open_on(disk) as db:
        assert dict(iter(db)) == values
        assert list(db.verify()) == []
