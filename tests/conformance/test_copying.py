"""Copying a store into another, for every pair of engines: exactly what a snapshot showed."""

import random

import pytest

from conduitstore.engine import copy, transfer
from conduitstore.engine.transfer import IMPORT_MARK, SEQUENCE_GAP
from conduitstore.errors import ClosedError, ConflictError, InvalidArgumentError
from conduitstore.kv import DEFAULT_TREE
from conduitstore.testing import MemoryDatabase


@pytest.fixture
def source(other_harness):
    with other_harness.open() as db:
        yield db


def fill(db, seed=3):
    """Several trees, one empty, values of all sizes, counts and ids drawn, one count in vain."""
    chance = random.Random(seed)
    for name in ("a", DEFAULT_TREE, "ünï"):
        tree = db.open_tree(name)

        def some(tx, name=tree.name):
            for _ in range(60):
                key = chance.randbytes(chance.choice((1, 2, 40)))
                tx.open_tree(name).insert(key, bytes(chance.randrange(1_500)))

        db.transaction(some)
    db.open_tree("a").insert(b"\xff" * 2_048, bytes(300_000))
    db.open_tree("hollow")
    for _ in range(3):
        db.transaction(lambda tx: tx.next_count())
    with pytest.raises(ZeroDivisionError):
        db.transaction(lambda tx: tx.next_count() / 0)
    db.reserve_ids(7)


def content(db):
    return {name: list(db.open_tree(name)) for name in db.tree_names()}


class BreakError(Exception):
    """What stops a copy in these tests."""


def broken_after(total):
    """An ``on_entries`` that gives up."""
    calls = iter(range(total))

    def on_entries(_total):
        if next(calls, None) is None:
            raise BreakError

    return on_entries


def test_a_copy_holds_what_the_source_does_and_goes_on_above_it(source, db):
    fill(source)
    copied = copy(source, db)
    assert content(db) == content(source)
    assert (copied.entries_total, copied.checksum) == (
        sum(map(len, content(source).values())),
        source.checksum(),
    )
    assert copied.checksum == db.checksum()
    assert copied.count == source.current_count() == db.current_count() == 3
    assert db.transaction(lambda tx: tx.next_count()) == 5, "4 was drawn and undone"
    assert db.generate_id() >= 7


def test_the_copy_is_there_after_power_loss(source, harness):
    fill(source)
    db = harness.open()
    copy(source, db)
    if harness.is_persistent:
        db = harness.power_loss(db)
    assert content(db) == content(source)
    assert IMPORT_MARK not in db.tree_names()
    db.close()


def test_the_copy_is_of_the_moment_it_began_at(source, db):
    fill(source)
    before = content(source)

    def write(_total):
        source.insert(random.randbytes(8), b"meanwhile")
        source.drop_tree("a")

    copy(source, db, on_entries=write)
    assert content(db) == before


@pytest.mark.parametrize("calls", [0, 1, 7, 20, 45, 70])
def test_a_broken_copy_goes_on_and_takes_what_the_source_has_become(source, db, calls, monkeypatch):
    monkeypatch.setattr(transfer, "BATCH_ENTRIES_MAX", 7)
    monkeypatch.setattr(transfer, "PAGE_ENTRIES", 5)
    fill(source)
    with pytest.raises(BreakError):
        copy(source, db, on_entries=broken_after(calls))
    assert IMPORT_MARK in db.tree_names()
    with pytest.raises(InvalidArgumentError, match="part of an import"):
        copy(db, MemoryDatabase())
    for key, _ in list(source)[::3]:
        source.remove(key)
    for key in list(source.keys())[::3]:
        source.insert(key, b"other")
    source.drop_tree("a")
    fill(source, seed=4)
    source.open_tree("new").insert(b"k", b"v")
    assert copy(source, db).checksum == source.checksum()
    assert content(db) == content(source)


def test_what_is_there_already_is_not_written_again(source, db):
    fill(source)
    copy(source, db)
    sequence, totals = db.sequence, len(db)
    source.insert(b"one more", b"v")
    with db.open_tree("a").watch_prefix(b"") as a, db.watch_prefix(b"") as changes:
        copy(source, db, replace=True)
        assert changes.next(0) == (b"one more", b"v")
        assert changes.next(0) is None
        assert a.next(0) is None
    assert len(db) == totals + 1
    assert db.sequence <= sequence + SEQUENCE_GAP + 4, (
        "the mark, the difference, the count, the mark gone"
    )


@pytest.mark.usefixtures("other_harness")
def test_replacing_leaves_nothing_of_what_was_there(source, db):
    fill(source)
    for name in (DEFAULT_TREE, "a", "gone"):
        for number in range(20):
            db.open_tree(name).insert(bytes([number]), b"old")
    for _ in range(9):
        db.transaction(lambda tx: tx.next_count())
    ids = db.reserve_ids(99)
    copy(source, db, replace=True)
    assert content(db) == content(source)
    assert db.transaction(lambda tx: tx.next_count()) > 9, "counts of both are behind it"
    assert db.generate_id() > ids[-1]


def test_only_an_empty_store_is_copied_into_unless_it_is_said(source, db):
    fill(source)
    db.open_tree("mine").insert(b"k", b"v")
    before = content(db)
    with pytest.raises(InvalidArgumentError, match=r"empty store.*'mine'.*replace=True"):
        copy(source, db)
    assert content(db) == before


def test_a_store_is_not_copied_onto_itself(db):
    fill(db)
    before = content(db)
    for replace in (False, True):
        with pytest.raises(InvalidArgumentError, match="onto itself"):
            copy(db, db, replace=replace)
    assert content(db) == before


def test_the_target_is_not_one_that_only_reads(source, harness):
    fill(source)
    db = harness.open()
    if harness.is_persistent:
        with harness.reader(db) as reader, pytest.raises(InvalidArgumentError):
            copy(source, reader)
    assert content(db) == {DEFAULT_TREE: []}
    db.close()


def test_the_source_may_be_open_for_reading_only(other_harness, db):
    written = other_harness.open()
    fill(written)
    if other_harness.is_persistent:
        with other_harness.reader(written) as reader:
            copy(reader, db)
        assert content(db) == content(written)
    written.close()


def test_closed_ends_are_refused(source, harness):
    db = harness.open()
    db.close()
    with pytest.raises(ClosedError):
        copy(source, db)
    with pytest.raises(ClosedError):
        copy(db, MemoryDatabase())


def test_who_writes_into_the_target_meanwhile_is_noticed(source, db):
    fill(source)
    with pytest.raises(ConflictError, match="somebody else writes"):
        copy(source, db, on_entries=lambda _: db.insert(b"mine", b"v"))
    assert IMPORT_MARK in db.tree_names()
    copy(source, db)
    assert content(db) == content(source)


def test_progress_adds_up_to_twice_the_source(source, db):
    fill(source)
    totals = []
    copy(source, db, on_entries=totals.append)
    trees = source.stats().trees.values()
    assert sum(totals) == 2 * sum(tree.entries_total for tree in trees)
