"""Crash workloads in every system call; see ``conduitstore.testing.crash``."""

from collections import Counter

import pytest
from effort import EFFORT, LENGTH, SMALL, VARIANTS

from conduitstore.testing.crash import explore, small_reserves
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.testing.oracle import Oracle
from conduitstore.testing.promises import open_on
from conduitstore.testing.report import tally
from conduitstore.testing.steps import Checkpoint, Close, Commit, Compact, Group, workload


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("seed", range(EFFORT))
def test_every_call_of_a_workload(seed, variant):
    number = seed * len(VARIANTS) + [*VARIANTS].index(variant)
    settings = SMALL | VARIANTS[variant]
    report = explore(workload(number, LENGTH), settings, seeds=(number,), small=True)
    tally("crashes in every call", report.crashes_total)
    assert report.crashes_total == report.calls_total * 10
    assert report.calls_total > 4 * LENGTH
    assert report.resumed_total > report.calls_total


@pytest.mark.parametrize("variant", ["plain", "commit"])
@pytest.mark.parametrize("seed", range(EFFORT))
def test_every_call_where_files_cannot_be_mapped(seed, variant):
    settings = SMALL | VARIANTS[variant]
    report = explore(
        workload(300 + seed, LENGTH), settings, seeds=(seed,), small=True, can_map=False
    )
    tally("crashes in every call", report.crashes_total)
    assert report.crashes_total == report.calls_total * 10
    assert report.calls_total > 4 * LENGTH


@pytest.mark.parametrize("seed", range(EFFORT))
def test_every_call_of_the_recovery_too(seed):
    every = 3 if EFFORT == 1 else 1
    report = explore(workload(100 + seed, 4), SMALL, seeds=(1,), depth=2, every=every, small=True)
    tally("... and of the recovery", report.crashes_total)
    assert report.crashes_total > 40 * report.calls_total / every


@pytest.mark.parametrize("seed", range(EFFORT))
def test_recoveries_three_deep(seed):
    """A sample of the calls: every fifth to seventh, of the workload and of both recoveries."""
    every = 5 + seed % 3
    report = explore(
        workload(200 + seed, 5), SMALL, seeds=(seed,), depth=3, every=every, small=True
    )
    tally("... and three deep", report.crashes_total)
    assert report.crashes_total > 40 * report.calls_total / every


def test_workloads_do_everything():
    """What a crash cannot reach it does not test."""
    steps = [step for seed in range(8) for step in workload(seed, 40)]
    kinds = {type(step).__name__ for step in steps}
    assert kinds == {
        *("Commit", "Group", "RolledBack", "Drop", "Clear", "TakeIds", "Flush"),
        *("Checkpoint", "FullCheckpoint", "Compact", "Backup", "Close"),
    }


def test_workloads_make_every_kind_of_call():
    """Manifests are begun anew, segments rewritten, backups gone on with, what is old goes."""
    done = Counter()
    for seed in range(4):
        disk, steps = SimulatedDisk(), workload(seed, 40)
        disk.before = lambda operation, name: done.update([(operation, name.partition("-")[0])])
        Oracle().run(steps)
        with small_reserves():
            db = open_on(disk, SMALL | {"flush_every_ms": None})
            done["open"] += 1
            for step in steps:
                if isinstance(step, Close):
                    db.close()
                    db = open_on(disk, SMALL | {"flush_every_ms": None})
                    done["open"] += 1
                else:
                    step(db)
            db.close()
    assert (
        done["rename", "segment"] > done["mkdir", "backup"] > 0
    )  # A backup copies under another name.
    assert done["rename", "manifest"] > 2 * done["open"]
    for kind in ("segment", "log", "manifest"):
        assert done["unlink", kind] > 10
        assert done["append", kind] > 10


def test_a_group_shares_one_sync():
    """The leader's sync does not hold what came during it; the next one holds all of that."""
    writes = [Commit((("t", bytes([n]), b"v"),)) for n in range(4)]
    alone = explore([*writes[:3], Group((writes[3],))], SMALL)
    group = explore([Group(tuple(writes))], SMALL)
    # Two writes and two syncs of the log for four commits, in place of four writes and one sync.
    assert group.calls_total == alone.calls_total - 1


def test_segments_are_rewritten_and_manifests_replaced():
    """All in one: sparse segments, a new manifest, and the files that go."""
    big = [
        Commit(tuple(("t", bytes([n]), bytes([turn]) * 50) for n in range(9))) for turn in (1, 2)
    ]
    few = [Commit((("t", bytes([n]), b"x" * 50),)) for n in range(0, 9, 4)]
    steps = [big[0], Checkpoint(), *few, Checkpoint(), big[1], Compact(), Close(), few[0]]
    report = explore([*steps, Compact()], SMALL | {"checkpoint_log_bytes": 1 << 20}, small=True)
    tally("crashes in every call", report.crashes_total)
    assert report.calls_total > 100
