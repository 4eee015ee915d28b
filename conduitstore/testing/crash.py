"""Kill a workload at every system call and look at what the next open finds.

A workload is a list of steps, functions of a database. It runs on the memory engine, which
remembers what each sequence looked like, and on a store over a simulated disk. The disk crashes in
the nth system call, for every n that the workload makes. What follows is tried on a copy each: the
process alone dies; the machine loses power, and of what was not synced stays what one of the rules
of :mod:`.platter` leaves. Then the store is opened again, and:

- its content is that of one sequence of the history, whole: a gap-free prefix, no half commit;
- nothing is missing that was acknowledged: all of it when only the process died, everything that
  was committed with durability ``commit``, flushed or told to be durable when the power went;
- no count or id that was ever handed out can come again, and the count has not gone back;
- a subscriber who was told of durable commits goes on where it stopped and gets each event once;
- it takes new writes, closes, opens once more, and has kept them.

With ``depth`` 2 the first open after the crash is itself crashed at every call that it makes, with
3 the one after that as well. A failure says how to replay it: see :mod:`.shrink`.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from conduitstore.engine import embedded
from conduitstore.engine.embedded import counters, logfile, manifest

from .disk import KEEPS, SimulatedCrash, SimulatedDisk
from .oracle import Content, Oracle, Reopen, Step, content
from .promises import PATH, Check, History, Report, check, open_on, run_step
from .shrink import script, shrunk

__all__ = ["PATH", "Aftermath", "Content", "History", "Reopen", "Report", "Step"]
__all__ += ["aftermaths", "content", "explore", "quiet", "replay", "small_reserves"]

Crash = tuple[int, str]
"""In which call it crashed, and how that went on: the name of an :class:`Aftermath`."""


@dataclass(frozen=True)
class Aftermath:
    """How a crash goes on."""

    name: str
    strike: Callable[[SimulatedDisk], None]
    is_power_loss: bool


def aftermaths(seeds: Sequence[int]) -> list[Aftermath]:
    """The process dies; the power goes: every rule, and the one of chance by every seed."""
    rules = [keep for keep in KEEPS if keep != "some"]
    names = ["kill", *rules, *(f"some {seed}" for seed in seeds)]
    return [_aftermath_of(name) for name in names]


def _aftermath_of(name: str) -> Aftermath:
    """By its name; the seed of an aftermath of chance stands behind it."""
    if name == "kill":
        return Aftermath(name, SimulatedDisk.kill, is_power_loss=False)
    keep, _, seed = name.partition(" ")

    def strike(disk: SimulatedDisk) -> None:
        disk.power_loss(int(seed or 1), KEEPS[KEEPS.index(keep)])

    return Aftermath(name, strike, is_power_loss=True)


@contextmanager
def small_reserves() -> Iterator[None]:
    """Make reserves that no setting names so small that what is rare with them becomes common."""
    before = counters.COUNT_RESERVE, manifest.REWRITE_BYTES_MIN, logfile.ASIDE_BYTES_MIN
    counters.COUNT_RESERVE, manifest.REWRITE_BYTES_MIN, logfile.ASIDE_BYTES_MIN = 3, 600, 64
    try:
        yield
    finally:
        counters.COUNT_RESERVE, manifest.REWRITE_BYTES_MIN, logfile.ASIDE_BYTES_MIN = before


@contextmanager
def quiet() -> Iterator[None]:
    """Nobody wants to read of every torn end of a log."""
    logger = logging.getLogger("conduitstore")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def explore(
    steps: Sequence[Step],
    settings: dict[str, Any],
    *,
    seeds: Sequence[int] = (1, 2),
    depth: int = 1,
    every: int = 1,
    check: Check | None = None,
    small: bool = False,
    can_map: bool = True,
    shrink_seconds: float = 20,
) -> Report:
    """Crash ``steps`` in every call (or every ``every``-th) and check each aftermath.

    Args:
        steps: the workload.
        settings: of the store.
        seeds: for the aftermath of chance.
        depth: with 2 each recovery is crashed as well, with 3 the one after it too. Every
            aftermath of the first crash is followed, and a few of each later one, in turn.
        every: crash in every so manyth call; of recoveries too, where they are crashed.
        check: looks at what else the steps have made on the disk, before the store is opened.
        small: also make reserves small that no setting names, see :func:`small_reserves`.
        can_map: whether files can be mapped.
        shrink_seconds: how long a failing workload may be shrunk.

    Raises:
        AssertionError: a promise was broken; its notes say where, and hold a script that replays
            it. Any other error that the store raised is passed on with such notes, too.
    """
    explorer = _Explorer(settings, tuple(seeds), depth, every, check, small=small, can_map=can_map)
    try:
        return explorer.explore(steps)
    except _BrokenError as broken:
        error, crashes = broken.error, broken.crashes

    def crashes_of(fewer: Sequence[Step]) -> tuple[Crash, ...] | None:
        try:
            explorer.explore(fewer)
        except _BrokenError as broken:
            return broken.crashes
        return None

    error.add_note("crashed at " + ", then at ".join(f"call {at}: {how}" for at, how in crashes))
    left, crashes = shrunk(steps, crashes, crashes_of, shrink_seconds)
    error.add_note(
        script("crash.replay", left, settings, crashes=crashes, small=small, can_map=can_map)
    )
    raise error


def replay(
    steps: Sequence[Step],
    settings: dict[str, Any],
    *,
    crashes: Sequence[Crash],
    check: Check | None = None,
    small: bool = False,
    can_map: bool = True,
) -> None:
    """Crash once as :func:`explore` did, and check.

    Args:
        steps: as for :func:`explore`; ``settings``, ``check`` and ``small`` as well.
        settings: of the store.
        crashes: in which call of the workload and how it went on; then the same of each recovery.
        check: see above.
        small: see above.
        can_map: see above.

    Raises:
        AssertionError: what :func:`explore` has found is still so.
        ValueError: the workload, or a recovery, ends before it crashes.
    """
    explorer = _Explorer(settings, (), len(crashes), 1, check, small=small, can_map=can_map)
    try:
        explorer.replay(steps, crashes)
    except _BrokenError as broken:
        raise broken.error from None


class _BrokenError(Exception):
    def __init__(self, error: Exception, crashes: tuple[Crash, ...]) -> None:
        self.error = error
        self.crashes = crashes


@dataclass
class _Explorer:
    settings: dict[str, Any]
    seeds: tuple[int, ...]
    depth: int
    every: int
    check: Check | None
    small: bool = field(kw_only=True)
    can_map: bool = field(kw_only=True)
    report: Report = field(default_factory=Report)

    def __post_init__(self) -> None:
        self.settings = {"flush_every_ms": None, **self.settings}

    def explore(self, steps: Sequence[Step]) -> Report:
        self.report = Report()
        with quiet(), small_reserves() if self.small else nullcontext():
            while True:
                at = self.report.calls_total + 1
                disk = SimulatedDisk(can_map=self.can_map)
                history = self._live(disk, steps, at)
                if history is None:
                    return self.report
                self.report.calls_total += self.every
                for aftermath in aftermaths(self.seeds):
                    self._follow(disk, history, aftermath, self.depth, ((at, aftermath.name),))

    def replay(self, steps: Sequence[Step], crashes: Sequence[Crash]) -> None:
        disk = SimulatedDisk(can_map=self.can_map)
        with quiet(), small_reserves() if self.small else nullcontext():
            history = self._live(disk, steps, crashes[0][0])
            for number, (_, name) in enumerate(crashes):
                if history is None:
                    raise ValueError(f"it ends before crash {number + 1}")
                aftermath = _aftermath_of(name)
                disk, history = self._struck(disk, history, aftermath)
                if number + 1 < len(crashes):
                    disk.crash_at = crashes[number + 1][0]
                    if not self._crashes(disk):
                        history = None
            assert history is not None
            self._check(disk, history, tuple(crashes))

    # One life -----------------------------------------------------------------------------------
    def _live(self, disk: SimulatedDisk, steps: Sequence[Step], crash_at: int) -> History | None:
        """Run the workload until it crashes; None when it comes to its end before."""
        oracle = Oracle(self.settings.get("durability", "interval"))
        owed = oracle.run(steps)
        history = History(oracle.states, check=self.check, oracle=oracle)
        history.may_lag = "log_keep_bytes" in self.settings
        disk.crash_at, db = crash_at, None
        try:
            db = open_on(disk, self.settings)
            for step, owes in zip(steps, owed, strict=True):
                if owes.reopens:
                    db = self._reopened(disk, db, history)
                else:
                    run_step(step, db, history, owes)
            db.close()
        except SimulatedCrash:
            return history
        except Exception as error:  # Nothing has failed yet: the workload found a bug by itself.
            raise _BrokenError(error, ((crash_at, "kill"),)) from error
        finally:
            if db is not None:
                db.abandon()
        return None

    def _reopened(
        self, disk: SimulatedDisk, db: embedded.Store, history: History
    ) -> embedded.Store:
        sequence = db.sequence
        try:
            db.close()
        finally:
            history.note(db)
        assert db.durable_sequence == sequence, "closed, and not all of it is durable"
        history.acknowledged = history.durable = sequence
        db = open_on(disk, self.settings)
        history.listeners.restart(db)
        return db

    # What comes of it ---------------------------------------------------------------------------
    def _struck(
        self, crashed: SimulatedDisk, history: History, aftermath: Aftermath
    ) -> tuple[SimulatedDisk, History]:
        disk = copy.deepcopy(crashed)
        aftermath.strike(disk)
        if aftermath.is_power_loss:
            # What a power loss has taken may be missing from now on, also after a mere kill.
            history = replace(history, acknowledged=history.durable, may_lag=True)
        return disk, history

    def _follow(
        self,
        crashed: SimulatedDisk,
        history: History,
        aftermath: Aftermath,
        depth: int,
        crashes: tuple[Crash, ...],
    ) -> None:
        """Let the crash go on one way, check, and with more depth crash the recovery as well."""
        struck, history = self._struck(crashed, history, aftermath)
        self.report.crashes_total += 1
        every = aftermaths((len(crashes),))
        at = 0
        while depth > 1:
            at += self.every
            disk = copy.deepcopy(struck)
            disk.crash_at = at
            if not self._crashes(disk):
                break
            for turn in range(0, len(every), 4):
                following = every[(turn + at + crashes[0][0]) % len(every)]
                self._follow(disk, history, following, depth - 1, (*crashes, (at, following.name)))
        self._check(struck, history, crashes)

    def _crashes(self, disk: SimulatedDisk) -> bool:
        try:
            open_on(disk, self.settings)
        except SimulatedCrash:
            return True
        except Exception:  # noqa: BLE001 - opened once more, without a crash, it is told
            return False
        return False

    def _check(self, disk: SimulatedDisk, history: History, crashes: tuple[Crash, ...]) -> None:
        try:
            if history.check is not None:
                history.check(copy.deepcopy(disk), history)
            check(disk, history, self.settings, self.report)
        except Exception as error:
            raise _BrokenError(error, crashes) from error
