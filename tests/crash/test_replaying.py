"""A failure prints a script, shorter than the workload, that fails again while the bug is there."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from effort import SMALL
from mutants import calls_of, left_out

from conduitstore.testing import crash, faults, interruptions, steps
from conduitstore.testing.crash import explore
from conduitstore.testing.faults import explore_errors
from conduitstore.testing.interruptions import Interruption, explore_interrupts
from conduitstore.testing.steps import Commit, workload

pytestmark = pytest.mark.interpreted("it leaves out lines of modules")
PLANTED = """\
import sys
sys.path.insert(0, {folder!r})
from mutants import left_out
bug = left_out(*{site!r})
bug.__enter__()
"""


def site_of(function, call):
    (site,) = (one for one in calls_of("engine/embedded", names=(call,)) if one[1] == function)
    return site


NO_SYNC = site_of("Manifest.append", "sync")
NO_LOG_SYNC = site_of("LogFile.sync", "sync")
NO_LATCH = site_of("Database.commit_prepared", "latch")


def script_of(error):
    return next(note for note in error.__notes__ if note.startswith("Replay it")).split("\n", 1)[1]


def ends(script, *, site=None):
    """How a script goes in a process of its own, with a bug planted or without."""
    planted = PLANTED.format(folder=str(Path(__file__).parent), site=site) if site else ""
    return subprocess.run(
        [sys.executable, "-c", planted + script], capture_output=True, text=True, check=False
    )


def assert_it_replays(script, site):
    failed = ends(script, site=site)
    assert failed.returncode == 1
    assert "AssertionError" in failed.stderr or "Error: " in failed.stderr
    fixed = ends(script)
    assert fixed.returncode == 0, fixed.stderr


def test_a_crash_is_replayed():
    with left_out(*NO_SYNC), pytest.raises(Exception) as caught:
        explore(workload(1, 30), SMALL, small=True, shrink_seconds=500)
    script = script_of(caught.value)
    assert any(note.startswith("crashed at call ") for note in caught.value.__notes__)
    assert script.count("Commit(") + script.count("()") < 12
    assert_it_replays(script, NO_SYNC)


def test_a_crash_of_a_recovery_is_replayed():
    """By hand: every promise is kept, and a path of crashes that is too long is told."""
    lived = workload(2, 8)
    crash.replay(lived, SMALL, crashes=[(20, "kill"), (9, "some 3"), (4, "garbage")], small=True)
    with pytest.raises(ValueError, match="ends before crash 2"):
        crash.replay(lived, SMALL, crashes=[(20, "kill"), (900, "kill")], small=True)


def test_an_error_is_replayed():
    with left_out(*NO_LATCH), pytest.raises(Exception) as caught:
        explore_errors(
            [Commit((("t", bytes([n]), b"v" * 90),)) for n in range(9)],
            SMALL,
            errno.EIO,
            lasts=False,
            shrink_seconds=500,
        )
    script = script_of(caught.value)
    assert script.count("Commit(") < 7
    assert_it_replays(script, NO_LATCH)
    with pytest.raises(ValueError, match="no call 900"):
        faults.replay([], SMALL, fault=faults.Fault(900))


def test_an_interrupt_is_replayed():
    """A commit that is cut short does not latch the store."""
    lived = [step for step in workload(4, 20) if not isinstance(step, steps.Group)]
    last = Commit((("t", b"a", b"1"), ("u", b"b", b"2")), "commit")
    with left_out(*NO_LATCH), pytest.raises(AssertionError) as caught:
        explore_interrupts([*lived, last], SMALL, shrink_seconds=500)
    script = script_of(caught.value)
    assert any(note.startswith("KeyboardInterrupt at ") for note in caught.value.__notes__)
    assert script.count("Commit(") < 4
    assert repr(last) in script
    assert_it_replays(script, NO_LATCH)
    with pytest.raises(ValueError, match="no moment 90000"):
        interruptions.replay([last], SMALL, interruption=Interruption(90000))


def a_step_of_a_module(db):
    db.transaction(lambda tx: tx.insert(b"a", b"1"), durability="commit")


def test_steps_that_are_no_values_are_named():
    """What cannot be written as Python is told apart."""
    with left_out(*NO_LOG_SYNC), pytest.raises(Exception) as caught:
        explore(
            [a_step_of_a_module, lambda db: db.insert(b"b", b"2"), steps.Checkpoint()],
            SMALL,
            shrink_seconds=0,
        )
    script = script_of(caught.value)
    assert "import a_step_of_a_module" in script
    assert "# Here goes step 1 of yours: <function" in script


def test_every_step_is_written_as_it_is_made():
    for step in workload(5, 60):
        made = eval(repr(step), vars(steps).copy())
        assert made == step
