"""Commits that wait for the disk beside others: whatever is acknowledged is there after a crash.

``INTERLEAVE_EVERY`` is that of the other interleavings.
"""

import copy
import os
import threading
from functools import partial
from types import SimpleNamespace

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import wal
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.testing.scheduler import Case, explore

pytestmark = pytest.mark.interpreted("it stops at lines")
EVERY = int(os.environ.get("INTERLEAVE_EVERY", "151"))
SETTINGS = {"flush_every_ms": None, "leaf_entries_max": 4, "log_keep_bytes": 0}


@pytest.fixture
def _locks_of_the_world(monkeypatch):
    """Those at which threads wait for a sync are made while tasks run: :func:`logged` sets them."""
    monkeypatch.setattr(wal, "threading", threading)


class Patient:
    """A lock that is waited for without looking again after a while: no time passes here."""

    def __init__(self, lock):
        self.lock = lock
        self.release, self.locked = lock.release, lock.locked

    def acquire(self, blocking=True, timeout=-1):  # noqa: FBT002, ARG002 - as of a lock
        return self.lock.acquire(blocking)

    def __enter__(self):
        return self.lock.acquire()

    def __exit__(self, *exc):
        self.lock.release()


def logged(actions, world):
    """Commits of these durabilities, and other calls; what is acknowledged is there after a crash.

    The first commit sets space aside in the log, so that those which wait are held.
    """
    disk = SimulatedDisk()
    db = embedded.open("store", files=disk, **SETTINGS)
    db.transaction(lambda tx: tx.insert(b"first", b"v"), durability="commit")
    acknowledged = []

    def act(number, action):
        wal.threading = SimpleNamespace(Lock=lambda: Patient(world.lock()))
        if action in ("flush", "checkpoint"):
            getattr(db, action)()
            return
        key = bytes([number])
        db.transaction(lambda tx: tx.insert(key, b"v"), durability=action)
        acknowledged.append((key, action, copy.deepcopy(disk)))

    def finish(endings):
        wal.threading = threading
        for ending in endings:
            if ending.error is not None:
                raise ending.error
        for key, durability, left in acknowledged:
            if durability == "commit":
                left.power_loss(keep="nothing")
            left.kill()
            again = embedded.open("store", files=left, **SETTINGS)
            assert durability == "none" or key in again
        db.close()

    return Case([partial(act, number, one) for number, one in enumerate(actions)], finish)


LOGGED = [
    ("commit", "commit"),
    ("commit", "interval"),
    ("commit", "none"),
    ("commit", "flush"),
    ("commit", "checkpoint"),
]
MORE_LOGGED = [
    ("commit", "interval", "commit"),
    ("commit", "none", "interval"),
    ("commit", "commit", "checkpoint"),
    ("commit", "flush", "commit"),
]


@pytest.mark.slow
@pytest.mark.usefixtures("_locks_of_the_world")
@pytest.mark.parametrize("actions", LOGGED, ids="-".join)
def test_every_interleaving_of_commits_that_wait_and_others(actions, faults):
    faults["runs"] += explore(partial(logged, actions), every=max(1, EVERY // 12)).runs_total


@pytest.mark.slow
@pytest.mark.usefixtures("_locks_of_the_world")
@pytest.mark.parametrize("actions", [*LOGGED, *MORE_LOGGED], ids="-".join)
def test_every_interleaving_of_commits_that_wait_at_locks(actions, faults):
    bound = {"preemptions": 2, "unit": "lock", "every": max(1, EVERY // 20)}
    faults["runs"] += explore(partial(logged, actions), **bound).runs_total


# Can it fail? -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("_locks_of_the_world")
def test_who_writes_without_what_is_held_is_found_out(monkeypatch):
    monkeypatch.setattr(wal.WriteAheadLog, "write_held", lambda _: None)
    with pytest.raises(AssertionError):
        explore(partial(logged, ("commit", "interval")), every=5)
