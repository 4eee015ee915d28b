"""Crash a homeserver's life in its system calls: what was acknowledged is there, and fits together.

The explorer holds the store against the memory engine, row by row. Here the parts are asked, the
way a homeserver asks them, and every rule of consistency is tested. ``PARTS_EVERY=1`` tries every
call, without it one in so many.
"""

import os

import pytest
from effort import EFFORT
from parts_life import LIFE, NOW_MS, OTHER, PROMISES, A

import conduitstore
from conduitstore import migrate
from conduitstore.consistency import check
from conduitstore.engine import embedded
from conduitstore.parts import clock, devices, refresh_tokens
from conduitstore.parts.holder import Parts
from conduitstore.testing.crash import explore
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.testing.report import tally
from conduitstore.upkeep import delete_room, rebuild
from conduitstore.upkeep.rebuild import REBUILDS

SETTINGS = {
    "leaf_entries_max": 4,
    "checkpoint_log_bytes": 20_000,
    "idgen_persist_interval": 4,
    "blob_bytes_min": 400,
    "segment_bytes_target": 4_000,
}
EVERY = int(os.environ.get("PARTS_EVERY", "29"))


@pytest.fixture(autouse=True)
def one_instant(monkeypatch):
    """The oracle and the store do the same only where no clock ticks between them."""
    for module in (clock, devices, refresh_tokens):
        monkeypatch.setattr(module, "now_ms", lambda: NOW_MS)
    monkeypatch.setattr(migrate, "TREES", ("global",))  # Empty trees are not what this is about.
    for module in ("batches", "rooms"):
        monkeypatch.setattr(f"conduitstore.upkeep.{module}.BATCH_ROWS", 8)


def assert_kept(disk, history):
    """All that was promised before the crash, and that nothing is broken."""
    with embedded.open("store", files=disk, flush_every_ms=None, **SETTINGS) as db:
        parts = Parts(db)
        for sequence, kept in PROMISES.made:
            if sequence <= history.acknowledged:
                kept(parts)
        assert_whole(db)
        assert_no_key_comes_again(parts)


def assert_whole(db):
    if PROMISES.is_deleting:
        delete_room(db, OTHER)  # Half deleted it is no whole room: the next run finishes it.
    with db.snapshot() as view:
        assert list(check(view)) == []
    for tree in REBUILDS:
        assert rebuild(db, tree) == 0, tree


def assert_no_key_comes_again(parts):
    if not parts.devices.exists(A, "D"):
        return
    while (claimed := parts.one_time_keys.claim(A, "D", "x")) and not claimed.is_fallback:
        assert claimed.key["n"] not in PROMISES.claimed, "a key was claimed twice"


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_a_homeserver_keeps_what_it_promised_wherever_it_dies():
    report = explore(
        LIFE,
        SETTINGS,
        every=EVERY,
        seeds=range(min(EFFORT, 2)),
        check=assert_kept,
        shrink_seconds=0,
    )
    tally("crashes of a homeserver", report.crashes_total)
    assert report.calls_total > 100
    assert report.crashes_total > 9 * report.calls_total / EVERY


def test_the_promises_are_made_and_can_be_broken():
    """Each holds at the end of the life, and nearly each fails on a store that never lived."""
    with embedded.open("store", files=SimulatedDisk()) as db:
        for step in LIFE:
            step(db)
        for _, kept in PROMISES.made:
            kept(Parts(db))
        assert_whole(db)
    PROMISES.is_deleting = False
    with conduitstore.open(":memory:") as empty:
        broken = [kept for _, kept in PROMISES.made if not holds(kept, empty)]
    assert PROMISES.claimed == [0, 1, 2, 3]
    assert len(broken) == len(PROMISES.made) - 2  # An empty queue, and no room.
    assert len(broken) > 18


def holds(kept, parts):
    try:
        kept(parts)
    except (AssertionError, AttributeError, TypeError):
        return False
    return True
