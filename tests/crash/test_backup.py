"""Crash a backup in each of its calls: the store and the backup before it are as they were."""

import copy
import random

from conduitstore.engine import embedded
from conduitstore.testing.crash import content, explore
from conduitstore.testing.disk import KEEPS, SimulatedCrash, SimulatedDisk
from conduitstore.testing.report import tally

SETTINGS = {
    "leaf_entries_max": 3,
    "checkpoint_log_bytes": 900,
    "idgen_persist_interval": 4,
    "blob_bytes_min": 20,
}


class Backups:
    """Steps that back up, and what has come of them in the life that runs."""

    def __init__(self):
        self.done = []

    def forget(self, _db):
        self.done = []

    def step(self, db):
        if hasattr(db, "checkpoint"):
            self.done.append(db.backup("backup").sequence)

    def check(self, disk, history):
        """What the directory holds is the last backup that was done, or the next one, whole."""
        directory = disk.directory("backup")
        has_manifest = directory is not None and any(
            name.startswith("manifest") and not name.endswith(".new") for name in directory.names()
        )
        assert has_manifest or not self.done, "the backup is gone"
        if not has_manifest:
            return
        with embedded.open("backup", files=disk, flush_every_ms=None) as db:
            assert db.recovery_report.was_backup
            sequence = db.recovery_report.sequence
            assert sequence >= max(self.done, default=0)
            assert content(db) == history.states[sequence]
            assert db.sequence > max(history.states) + (1 << 31)
            assert list(db.verify()) == []
            drawn = db.transaction(lambda tx: tx.next_count())
            assert drawn > max(history.newest_count, 1 << 32)
            assert db.generate_id() > max(history.ids, default=0) + (1 << 31)


def write(seed):
    chance = random.Random(seed)
    rows = [(chance.choice(b"abcdefg"), chance.randbytes(30)) for _ in range(6)]

    def step(db):
        def run(tx):
            tx.next_count()
            for key, value in rows:
                tx.open_tree("t").insert(bytes([key]), value)

        db.transaction(run)

    return step


def test_every_call_of_backups_that_repeat():
    """A whole one, one of what changed, one of nothing, and one over more than that."""
    backups = Backups()
    steps = [backups.forget, write(1), backups.step, write(2), backups.step, backups.step]
    steps += [write(3), write(4), backups.step, write(5)]
    report = explore(steps, SETTINGS, check=backups.check, small=True)
    tally("crashes of backup and restore", report.crashes_total)
    assert report.calls_total > 80


def test_every_call_of_a_restore():
    """The target is nothing, a store cut short that a second try replaces, or the whole store."""
    original = SimulatedDisk()
    with embedded.open("store", files=original, **SETTINGS) as db:
        for seed in range(5):
            write(seed)(db)
        expected, ids = content(db), db.reserve_ids(5)
        db.backup("backup")

    taken, at, is_done = set(ids), 0, False
    while not is_done:
        at += 1
        disk = copy.deepcopy(original)
        disk.crash_at = at
        try:
            embedded.restore("backup", "again", files=disk)
            is_done = True
        except SimulatedCrash:
            pass
        for keep in KEEPS:
            struck = copy.deepcopy(disk)
            struck.power_loss(seed=at, keep=keep)
            tally("crashes of backup and restore", 1)
            names = struck.directory("again").names() if struck.directory("again") else []
            is_there = any(n.startswith("manifest") and not n.endswith(".new") for n in names)
            assert is_there or not is_done
            if not is_there:
                embedded.restore("backup", "again", files=struck)
            with embedded.open("again", files=struck, flush_every_ms=None) as db:
                assert content(db) == expected
                assert taken.isdisjoint(db.reserve_ids(5))
                assert db.reserve_ids(1)[0] > 1 << 32
    assert at > 15
