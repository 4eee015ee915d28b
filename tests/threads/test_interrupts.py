"""Interrupted at every moment, a store is whole, or latched with the error that says so.

Opened again it has what it had before the interrupted call or after it. ``INTERRUPT_EVERY=1`` tries
each moment, without it one in so many.
"""

import gc
import logging
import os
from contextlib import suppress
from importlib import import_module

import pytest

from conduitstore.engine import Batch, embedded
from conduitstore.errors import (
    ClosedError,
    InvalidArgumentError,
    PoisonedError,
    StoreFullError,
)
from conduitstore.testing.crash import content
from conduitstore.testing.damage import disk_of, image_of
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.testing.interrupts import Interrupter
from conduitstore.testing.locks import Lonely, replaced_locks

EVERY = int(os.environ.get("INTERRUPT_EVERY", "37"))
KEYS = [bytes([number]) for number in range(20)]
SETTINGS = {
    "flush_every_ms": None,
    "leaf_entries_max": 4,
    "cache_capacity_bytes": 700,
    "blob_bytes_min": 30,
    "log_keep_bytes": 0,
    "idgen_persist_interval": 5,
}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr(logging.getLogger("conduitstore"), "disabled", True)


def open_on(disk):
    return embedded.open("store", files=disk, **SETTINGS)


def _prepared():
    disk = SimulatedDisk()
    with open_on(disk) as db:
        for key in KEYS:
            db.insert(key, b"first")
        db.open_tree("u").insert(b"big", b"big" * 20)
        db.open_tree("gone").insert(b"k", b"v")
        db.checkpoint()
        for key in KEYS[::2]:
            db.insert(key, b"second")
    return image_of(disk.directory("store"))


IMAGE = _prepared()


# What is interrupted ------------------------------------------------------------------------------


def put(db):
    db.insert(KEYS[3], b"put")


def put_blob(db):
    db.open_tree("u").insert(b"big", b"other" * 20)


def transaction(db):
    def run(tx):
        tx.next_count()
        for key in KEYS[2:9]:
            tx.remove(key)
        tx.transaction(lambda inner: inner.open_tree("new").insert(b"k", b"v"))
        tx.open_tree("u").insert(b"small", b"1")

    db.transaction(run)


def durable(db):
    db.transaction(lambda tx: tx.insert(KEYS[1], b"durable"), durability="commit")


def batch(db):
    writes = Batch()
    for number in range(6):
        writes.insert(db, KEYS[5] + bytes([number]), b"split")
    db.apply_batch(writes)


def drop(db):
    db.drop_tree("gone")


def watched(db):
    with db.watch_prefix(b"") as events:
        db.insert(KEYS[4], b"seen")
        events.next(0)


def take_ids(db):
    for _ in range(12):
        db.generate_id()
    db.reserve_ids(7)


def checkpoint(db):
    db.checkpoint()


def compact(db):
    db.compact()


def flush(db):
    db.flush()


def backup(db):
    db.backup("backup")


def verify(db):
    assert list(db.verify()) == []


def read(db):
    """Cold and hot, and iterators that are left in the middle, closed and collected."""
    for key in KEYS[::3]:
        db.get(key)
    db.open_tree("u").get(b"big")
    items, back = db.range(), db.range(reverse=True)
    next(items)
    back.next_back()
    del items
    list(reversed(back))
    with db.snapshot() as view:
        view.get_many(KEYS)
        len(view)


def export(db):
    list(db.export())


def close(db):
    db.close()


WRITES = [put, put_blob, transaction, durable, batch, drop, watched]
OTHERS = [take_ids, checkpoint, compact, flush, backup, verify, read, export, close]


def store():
    disk = disk_of(IMAGE)
    with replaced_locks(Lonely):
        db = open_on(disk)
    db.insert(KEYS[6], b"dirty")
    return disk, db


def after(action):
    """What it makes of the store."""
    _, db = store()
    before = content(db)
    action(db)
    with replaced_locks(Lonely):
        db = open_on(db.directory._disk) if action is close else db
    return before, content(db)


def check_whole_or_latched(disk, db, lawful):
    """What can be seen of it, and what it still does; gives how it is."""
    ids = set(range(db.counters.ids))
    try:
        db.insert(b"probe", b"1")
    except (PoisonedError, ClosedError) as error:
        outcome = "latched" if isinstance(error, PoisonedError) else "closed"
    else:
        outcome = "whole"
    try:
        seen = without_probe(content(db))
    except (PoisonedError, ClosedError):
        seen = None
    assert seen is None or seen in lawful, "half of it can be seen"
    assert seen is not None or outcome != "whole"
    if outcome == "whole":
        assert not ids.intersection([db.generate_id(), *db.reserve_ids(2)])
        db.checkpoint()
        assert list(db.verify()) == []
        db.close()
    elif disk.calls_total % 2:
        disk.kill()
    else:
        db.close()  # Lets go of the directory, once more if it was interrupted amid that.
    with replaced_locks(Lonely), open_on(disk) as again:
        found = content(again)
        assert (dict(found["__default__"]).get(b"probe") == b"1") == (outcome == "whole")
        assert without_probe(found) in (lawful if seen is None else [seen, *lawful[1:]])
        assert seen is None or outcome != "whole" or without_probe(found) == seen
        assert list(again.verify()) == []
    db.abandon()
    return outcome


def without_probe(found):
    rows = [row for row in found["__default__"] if row[0] != b"probe"]
    return found | {"__default__": rows}


def interrupted_everywhere(action, error, faults, begin=1, every=EVERY):
    lawful = after(action)
    moments_of(action)  # From Python 3.12 on a function's instructions are seen at its second run.
    at = begin
    while True:
        disk, db = store()
        interrupter = Interrupter(at, error)
        try:
            interrupter.run(lambda db=db: action(db))
        except error:
            pass
        except (PoisonedError, StoreFullError) as seen:
            if not isinstance(seen.__cause__ or seen.__context__, error):
                raise
        if not interrupter.has_struck:
            db.abandon()
            return
        try:
            faults[check_whole_or_latched(disk, db, lawful)] += 1
        except BaseException as wrong:
            wrong.add_note(f"{action.__name__} at moment {at}, {interrupter.where}")
            raise
        at += every


def moments_of(action):
    """How many there are."""
    _, db = store()
    interrupter = Interrupter(1 << 30, KeyboardInterrupt)
    interrupter.run(lambda: action(db))
    db.abandon()
    return interrupter.moments_total


def test_an_interrupted_sync_leaves_no_lock_behind(faults):
    """Once it did where it came right behind the taking, or amid the giving back."""
    interrupted_everywhere(flush, KeyboardInterrupt, faults, every=1)


def test_a_close_that_is_interrupted_at_its_very_end_has_closed(faults):
    """Once writes were taken again behind the generation that says that all is clean."""
    begin = moments_of(close) - 60
    interrupted_everywhere(close, KeyboardInterrupt, faults, begin, every=1)
    assert faults["closed"] > 50


def test_a_tree_whose_making_is_interrupted_is_undone(faults):
    """Once what was interrupted ended in a KeyError."""

    def make(db):
        db.transaction(lambda tx: tx.transaction(lambda inner: inner.open_tree("new")))

    interrupted_everywhere(make, KeyboardInterrupt, faults, every=1)


def verified(disk):
    return list(embedded.verify("store", files=disk))


def read_all(disk):
    return content(open_on(disk))


@pytest.mark.parametrize(
    ("module", "decoder", "use"),
    [
        ("claims", "decode_leaf", verified),
        ("segment", "decode_columns", read_all),
        ("manifest", "unpacked", read_all),
    ],
)
def test_too_little_memory_is_no_damage(monkeypatch, module, decoder, use):
    """Once it was told as a file that is damaged."""
    disk, db = store()
    db.abandon()
    found = import_module(f"conduitstore.engine.embedded.{module}")

    def fail(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr(found, decoder, fail)
    with pytest.raises(MemoryError):
        use(disk)


@pytest.mark.slow
@pytest.mark.parametrize("action", [*WRITES, *OTHERS], ids=lambda action: action.__name__)
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_interrupted_at_every_moment(action, error, faults):
    interrupted_everywhere(action, error, faults)


# Finalizers, which the collector runs at any moment -----------------------------------------------


class Cycle:
    """Garbage that only the collector finds; what it holds goes when it does."""

    def __init__(self, *held):
        self.held, self.me = held, self


def drop_garbage(db):
    """An iterator in its middle, a snapshot, a subscriber, and a store that nobody closed."""
    items = db.range()
    next(items)
    other = embedded.open("other", files=SimulatedDisk(), flush_every_ms=None)
    Cycle(items, db.snapshot(), db.watch_prefix(b""), other.range(), other)


@pytest.mark.slow
@pytest.mark.parametrize("action", [*WRITES, *OTHERS], ids=lambda action: action.__name__)
def test_collected_at_every_moment(action, faults):
    """Iterators, snapshots and stores end amid anything; what others finalize may read by key."""
    before, wanted = after(action)
    rows, later = dict(before["__default__"]), dict(wanted["__default__"])
    at = 1
    gc.disable()
    gc.freeze()  # Else each collection walks over all that other tests have left.
    try:
        while True:
            disk, db = store()
            view, seen = db.snapshot(), []
            drop_garbage(db)

            def finalize(db=db, view=view, seen=seen):
                gc.collect()
                with suppress(InvalidArgumentError, ClosedError):  # Amid a transaction, or a close.
                    for key in (KEYS[1], KEYS[6], KEYS[19]):
                        assert view.get(key) == rows[key]
                        seen.append((key, db.get(key)))

            interrupter = Interrupter(at, finalize)
            interrupter.run(lambda db=db: action(db))
            assert all(value in (rows[key], later.get(key)) for key, value in seen)
            if not interrupter.has_struck:
                return
            faults["finalized"] += 1
            if action is not close:
                assert content(db) == wanted
            disk.kill()
            db.abandon()
            with replaced_locks(Lonely), open_on(disk) as again:
                assert content(again) == wanted
            at += 3 * EVERY
    finally:
        gc.unfreeze()
        gc.enable()
