"""Fail a workload's nth call of the operating system, for every n, and look at what is left.

Where :mod:`.crash` ends the process, this lets it live with the error. Each step is one commit, not
of durability ``none``, or no commit. After a failed call there are three lawful outcomes:

- The step raised ``StoreFullError``: nothing of it happened, the store goes on, and once there is
  space again everything works.
- The step raised ``PoisonedError`` or ``OSError``: the store is latched. It takes no writes; what
  it still gives to readers is the state before or after the step. Opened again it has one of the
  two, and the later one if the step had been acknowledged.
- The step succeeded: then it is there, also after opening again.

A read that fails raises ``OSError``, to its caller alone unless it was in a commit or a checkpoint.

Where it ended, the process is killed, or its clean pages are evicted first, or the power goes: then
everything is there that was durable before, and a gap-free prefix of the rest.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from conduitstore.engine import embedded
from conduitstore.errors import ConduitStoreError, PoisonedError, StoreFullError
from conduitstore.kv import Database

from .crash import Content, content, quiet, small_reserves
from .disk import KEEPS, SimulatedDisk
from .oracle import Oracle, Step
from .promises import open_on
from .shrink import script, shrunk

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NEEDS_SPACE = ("append", "create", "mkdir")
Kind = Literal["error", "short", "read"]
"""An error of a call, a write of half the bytes, or an error of a call that only reads."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Args:
        at: in which call that it can happen to, from 1 on.
        code: of the ``OSError``.
        kind: of the call.
        lasts: whether every later call fails as well, until the disk is healed.
        only: names of operations that may fail; None: all that the code is plausible for.
        failed_sync: what a failed sync does, see :mod:`.disk`.
        can_map: whether files can be mapped: what is written through memory cannot fail.
    """

    at: int
    code: int = errno.EIO
    kind: Kind = "error"
    lasts: bool = False
    only: tuple[str, ...] | None = None
    failed_sync: Literal["clean", "half", "dropped"] = "clean"
    can_map: bool = True

    def __str__(self) -> str:
        return f"{errno.errorcode[self.code]} in call {self.at}"


@dataclass
class Report:
    """How much was tried, and how it went."""

    calls_total: int = 0
    faults_total: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)

    def count(self, outcome: str) -> None:
        """One more of these."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


def explore_errors(
    steps: Sequence[Step],
    settings: dict[str, Any],
    code: int,
    *,
    lasts: bool,
    kind: Kind = "error",
    only: tuple[str, ...] | None = None,
    failed_sync: Literal["clean", "half", "dropped"] = "clean",
    can_map: bool = True,
    small: bool = False,
    shrink_seconds: float = 20,
) -> Report:
    """Have every call, in turn, fail with ``code``: once, or from then on until the disk is healed.

    For the arguments see :class:`Fault`, and :func:`.crash.explore`. By itself a lack of space
    strikes what needs space: name others in ``only``.

    Raises:
        AssertionError: something else happened than is lawful; its notes say at which call, and
            hold a script that replays it.
    """
    first = Fault(1, code, kind, lasts, only, failed_sync, can_map)

    def failing(fewer: Sequence[Step]) -> tuple[Fault, Exception] | None:
        report = Report()
        while True:
            fault = replace(first, at=report.calls_total + 1)
            try:
                if not _counted(report, fewer, settings, fault, small=small):
                    reports.append(report)
                    return None
            except Exception as error:  # noqa: BLE001 - raised by the explorer, explained
                return fault, error

    reports: list[Report] = []
    found = failing(steps)
    if found is None:
        return reports[0]
    fault, error = found
    error.add_note(str(fault))
    left, (fault, _) = shrunk(steps, found, failing, shrink_seconds)
    error.add_note(script("faults.replay", left, settings, fault=fault, small=small))
    raise error


def replay(
    steps: Sequence[Step], settings: dict[str, Any], *, fault: Fault, small: bool = False
) -> None:
    """Have one call fail as :func:`explore_errors` did, and check.

    Raises:
        AssertionError: what was found is still so.
        ValueError: the workload has fewer calls.
    """
    if not _counted(Report(), steps, settings, fault, small=small):
        raise ValueError(f"there is no call {fault.at}")


def _counted(
    report: Report, steps: Sequence[Step], settings: dict[str, Any], fault: Fault, *, small: bool
) -> bool:
    """Whether the fault struck anything; what came of it goes into the report."""
    with quiet(), small_reserves() if small else nullcontext():
        run = _Run(fault, {"flush_every_ms": None, **settings})
        outcome = run.run(steps)
    if not run.failed:
        return False
    report.calls_total += 1
    report.faults_total += len(run.failed)
    report.count(outcome)
    return True


class _Run:
    """One life with one fault."""

    def __init__(self, fault: Fault, settings: dict[str, Any]) -> None:
        self.fault = fault
        self.settings = settings
        self.failed: list[str] = []
        self.disk = disk = SimulatedDisk(can_map=fault.can_map)
        self.oracle = Oracle(settings.get("durability", "interval"))
        self._left = fault.at
        self._durable = self._newest_count = 0
        disk.failed_sync = fault.failed_sync
        if fault.kind == "read":
            disk.fail_reads = self._strike
        elif fault.kind == "short":
            disk.before = self._shorten
        else:
            disk.fail = self._strike

    # The fault ----------------------------------------------------------------------------------
    def _is_struck(self, operation: str, name: str) -> bool:
        only = self.fault.only
        if only is None and self.fault.code in FULL and self.fault.kind == "error":
            only = NEEDS_SPACE
        if operation == "put" or (only is not None and operation not in only):
            return False
        self._left -= 1
        if self._left > 0 or (self._left < 0 and not self.fault.lasts):
            return False
        self.failed.append(f"{operation} {name}")
        return True

    def _strike(self, operation: str, name: str) -> OSError | None:
        struck = self._is_struck(operation, name)
        return OSError(self.fault.code, "injected") if struck else None

    def _shorten(self, operation: str, name: str) -> None:
        """One write takes half of its bytes; what follows it finds no space, or goes on."""
        if operation not in ("append", "write"):
            return
        was_short, self.disk.append_bytes_max = self.disk.append_bytes_max, None
        if was_short is not None and self.fault.code in FULL and self.fault.lasts:
            self.disk.fail = self._full_once
        elif self._is_struck(operation, name):
            self.disk.append_bytes_max = 7

    def _full_once(self, operation: str, name: str) -> OSError | None:
        self.disk.fail = lambda _operation, _name: None
        self.failed.append(f"{operation} {name}")
        return OSError(self.fault.code, "injected")

    def heal(self) -> None:
        """From here on nothing fails."""
        disk = self.disk
        disk.fail = disk.fail_reads = lambda _operation, _name: None
        disk.before, disk.append_bytes_max = (lambda _operation, _name: None), None

    # The life -----------------------------------------------------------------------------------
    def run(self, steps: Sequence[Step]) -> str:
        """Live through the steps; gives how it ended."""
        try:
            db = open_on(self.disk, self.settings)
        except (ConduitStoreError, OSError):
            self._ended([content(self.oracle)])
            return "open failed"
        try:
            return self._live(db, steps)
        finally:
            db.abandon()

    def _live(self, db: embedded.Store, steps: Sequence[Step]) -> str:
        outcome = "unnoticed"
        for step in steps:
            before = content(self.oracle)
            try:
                step(db)
            except StoreFullError:
                assert self._read(db) == before, "a commit that found no space left something"
                outcome = "store full"
                continue
            except (PoisonedError, OSError):
                self._durable = max(self._durable, db.durable_sequence)
                self._newest_count = max(self._newest_count, db.positions()[0])
                self.oracle.run([step])
                if not db.is_latched:  # A read failed, and that was all.
                    assert self.fault.kind == "read", "it failed, and the store goes on"
                    assert self._read(db) == before, "a step that failed left something"
                    return self._ended([before], "raised")
                self._check_latched(db, [before, content(self.oracle)])
                return self._ended([before, content(self.oracle)], "latched")
            self._newest_count = max(self._newest_count, db.positions()[0])
            (owed,) = self.oracle.run([step])
            self._durable = max(self._durable, owed.power_loss, db.durable_sequence)
            assert self._read(db) == content(self.oracle), "a step that succeeded is not there"
        self.heal()
        with suppress(PoisonedError):  # A sync nobody waited for may have failed.
            _one_more(db)
            self.oracle.run([_one_more])
        # Without a close, which would write anew what was appended behind the fault.
        self._killed(SimulatedDisk.kill, [content(self.oracle)])
        with suppress(PoisonedError):  # As before.
            db.close()
            self._durable = self.oracle.sequence
        return self._ended([content(self.oracle)], outcome)

    def _read(self, db: Database) -> Content:
        """What the store holds, by a disk that reads."""
        fail, self.disk.fail_reads = self.disk.fail_reads, lambda _operation, _name: None
        try:
            return content(db)
        finally:
            self.disk.fail_reads = fail

    def _check_latched(self, db: Database, lawful: list[Content]) -> None:
        for write in (lambda: db.insert(b"k", b"v"), db.flush):
            try:
                write()
            except PoisonedError:
                continue
            raise AssertionError("a latched store took a write")
        with suppress(PoisonedError):
            assert self._read(db) in lawful

    # What comes of it ---------------------------------------------------------------------------
    def _ended(self, lawful: list[Content], outcome: str = "") -> str:
        self.heal()
        for end in (SimulatedDisk.kill, _evict_and_kill):
            self._killed(end, lawful)
        for seed, keep in enumerate(KEEPS):
            disk = copy.deepcopy(self.disk)
            disk.power_loss(seed, keep)
            self._reopened(disk, None)
        return outcome

    def _killed(self, end: Callable[[SimulatedDisk], None], lawful: list[Content]) -> None:
        disk = copy.deepcopy(self.disk)
        end(disk)
        # What a failed sync has lost is seen as long as its pages are in the cache.
        is_whole = end is SimulatedDisk.kill and self.fault.failed_sync != "dropped"
        self._reopened(disk, lawful if is_whole else None)

    def _reopened(self, disk: SimulatedDisk, lawful: list[Content] | None) -> None:
        db = open_on(disk, self.settings)
        found = content(db)
        if lawful is not None:
            assert found in lawful, "opened again it has something else"
        else:
            assert db.sequence >= self._durable, f"commit {self._durable} was durable, and is lost"
            assert found == self.oracle.states.get(db.sequence), "no prefix of history"
        drawn = db.transaction(lambda tx: tx.next_count())
        assert drawn > self._newest_count, f"count {drawn} was handed out before"
        db.insert(b"after", b"the fault")
        kept = content(db)
        db.close()
        db = open_on(disk, self.settings)
        assert content(db) == kept
        db.close()


def _one_more(db: Database) -> None:
    """Once nothing fails any more, everything works."""
    db.insert(b"one more", b"behind the fault")


def _evict_and_kill(disk: SimulatedDisk) -> None:
    disk.evict()
    disk.kill()
