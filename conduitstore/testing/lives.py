"""One store that crashes again and again, each time going on with what was recovered.

Where :mod:`.crash` crashes a short life in every call, this crashes a long one in random calls:
numbers have to stay above all that were handed out in any life, subscribers go on from life to
life, and what one recovery has left is what the next one has to deal with. By chance the directory
is one where files can be mapped, or is not, from life to life.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from conduitstore.engine import embedded

from .crash import aftermaths, quiet, small_reserves
from .disk import SimulatedCrash, SimulatedDisk
from .oracle import Listeners, Oracle, Step
from .promises import History, Report, check_found, check_listeners, open_on, run_step
from .steps import Close, workload

CALLS_MAX = 160
STEPS_MAX = 25


def live_on(seed: int, settings: dict[str, Any], *, lives: int, small: bool = False) -> int:
    """Live so many lives, each with steps, a crash and an aftermath of chance.

    Returns:
        How many of them crashed; the others ended by themselves.

    Raises:
        AssertionError: a promise was broken; a note holds the call that shows it again.
    """
    store = _Store(seed, {"flush_every_ms": None, **settings})
    with quiet(), small_reserves() if small else nullcontext():
        for number in range(lives):
            try:
                store.live()
            except Exception as error:
                call = f"live_on({seed}, {settings!r}, lives={number + 1}, small={small})"
                error.add_note(f"from {__name__} import live_on\n{call}")
                raise
    return store.crashes_total


class _Store:
    def __init__(self, seed: int, settings: dict[str, Any]) -> None:
        self.crashes_total = 0
        self._report = Report()
        self._chance = random.Random(seed)  # noqa: S311 - reproducible by design
        self._settings = settings
        self._disk = SimulatedDisk()
        oracle = Oracle(settings.get("durability", "interval"))
        self._history = History(oracle.states, oracle=oracle)
        self._history.may_lag = "log_keep_bytes" in settings

    def live(self) -> None:
        """Open, take what was recovered for the truth, and go on until the next crash."""
        chance, disk = self._chance, self._disk
        disk.crash_at, disk.can_map = chance.randint(1, CALLS_MAX), chance.random() < 0.5
        db: embedded.Store | None = None
        try:
            db = open_on(disk, self._settings)
            self._accept(db)
            self._take_steps(db, workload(chance.getrandbits(32), chance.randint(1, STEPS_MAX)))
        except SimulatedCrash:
            self._crash(chance)
        finally:
            if db is not None:
                db.abandon()

    def _crash(self, chance: random.Random) -> None:
        self.crashes_total += 1
        aftermath = chance.choice(aftermaths((chance.getrandbits(16),)))
        aftermath.strike(self._disk)
        if aftermath.is_power_loss:
            owed = self._history.durable
            self._history = replace(self._history, acknowledged=owed, may_lag=True)

    def _accept(self, db: embedded.Store) -> None:
        """Check what was found; from now on it is what the store holds."""
        history = self._history
        check_found(db, history)
        check_listeners(db, history, self._settings, self._report)
        drawn = max(db.positions()[0], db.current_count())
        assert drawn >= history.newest_count, "a count may come twice"
        history.oracle.rewind(db.sequence, drawn)
        history.acknowledged = history.durable = history.logged = db.sequence
        history.listeners = Listeners()
        history.listeners.follow(db)

    def _take_steps(self, db: embedded.Store, steps: Sequence[Step]) -> None:
        history = self._history
        for step in steps:
            if not isinstance(step, Close):  # That is how a life ends.
                (owes,) = history.oracle.run([step])
                run_step(step, db, history, owes)
        db.close()
        history.acknowledged = history.durable = db.sequence
        self._disk.kill()
