"""Crash the log and the leaf store in every system call, and their recovery too."""

import copy

import pytest

from conduitstore.engine.blocks import LeafStore, Log
from conduitstore.testing.crash import aftermaths
from conduitstore.testing.disk import SimulatedCrash, SimulatedDisk
from conduitstore.testing.report import tally


def crashes(work, check):
    """Run ``work`` and crash it at each call; give how many there were.

    It fills a list with what it was promised, which ``check`` goes by after each aftermath. After
    one of them, in turn, ``check`` itself is crashed at each call: the power goes, and what it was
    promised counts too.
    """
    total = 0
    while True:
        disk, promised = SimulatedDisk(), []
        disk.crash_at = total + 1
        try:
            work(disk, promised)
        except SimulatedCrash:
            total += 1
        else:
            return total
        for number, aftermath in enumerate(aftermaths((1, 2))):
            after = copy.deepcopy(disk)
            aftermath.strike(after)
            tally("crashes of the building blocks", 1)
            try:
                if number == total % 12:
                    check_crashing(after, promised, check, is_power_loss=aftermath.is_power_loss)
                else:
                    check(after, [*promised], is_power_loss=aftermath.is_power_loss)
            except Exception as error:
                raise AssertionError(f"call {total}, {aftermath.name}") from error


def check_crashing(disk, promised, check, *, is_power_loss):
    at = 0
    while True:
        at += 1
        again, promised_now = copy.deepcopy(disk), [*promised]
        again.crash_at = at
        try:
            check(again, promised_now, is_power_loss)
        except SimulatedCrash:
            again.power_loss(at)
            tally("crashes of the building blocks", 1)
            check(again, promised_now, is_power_loss=True)
        else:
            return


def record(number):
    return b"%d" % number * (number * 97 % 300)


def write_records(disk, promised):
    """``promised`` is the newest sequence acknowledged, the newest durable, and the forgotten."""
    promised[:] = 0, 0, 0
    for _ in range(2):
        with Log("log", files=disk) as log:
            for number in range(log.sequence + 1, log.sequence + 9):
                promised[0] = max(promised[0], log.append(record(number)))
                if number % 3 == 0:
                    promised[1] = log.sync()
                if number % 4 == 0:
                    log.rotate()
                if number % 5 == 0:
                    promised[2] = number - 5
                    log.forget(number - 5)
        promised[1] = promised[0]


def check_records(disk, promised, is_power_loss):
    acknowledged, durable, forgotten = promised or (0, 0, 0)
    with Log("log", files=disk) as log:
        newest = log.durable_sequence
        assert (durable if is_power_loss else acknowledged) <= newest <= acknowledged + 1
        promised[:] = newest, newest, forgotten
        found = list(log.records())
        assert found == [(n, record(n)) for n in range(newest - len(found) + 1, newest + 1)]
        assert not found or found[0][0] <= forgotten + 1
        promised[0] = log.append(record(newest + 1))
        promised[1] = log.sync()
        assert promised[:2] == [newest + 1] * 2
        assert list(log.records(newest)) == [(newest + 1, record(newest + 1))]


RUNS = {
    turn: [(bytes([turn, number]), bytes([turn]) * (number * 40)) for number in range(turn * 3)]
    for turn in range(1, 4)
}


def open_leaves(disk):
    return LeafStore(
        "leaves",
        files=disk,
        leaf_entries_max=4,
        blob_bytes_min=200,
        segment_bytes_target=1_500,
        cache_capacity_bytes=0,
    )


def write_runs(disk, promised):
    """``promised`` is which turns the run may be of: the newest done, and the one begun."""
    promised[:] = 0, 0
    for turns in ((1, 2), (3,)):
        with open_leaves(disk) as store:
            for turn in turns:
                promised[1] = turn
                store.write("run", RUNS[turn])
                store.write(f"other {turn % 2}", RUNS[turn])
                promised[0] = turn
            promised[1] = 0
            store.drop("other 1")


def check_runs(disk, promised, is_power_loss):
    done, begun = promised or (0, 0)
    with open_leaves(disk) as store:
        run = store.run("run")
        found = list(run) if run is not None else None
        assert found in ([RUNS.get(done), RUNS.get(begun)] if begun else [RUNS.get(done)])
        promised[:] = next((turn for turn in RUNS if RUNS[turn] == found), 0), 0
        for name in store.names():
            list(store.run(name))
        store.write("after", RUNS[3])
    with open_leaves(disk) as store:
        assert list(store.run("after")) == RUNS[3]
        assert (list(store.run("run")) if run is not None else None) == found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "check", "least"),
    [(write_records, check_records, 40), (write_runs, check_runs, 40)],
    ids=["log", "leaf store"],
)
def test_every_call_and_every_call_of_the_recovery_too(work, check, least):
    assert crashes(work, check) > least
