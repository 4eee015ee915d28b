"""What an operator asks of a whole store: size, state, a stream out and in."""

import io
import random
import tracemalloc

import pytest

from conduitstore.engine import stream, stream_reader, transfer
from conduitstore.engine.transfer import IMPORT_MARK
from conduitstore.errors import (
    ClosedError,
    CorruptedError,
    InvalidArgumentError,
    LaggedError,
    UnsupportedFormatError,
)
from conduitstore.kv import DEFAULT_TREE
from conduitstore.testing import MemoryDatabase


def fill(db):
    """Several trees, one empty, values of all sizes, more than a chunk, counts and ids drawn."""
    chance = random.Random(5)
    for number in range(300):
        db.open_tree("a").insert(number.to_bytes(2), chance.randbytes(number * 5))
    db.insert(b"\xff" * 2_048, bytes(700_000))
    db.insert(b"empty", b"")
    db.open_tree("hollow")
    db.open_tree("ünï").insert(b"k", b"v")
    for _ in range(3):
        db.transaction(lambda tx: tx.next_count())
    with pytest.raises(ZeroDivisionError):
        db.transaction(lambda tx: tx.next_count() / 0)
    db.reserve_ids(7)


def content(db):
    return {name: list(db.open_tree(name)) for name in db.tree_names()}


@pytest.fixture
def exported(db):
    fill(db)
    return b"".join(db.export())


def test_stats_and_size_follow_what_is_written(db, harness):
    empty = db.stats()
    assert empty.trees[DEFAULT_TREE].entries_total == empty.sequence == empty.count == 0
    db.open_tree("a").insert(b"key", b"value")
    db.transaction(lambda tx: tx.next_count())
    stats = db.stats()
    assert (stats.trees["a"].entries_total, stats.trees["a"].payload_bytes) == (1, 8)
    assert (stats.sequence, stats.count) == (db.sequence, 1)
    assert db.stats(exact=True).trees == stats.trees
    assert stats.durable_sequence <= stats.sequence
    assert (stats.dirty_bytes > 0) == harness.keeps_in_process
    assert stats.size_on_disk_bytes == db.size_on_disk()
    assert (db.size_on_disk() > 0) == harness.is_persistent


def test_a_store_that_writes_has_nothing_to_refresh(db):
    db.insert(b"a", b"1")
    assert db.refresh() == db.sequence
    db.close()
    with pytest.raises(ClosedError):
        db.refresh()


def test_a_report_of_nothing_is_empty(db):
    assert not db.recovery_report
    assert "nothing to recover" in str(db.recovery_report)


def test_an_undamaged_store_has_no_damage(db):
    fill(db)
    assert list(db.verify()) == []


@pytest.mark.parametrize("level", [0, 1, 3])
def test_a_stream_goes_to_any_engine_and_back(harness_class, db, level):
    fill(db)
    exported = b"".join(db.export(compression_level=level))
    with MemoryDatabase() as memory:
        assert memory.import_(exported[i : i + 999] for i in range(0, len(exported), 999)) == 303
        assert memory.checksum() == db.checksum()
        with harness_class().open() as back:
            assert back.import_(io.BytesIO(b"".join(memory.export()))) == 303
            assert content(back) == content(db)
            assert back.checksum() == db.checksum()
            assert back.current_count() == 3
            assert back.transaction(lambda tx: tx.next_count()) == 5, "4 was drawn and undone"
            assert back.generate_id() == 7
            assert IMPORT_MARK not in back.tree_names()


def test_no_position_in_the_exported_store_is_one_in_the_importing(db, harness_class):
    """Both have commits of the same numbers: who was told of one must not go on in the other."""
    for number in range(30):
        db.insert(b"k", b"%d" % number)
    exported, places = b"".join(db.export()), range(db.sequence + 10)
    with harness_class().open() as other:
        mine = other.watch_prefix(b"")
        other.import_([exported])
        begin = other.sequence
        assert begin > max(places) + (1 << 31)
        for number in range(5):
            other.insert(b"k", b"new %d" % number)
        for since in (*places, begin - 3, other.sequence + 1):
            with pytest.raises(LaggedError, match="not of this history"):
                other.watch_prefix(b"", since=since)
        told = other.watch_prefix(b"", since=begin)
        assert [told.next(0).value for _ in range(5)] == [b"new %d" % n for n in range(5)]
        assert [mine.next(0).value for _ in range(6)][1:] == [b"new %d" % n for n in range(5)]
        assert other.flush() == other.durable_sequence == other.sequence == mine.sequence


def test_the_stream_shows_the_instant_it_was_asked_for(db):
    db.insert(b"a", b"1")
    pieces = db.export()
    db.insert(b"b", b"2")
    with MemoryDatabase() as other:
        other.import_(pieces)
        assert list(other) == [(b"a", b"1")]


def test_the_stream_ends_with_the_checksum_of_the_store(db, exported):
    end = stream.End(*stream.END.unpack(exported[-stream.END.size :]))
    assert end == (303, 3, 4, 7, db.sequence, db.checksum())


def test_only_an_empty_store_takes_a_stream(db, exported):
    before = content(db)
    with pytest.raises(InvalidArgumentError, match=r"empty store.*over=True"):
        db.import_([exported])
    assert content(db) == before


def test_a_stream_of_something_else_changes_nothing(db):
    sequence = db.sequence
    for other in (b"", b"SQLite format 3\0", b"\x89CSTREA"):
        with pytest.raises(UnsupportedFormatError):
            db.import_([other])
    newer = stream.STREAM_HEADER.pack(stream.STREAM_MAGIC, 2)
    with pytest.raises(UnsupportedFormatError, match="version 2"):
        db.import_([newer + stream.CRC.pack(stream.crc32(newer))])
    assert db.sequence == sequence


@pytest.fixture
def small():
    with MemoryDatabase() as db:
        for name in ("a", "b"):
            for number in range(3):
                db.open_tree(name).insert(bytes([number]), b"value" * number)
        return b"".join(db.export())


def refused(db, pieces):
    """The error of an import that must leave nothing."""
    with pytest.raises(CorruptedError) as caught:
        db.import_(pieces)
    assert content(db) == {DEFAULT_TREE: []}
    assert db.current_count() == 0
    return caught.value


@pytest.fixture
def step(harness):
    """Each place where the engine is in this process; some where emptying it goes to a server."""
    return 1 if harness.keeps_in_process else 7


def test_a_stream_cut_anywhere_is_refused_and_leaves_nothing(db, small, step):
    for size in range(stream.STREAM_HEADER_BYTES, len(small), step):
        error = refused(db, [small[:size]])
        assert error.offset <= size
    db.import_([small])


def test_a_stream_cut_in_its_header_is_refused_before_anything_is_changed(db, small):
    db.insert(b"a", b"1")
    for size in range(8, stream.STREAM_HEADER_BYTES):
        with pytest.raises(CorruptedError, match="ends within the header"):
            db.import_([small[:size]])
    assert content(db) == {DEFAULT_TREE: [(b"a", b"1")]}


def test_a_stream_with_any_byte_wrong_is_refused_and_leaves_nothing(db, small, step):
    for at in range(8, len(small), step):
        wrong = bytearray(small)
        wrong[at] ^= 0x41
        if at in (8, 9):
            continue  # A version is told from damage only by a whole header.
        assert refused(db, [bytes(wrong)]).file == "stream"
    db.import_([small])


def chunks_of(exported):
    at, chunks = stream.STREAM_HEADER_BYTES, []
    while at < len(exported):
        length = stream.CHUNK.unpack_from(exported, at)[0]
        chunks.append(exported[at : at + stream.CHUNK_BYTES + length])
        at += len(chunks[-1])
    return exported[: stream.STREAM_HEADER_BYTES], chunks


def test_chunks_moved_missing_repeated_or_following_are_refused(db, small):
    head, chunks = chunks_of(small)
    first, a, a_entries, b, b_entries, end = chunks
    for wrong in (
        [first, b, b_entries, a, a_entries, end],
        [first, a, b, b_entries, end],
        [first, a, a_entries, a_entries, b, b_entries, end],
        [*chunks, end],
        [*chunks, b"\0"],
        [end],
    ):
        refused(db, [head, *wrong])


def made(*chunks, end=None):
    """A stream whose checksums hold, whatever it says."""
    head = stream.STREAM_HEADER.pack(stream.STREAM_MAGIC, 1)
    crc = stream.crc32(head)
    pieces = [head, stream.CRC.pack(crc)]
    for kind, payload, flags in (*chunks, *([(3, end, 0)] if end is not None else [])):
        head = stream.CHUNK.pack(len(payload), kind, flags)
        crc = stream.crc32(payload, stream.crc32(head, crc))
        pieces += head, stream.CRC.pack(crc), payload
    return b"".join(pieces)


def entry(key, value):
    return len(key).to_bytes(4) + key + len(value).to_bytes(4) + value


NOTHING = stream.END.pack(0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "hostile",
    [
        made((1, b"a", 0), (2, entry(b"b", b"") + entry(b"a", b""), 0)),
        made((1, b"a", 0), (2, entry(b"a", b"") + entry(b"a", b""), 0)),
        made((1, b"a", 0), (2, entry(b"", b""), 0)),
        made((1, b"a", 0), (2, entry(b"k" * 2_049, b""), 0)),
        made((1, b"a", 0), (2, entry(b"k", b"v")[:-1], 0)),
        made((1, b"a", 0), (2, (1 << 31).to_bytes(4) + b"k", 0)),
        made((1, b"a", 0), (2, b"\0\0", 0)),
        made((1, b"a", 0), (2, len(b"k").to_bytes(4) + b"k", 0)),
        made((1, b"", 0), end=NOTHING),
        made((1, b"\xff", 0), end=NOTHING),
        made((1, b"a\0b", 0), end=NOTHING),
        made((1, b"x" * 256, 0), end=NOTHING),
        made((1, b"b", 0), (1, b"a", 0), end=NOTHING),
        made((1, IMPORT_MARK.encode(), 0), end=NOTHING),
        made((2, entry(b"k", b"v"), 0), end=NOTHING),
        made((9, b"", 0), end=NOTHING),
        made(end=NOTHING[:-1]),
        made(end=stream.END.pack(1, 0, 0, 0, 0, 0)),
        made(end=stream.END.pack(0, 0, 0, 0, 0, 1)),
        made(end=stream.END.pack(0, 1 << 63, 1 << 63, 0, 0, 0)),
        made(end=stream.END.pack(0, 0, 0, (1 << 64) - 1, 0, 0)),
        made(end=stream.END.pack(0, 0, 0, 0, (1 << 62) + 1, 0)),
        made(end=stream.END.pack(0, 2, 1, 0, 0, 0)),
        made((1, b"a", 0), (2, b"no zstd", 1), end=NOTHING),
    ],
)
def test_what_only_somebody_hostile_would_write_is_refused(db, hostile):
    refused(db, [hostile])


def test_declared_lengths_take_no_memory(db, small):
    huge = stream.CHUNK.pack((1 << 32) - 1, 2, 0) + bytes(4)
    largest = stream.CHUNK.pack(stream.CHUNK_PAYLOAD_BYTES_MAX, 2, 0) + bytes(4)
    # A zstd frame that declares 4 GiB and one that declares nothing.
    bomb = made((1, b"a", 0), (2, bytes.fromhex("28b52ffd c0 00 00000000 01000000 00"), 1))
    unsized = made((1, b"a", 0), (2, bytes.fromhex("28b52ffd 00 58 01 00 00"), 1))
    tracemalloc.start()
    try:
        for hostile in (small[:16] + huge, small[:16] + largest + b"x" * 99, bomb, unsized):
            refused(db, [hostile])
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_many_small_entries_arrive_in_bounded_commits(db, monkeypatch):
    monkeypatch.setattr(transfer, "BATCH_ENTRIES_MAX", 10)
    with MemoryDatabase() as source:
        source.transaction(lambda tx: [tx.insert(bytes([n]), b"") for n in range(95)])
        before = db.sequence
        db.import_(source.export())
    commits = db.sequence - before - transfer.SEQUENCE_GAP
    assert commits == 12, "the mark, ten batches, and the mark gone"
    assert len(db) == 95


def test_what_a_dead_import_left_is_emptied_by_the_next(db, small):
    db.open_tree(IMPORT_MARK)
    db.open_tree("half").insert(b"a", b"1")
    for number in range(30):
        db.insert(bytes([number]), b"1")
    with pytest.raises(InvalidArgumentError, match="part of an import"):
        db.export()
    db.import_([small])
    assert db.tree_names() == [DEFAULT_TREE, "a", "b"]
    assert len(db) == 0


def test_an_interrupt_leaves_nothing(db, small):
    def pieces():
        yield small[:-50]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        db.import_(pieces())
    assert content(db) == {DEFAULT_TREE: []}


@pytest.mark.parametrize("level", [-1, 23, None, 1.5])
def test_a_level_that_is_none_is_refused(db, level):
    with pytest.raises(InvalidArgumentError, match="compression level"):
        db.export(compression_level=level)


def test_a_closed_store_answers_nothing(db, small):
    db.close()
    for call in (
        db.stats,
        db.size_on_disk,
        db.export,
        lambda: list(db.verify()),
        lambda: db.import_([small]),
    ):
        with pytest.raises(ClosedError):
            call()


def test_inside_a_transaction_only_its_own_handles_are_used(db, small):
    def run(_tx):
        for call in (db.stats, db.export, lambda: db.import_([small])):
            with pytest.raises(InvalidArgumentError):
                call()

    db.transaction(run)


def test_the_reader_reads_no_more_than_it_must(small):
    class Source:
        largest = 0

        def __init__(self):
            self.file = io.BytesIO(small)

        def read(self, size):
            Source.largest = max(Source.largest, size)
            return self.file.read(size)

    with MemoryDatabase() as db:
        db.import_(Source())
    assert Source.largest <= stream_reader.READ_BYTES_MAX
