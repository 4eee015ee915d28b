"""Real signals, at whatever moments Python comes to see them: fewer on the compiled build."""

import gc
import signal
from contextlib import suppress

import pytest

from conduitstore.engine import embedded
from conduitstore.errors import PoisonedError
from conduitstore.testing.disk import SimulatedDisk

TURNS = 20
INSERTS_MAX = 100_000
SETTINGS = {"leaf_entries_max": 4, "flush_every_ms": None}


@pytest.fixture
def alarm():
    """Sets when an interrupt comes: not behind the test, nor in what a collector calls."""

    def interrupt(*_):
        raise KeyboardInterrupt

    gc.disable()
    before = signal.signal(signal.SIGVTALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)
    gc.enable()


def written_until_interrupted(db, alarm, seconds):
    """Insert one number after another; gives how many were acknowledged."""
    number = 0
    try:
        alarm(seconds)
        while number < INSERTS_MAX:
            db.insert(number.to_bytes(4), b"v" * 50)
            number += 1
    except KeyboardInterrupt:
        pass
    return number


@pytest.mark.parametrize("turn", range(TURNS))
def test_what_a_signal_interrupts_is_whole_or_not_there(alarm, turn):
    disk = SimulatedDisk()
    with suppress(PoisonedError), embedded.open("store", files=disk, **SETTINGS) as db:
        acknowledged = written_until_interrupted(db, alarm, (turn + 1) / 10_000)
        assert acknowledged < INSERTS_MAX
        db.insert(b"z", b"after")
        assert db.get(b"z") == b"after"
    with embedded.open("store", files=disk, **SETTINGS) as db:
        keys = [int.from_bytes(key) for key, _ in db if key != b"z"]
    assert keys == list(range(len(keys)))
    assert len(keys) in (acknowledged, acknowledged + 1)
