"""Leave out each sync of the engine, one at a time: the crash suite notices every one.

What it does not notice would be a sync that is not needed, or a promise that is not watched.
"""

import logging
import os
from pathlib import Path

import pytest
import test_backup
import test_blocks
import test_crashes
import test_import
import test_repair
from effort import EFFORT, SMALL
from mutants import InCirclesError, calls_of, left_out, limited

from conduitstore.engine import embedded
from conduitstore.engine.embedded import files
from conduitstore.testing.crash import explore
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.testing.report import tally
from conduitstore.testing.steps import Checkpoint, Close, Commit, Flush, Group, TakeIds, workload

pytestmark = pytest.mark.interpreted("it leaves out lines of modules")
in_crash_runs = pytest.mark.skipif(EFFORT == 1, reason="minutes: a part of make crash")
NAMES = ("sync", "sync_files", "_sync", "_sync_directory", "fsync")
ENGINE = calls_of("engine/embedded", names=NAMES)
DOOR = [site for site in ENGINE if site[0].endswith(".files")]
SITES = [site for site in ENGINE if site not in DOOR] + calls_of("engine/blocks", names=NAMES)


def one(number, durability=None):
    return Commit((("t", bytes([number]), b"value" * 9),), durability, draws=1)


def small_life():
    steps = [one(1, "commit"), Group((one(2), one(3))), TakeIds(9), Flush(), Checkpoint(), one(4)]
    explore([*steps, Close(), one(5, "commit")], SMALL, small=True, shrink_seconds=0)


def long_life():
    for seed in (0, 3):
        explore(workload(seed, 16), SMALL, small=True, shrink_seconds=0)


def lossy_recoveries():
    test_crashes.test_what_has_no_second_name_is_kept_all_the_same("log")
    for kind in ("log", "manifest", "several"):
        test_crashes.test_every_call_of_a_recovery(kind)


def the_log_alone():
    test_blocks.crashes(test_blocks.write_records, test_blocks.check_records)


def a_repair():
    test_repair.test_every_call_of_a_repair(test_repair.repair, -9, is_closed=True)


PROBES = {
    small_life: ("counters", "database", "wal"),
    a_repair: ("repair",),
    test_backup.test_every_call_of_a_restore: ("backup",),
    test_backup.test_every_call_of_backups_that_repeat: ("backup",),
    the_log_alone: ("log",),
    lossy_recoveries: ("loss",),
    long_life: (),
    test_import.test_every_call_of_an_import: (),
}


def probes_for(module):
    """Those first that are made for it."""
    name = module.rpartition(".")[2]
    return sorted(PROBES, key=lambda probe: name not in PROBES[probe])


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL)


@in_crash_runs
@pytest.mark.parametrize(
    ("module", "function", "line"), SITES, ids=lambda part: str(part).rpartition(".")[2]
)
def test_leaving_out_a_sync_is_noticed(module, function, line):
    with left_out(module, function, line):
        noticed = next(filter(fails, probes_for(module)), None)
    tally("syncs left out", 1)
    assert noticed is not None, "nobody notices: is it needed?"


def fails(probe):
    try:
        with limited(8 if probe is small_life else 100):
            probe()
    except InCirclesError:
        assert probe is small_life, "only a commit may wait for ever"
        return True
    except Exception:  # noqa: BLE001 - however it is told
        return True
    return False


@in_crash_runs
@pytest.mark.parametrize("probe", PROBES)
def test_with_every_sync_there_is_nothing_to_notice(probe):
    assert not fails(probe)


# The door itself ----------------------------------------------------------------------------------


def live(filesystem, path):
    db = embedded.open(path, files=filesystem, flush_every_ms=None, **SMALL)
    for step in (one(1, "commit"), one(2), Checkpoint(), one(3, "commit"), TakeIds(9)):
        step(db)
    db.close()


def on_a_simulated_disk():
    disk, seen = SimulatedDisk(), ["directory"]  # The parent's, which the real one makes durable.

    def note(operation, name):
        if operation.startswith("sync"):
            seen.append("directory" if operation == "sync directory" else name)

    disk.before = note
    live(disk, "store")
    return [name.removesuffix(".new") for name in seen]


def on_a_real_disk(tmp_path, monkeypatch):
    seen = []

    def noting(sync):
        def call(fd):
            path = Path(f"/proc/self/fd/{fd}").readlink()
            seen.append("directory" if path.is_dir() else path.name)
            sync(fd)

        return call

    monkeypatch.setattr(files, "_sync", noting(files._sync))
    monkeypatch.setattr(os, "fsync", noting(os.fsync))
    live(files.Os(), str(tmp_path / "store"))
    return [name.removesuffix(".new") for name in seen]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="says what a descriptor is")
def test_the_real_door_syncs_whatever_the_simulated_one_is_asked_to(tmp_path, monkeypatch):
    simulated, real = on_a_simulated_disk(), on_a_real_disk(tmp_path, monkeypatch)
    assert real == simulated
    assert len(real) > 12


@pytest.mark.parametrize(("module", "function", "line"), DOOR, ids=str)
def test_leaving_out_a_sync_of_the_door_is_noticed(module, function, line, tmp_path, monkeypatch):
    simulated = on_a_simulated_disk()
    with left_out(module, function, line):
        assert on_a_real_disk(tmp_path, monkeypatch) != simulated
    tally("syncs left out", 1)
