"""Fail every call of a workload; see ``conduitstore.testing.faults``."""

import errno
import random

import pytest
from effort import EFFORT, LENGTH

from conduitstore.testing.faults import NEEDS_SPACE, explore_errors
from conduitstore.testing.report import tally
from conduitstore.testing.steps import Checkpoint, Commit, Compact, Drop, Flush, TakeIds

SETTINGS = {
    "leaf_entries_max": 3,
    "checkpoint_log_bytes": 400,
    "idgen_persist_interval": 4,
    "cache_capacity_bytes": 0,  # Every leaf that is clean is read again.
}
CODES = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
EVERYWHERE = (*NEEDS_SPACE, "sync", "sync directory", "rename", "unlink", "truncate")


def steps(seed, total):
    """Single commits over two trees, and what makes checkpoints, syncs and ceilings happen."""
    chance = random.Random(seed)

    def write():
        key = bytes([chance.choice(b"abcdef"), chance.choice(b"xyz")])
        size = chance.choice((None, 0, 5, 60))
        value = None if size is None else chance.randbytes(size)
        return chance.choice(("one", "two")), key, value

    def commit():
        writes = tuple(write() for _ in range(chance.choice((1, 1, 4))))
        return Commit(writes, chance.choice((None, "interval", "commit")), chance.choice((0, 1)))

    rare = {5: TakeIds(3), 8: Checkpoint(), 11: Flush(), 6: Drop("two"), 12: Compact()}
    return [rare.get(number % 13) or commit() for number in range(total)]


def explored(seed, code, suite="errors in every call", **how):
    report = explore_errors(steps(seed, LENGTH + 8), SETTINGS, code, small=True, **how)
    tally(suite, report.faults_total)
    return report


@pytest.mark.parametrize("can_map", [True, False], ids=["mapped", "written"])
@pytest.mark.parametrize("lasts", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize("seed", range(EFFORT))
def test_every_call_fails(seed, code, lasts, can_map):
    report = explored(seed * 100 + code, code, lasts=lasts, can_map=can_map)
    assert report.calls_total > 30
    assert report.outcomes["latched" if code == errno.EIO else "store full"] > 10


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_no_space_where_one_would_not_look_for_it(code):
    """A sync that finds none has failed like any other; so has a rename."""
    report = explored(code, code, lasts=False, only=EVERYWHERE)
    assert report.outcomes["latched"] > 5


@pytest.mark.parametrize("failed_sync", ["clean", "half", "dropped"])
def test_a_failed_sync_loses_what_it_should_have_written(failed_sync):
    """Whether reads still see that or not: nothing may count on it."""
    report = explored(7, errno.EIO, lasts=False, only=("sync",), failed_sync=failed_sync)
    assert report.outcomes.get("latched", 0) > 5


@pytest.mark.parametrize("lasts", [False, True], ids=["goes on", "then full"])
def test_every_write_is_short(lasts):
    report = explored(8, errno.ENOSPC, "short writes", lasts=lasts, kind="short")
    assert report.calls_total > 20
    assert report.outcomes.get("store full" if lasts else "unnoticed", 0) > 10


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "lasting"])
def test_every_read_fails(lasts):
    report = explored(9, errno.EIO, "reads that fail", lasts=lasts, kind="read")
    assert report.calls_total > 20
