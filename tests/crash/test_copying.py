"""Crash a copy in each of its calls, and let it go on from a source that went on writing."""

from conduitstore.engine import copy, embedded
from conduitstore.engine.transfer import IMPORT_MARK
from conduitstore.testing import MemoryDatabase
from conduitstore.testing.crash import content, explore
from conduitstore.testing.report import tally

SETTINGS = {"leaf_entries_max": 3, "checkpoint_log_bytes": 600, "idgen_persist_interval": 4}


def source(*, has_gone_on):
    """The same for each call; later some entries are gone, changed and new, and a tree is gone."""
    db = MemoryDatabase()
    for name in ("one", "two"):
        for number in range(8):
            db.open_tree(name).insert(bytes([number]), bytes([number]) * 60)
    db.transaction(lambda tx: [tx.next_count() for _ in range(3)])
    db.reserve_ids(9)
    if has_gone_on:
        db.drop_tree("two")
        for number in range(0, 8, 3):
            db.open_tree("one").remove(bytes([number]))
            db.open_tree("one").insert(bytes([number, 1]), b"new")
        db.open_tree("one").insert(bytes([1]), b"changed")
        db.transaction(lambda tx: tx.next_count())
        db.reserve_ids(9)
    return db


def test_every_call_of_a_copy(monkeypatch):
    monkeypatch.setattr("conduitstore.engine.transfer.BATCH_ENTRIES_MAX", 3)
    held = content(source(has_gone_on=False))
    later = source(has_gone_on=True)
    seen = set()

    def check(disk, _history):
        with embedded.open("store", files=disk, flush_every_ms=None) as db:
            is_part = IMPORT_MARK in db.tree_names()
            seen.add(is_part)
            if not is_part:
                assert content(db) in ({"__default__": []}, held), "neither nothing nor everything"
            copied = copy(later, db, replace=content(db) == held)
            assert content(db) == content(later)
            assert copied.checksum == db.checksum() == later.checksum()
            assert db.transaction(lambda tx: tx.next_count()) > 4
            assert db.generate_id() >= 18

    report = explore([lambda db: copy(source(has_gone_on=False), db)], SETTINGS, check=check)
    tally("crashes of a copy", report.crashes_total)
    assert report.calls_total > 40
    assert seen == {True, False}
