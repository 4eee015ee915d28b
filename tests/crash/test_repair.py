"""Crash a repair in each of its calls: another one finishes it, and what is done stays done.

An open repairs what the log writes into, before anything else.
"""

import copy

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import names
from conduitstore.testing.crash import aftermaths, content
from conduitstore.testing.disk import SimulatedCrash, SimulatedDisk
from conduitstore.testing.report import tally

SETTINGS = {"leaf_entries_max": 3, "flush_every_ms": None}


def damaged(at, *, is_closed):
    """A store whose newest segment does not read in one place, and what it held."""
    disk = SimulatedDisk()
    db = embedded.open("store", files=disk, **SETTINGS)
    for number in range(7):
        db.insert(bytes([number]), bytes([number]) * 40)
    db.checkpoint()
    for number in range(3):
        db.insert(bytes([number]), b"new" * 9)
    db.flush()
    held = content(db)
    if is_closed:
        db.close()
    disk.kill()
    directory = disk.directory("store")
    segment = max(n for n in directory.names() if (names.parse(n) or "_")[0] == names.SEGMENT)
    inode = directory._inode(segment)
    inode.cached[at] ^= 1
    inode.platter = bytes(inode.cached)
    return disk, held


def repair(disk):
    return embedded.repair("store", files=disk)


def open_and_leave(disk):
    """Open it; the process is killed behind that."""
    db = embedded.open("store", files=disk, **SETTINGS)
    db.abandon()
    return db.recovery_report.mended


@pytest.mark.parametrize(
    ("way", "place", "is_closed"),
    [(repair, -9, True), (repair, 90, False), (open_and_leave, 90, False)],
)
def test_every_call_of_a_repair(way, place, is_closed):
    original, held = damaged(place, is_closed=is_closed)
    assert way(copy.deepcopy(original))
    at, is_done = 0, False
    while not is_done:
        at += 1
        disk = copy.deepcopy(original)
        disk.crash_at = at
        try:
            way(disk)
            is_done = True
        except SimulatedCrash:
            pass
        for aftermath in aftermaths((at, at + 1)):
            struck = copy.deepcopy(disk)
            aftermath.strike(struck)
            tally("crashes of a repair", 1)
            if not is_done:
                way(struck)
            with embedded.open("store", files=struck, **SETTINGS) as db:
                assert content(db) == held
                assert not [damage for damage in db.verify() if damage.tree is not None]
    assert at > 8
