"""Interrupted at every moment, an opening lets go of the directory, and another one finds it all.

``INTERRUPT_EVERY=1`` tries each moment, without it one in so many.
"""

import copy
import logging
import os
import threading
from functools import cache

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.blocks import LeafStore, Log
from conduitstore.engine.embedded import lifecycle, names
from conduitstore.testing.crash import content
from conduitstore.testing.damage import disk_of, image_of
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.testing.interrupts import Interrupter

EVERY = int(os.environ.get("INTERRUPT_EVERY", "37"))
SPARSE = 1 if EVERY == 1 else 6 * EVERY
SETTINGS = {
    "flush_every_ms": 3_600_000,  # A thread is started, and has nothing to do.
    "leaf_entries_max": 4,
    "blob_bytes_min": 30,
    "segment_bytes_target": 400,
    "idgen_persist_interval": 5,
}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr(logging.getLogger("conduitstore"), "disabled", True)


def open_on(disk, path="store", **settings):
    return embedded.open(path, files=disk, **SETTINGS | settings)


# What is opened -----------------------------------------------------------------------------------


def lived(*, is_closed):
    disk = SimulatedDisk(can_map=False)  # So that a file's end is that of what is in it.
    db = open_on(disk)
    for number in range(14):
        db.insert(bytes([number]), b"first" * (number % 9))
    db.checkpoint()
    for number in range(7):
        db.open_tree("t").insert(bytes([number]), b"second" * number)
        db.transaction(lambda tx: tx.insert(b"count", b"%d" % tx.next_count()))
        db.insert(bytes([number]), b"again")
        db.flush()
    db.reserve_ids(7)
    if is_closed:
        db.close()
    else:
        db.abandon()
    disk.kill()
    return disk


@cache
def nothing():
    return SimulatedDisk()


@cache
def closed():
    return lived(is_closed=True)


@cache
def killed():
    return lived(is_closed=False)


@cache
def leftover():
    """A manifest that was being written, and a torn commit."""
    disk = copy.deepcopy(killed())
    directory = disk.directory("store")
    for name, data in (("manifest-000000ff.new", b"half"), (log_of(disk), b"\xf7CSf")):
        file = directory.open(name) if name in directory.names() else directory.create(name)
        file.write_at(data, file.size())
    return disk


def log_of(disk):
    return names.of_kind(names.LOG, disk.directory("store").names())[-1][1]


@cache
def a_backup():
    disk = copy.deepcopy(closed())
    with open_on(disk) as db:
        db.backup("backup")
    return disk_of(image_of(disk.directory("backup")))


def flipped(kind, at):
    disk = copy.deepcopy(killed())
    directory = disk.directory("store")
    inode = directory._inode(names.of_kind(kind, directory.names())[-1][1])
    inode.cached[at] ^= 0x10
    inode.platter = bytes(inode.cached)
    return disk


@cache
def to_be_mended():
    return flipped(names.SEGMENT, 30)


@cache
def damaged():
    return flipped(names.MANIFEST, 90)


OPENINGS = {
    "new": (nothing, {}),
    "closed": (closed, {}),
    "killed": (killed, {}),
    "leftover": (leftover, {}),
    "backup": (a_backup, {}),
    "mended": (to_be_mended, {}),
    "salvaged": (damaged, {"recover": "salvage"}),
}


def flushers():
    return [one for one in threading.enumerate() if one.name == "conduitstore-flusher"]


def interrupted(opening, at, error):
    """Whether there was such a moment, the disk behind it, and what was raised."""
    make, settings = opening
    disk = copy.deepcopy(make())
    interrupter = Interrupter(at, error)
    try:
        db = interrupter.run(lambda: open_on(disk, **settings))
    except error as raised:
        return interrupter, disk, raised
    assert not interrupter.has_struck, "an interrupt was swallowed"
    db.abandon()
    return interrupter, disk, None


def moments_of(opening):
    """How many there are; from Python 3.12 on functions are seen at their second run."""
    for _ in range(2):
        interrupter, _, _ = interrupted(opening, 1 << 30, KeyboardInterrupt)
    return interrupter.moments_total


def check(disk, settings, wanted, numbers, before):
    """Nobody holds the directory, although what was raised still holds its trace."""
    assert set(flushers()) <= before, "a thread goes on in a store that nobody has"
    with open_on(disk, **settings) as db:
        assert content(db) == wanted
        assert (db.current_count(), db.generate_id()) >= numbers
        assert [damage for damage in db.verify() if damage.tree is not None] == []
        db.insert(b"goes", b"on")
    with open_on(disk) as db:
        assert content(db)["__default__"] == sorted([*wanted["__default__"], (b"goes", b"on")])
        assert not db.was_recovered


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPENINGS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_opening_interrupted_at_every_moment(kind, error, faults):
    make, settings = OPENINGS[kind]
    others, threads = set(lifecycle._open_stores), set(flushers())  # Left by tests before.
    with open_on(copy.deepcopy(make()), **settings) as db:
        wanted, numbers = content(db), (db.current_count(), db.generate_id())
    total = moments_of(OPENINGS[kind])
    assert total > 300
    is_all = error is KeyboardInterrupt and kind in ("new", "killed")
    last = total - (60 if is_all else 0)  # There a store begins to be one.
    for at in [*range(1, last, SPARSE), *range(last, total + 1)]:
        interrupter, disk, raised = interrupted(OPENINGS[kind], at, error)
        if raised is None:
            continue
        faults["opened again"] += 1
        try:
            check(disk, settings, wanted, numbers, threads)
        except BaseException as wrong:
            wrong.add_note(f"{kind} at moment {at}, {interrupter.where}")
            raise
    assert not set(lifecycle._open_stores) - others


def log_alone(disk):
    log = Log("log", files=disk)
    log.append(b"record")
    return log


def leaves_alone(disk):
    store = LeafStore("leaves", files=disk)
    store.write("run", [(b"k", b"v")])
    return store


@pytest.mark.parametrize(("make", "path"), [(log_alone, "log"), (leaves_alone, "leaves")])
def test_the_building_blocks_let_go_as_well(make, path, faults):
    prepared, kind = SimulatedDisk(), Log if make is log_alone else LeafStore
    make(prepared).close()
    at, kept = 0, []
    while True:
        at += 1 if EVERY == 1 else 7
        disk = copy.deepcopy(prepared)
        interrupter = Interrupter(at, KeyboardInterrupt)
        try:
            interrupter.run(lambda disk=disk: kind(path, files=disk))
        except KeyboardInterrupt as raised:
            kept.append(raised)
            faults["opened again"] += 1
            kind(path, files=disk).close()
        else:
            break
    assert len(kept) > 20
