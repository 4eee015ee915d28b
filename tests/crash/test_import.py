"""Crash an import in each of its calls: a part of it is marked, and the next one starts over."""

import copy
import errno

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.transfer import IMPORT_MARK
from conduitstore.errors import LaggedError, PoisonedError, StoreFullError
from conduitstore.testing import MemoryDatabase
from conduitstore.testing.crash import content, explore
from conduitstore.testing.disk import SimulatedDisk
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


def no_error(_operation, _name):
    return None


class Failing:
    """The n-th call gets an error; those before and behind it do not."""

    def __init__(self, at, code):
        self.left, self.code = at, code

    def __call__(self, operation, _name):
        self.left -= 1
        return OSError(self.code, operation) if self.left == 0 else None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_every_call_of_an_import_fails(code):
    """Whatever is left, another import into it is whole, in a history of its own."""
    stream, held, _ = exported()
    at, failed_total = 0, 0
    while True:
        at += 1
        disk = SimulatedDisk()
        db = embedded.open("store", files=disk, flush_every_ms=None, **SETTINGS)
        disk.fail = Failing(at, code)
        try:
            db.import_([stream])
        except (StoreFullError, PoisonedError, OSError):
            failed_total += 1
        has_failed, disk.fail = disk.fail.left <= 0, no_error
        if not has_failed:
            break
        db.abandon()
        with embedded.open("store", files=disk, flush_every_ms=None, **SETTINGS) as db:
            if content(db) != held:
                db.import_([stream])
            assert content(db) == held
            assert list(db.verify()) == []
            for since in range(40):
                with pytest.raises(LaggedError):
                    db.watch_prefix(b"", since=since)
            begin = db.sequence
            db.insert(b"goes", b"on")
            assert db.watch_prefix(b"", since=begin).next(0).key == b"goes"
    tally("crashes of an import", at)
    assert failed_total >= 20
