"""Crash an import in each of its calls: a part of it is marked, and the next one starts over."""

import copy

from conduitstore.engine import embedded
from conduitstore.engine.transfer import IMPORT_MARK
from conduitstore.testing import MemoryDatabase
from conduitstore.testing.crash import content, explore
from conduitstore.testing.report import tally

SETTINGS = {"leaf_entries_max": 3, "checkpoint_log_bytes": 600, "idgen_persist_interval": 4}


def exported():
    with MemoryDatabase() as db:
        for name in ("one", "two"):
            for number in range(8):
                db.open_tree(name).insert(bytes([number]), bytes([number]) * 60)
        for _ in range(3):
            db.transaction(lambda tx: tx.next_count())
        db.reserve_ids(9)
        return b"".join(db.export()), content(db), db.checksum()


def test_every_call_of_an_import():
    stream, held, checksum = exported()
    seen = set()

    def check(disk, _history):
        with embedded.open("store", files=disk, flush_every_ms=None) as db:
            is_part = IMPORT_MARK in db.tree_names()
            seen.add(is_part)
            if not is_part:
                assert content(db) in ({"__default__": []}, held), "neither nothing nor everything"
            if is_part or content(db) != held:
                db.import_([copy.copy(stream)])
            assert db.checksum() == checksum
            assert db.transaction(lambda tx: tx.next_count()) > 3
            assert db.generate_id() >= 9

    report = explore([lambda db: db.import_([stream])], SETTINGS, check=check)
    tally("crashes of an import", report.crashes_total)
    assert report.calls_total > 25
    assert seen == {True, False}
