"""Fail a workload's nth call of the operating system, for every n, and look at what is left.

Where :mod:`.crash` ends the process, this lets it live with the error. Each step is one commit, not
of durability ``none``, or no commit. After a failed call there are three lawful outcomes:

- The step raised ``StoreFullError``: nothing of it happened, the store goes on, and once there is
  space again everything works.
- The step raised ``PoisonedError`` or ``OSError``: the store is latched. It takes no writes; what
  it still gives to readers is the state before or after the step. Opened again it has one of the
  two, and the later one if the step had been acknowledged.
- The step succeeded: then it is there, also after opening again.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from conduitstore.engine import embedded
from conduitstore.engine.memory import MemoryDatabase
from conduitstore.errors import ConduitStoreError, PoisonedError, StoreFullError
from conduitstore.kv import Database

from .crash import PATH, Content, content
from .disk import SimulatedDisk

Step = Callable[[Database], object]
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Report:
    """How much was tried, and how it went."""

    calls_total: int = 0
    faults_total: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


def explore_errors(
    steps: Sequence[Step], settings: dict[str, Any], code: int, *, lasts: bool
) -> Report:
    """Have every call, in turn, fail with ``code``: once, or from then on until the disk is healed.

    Raises:
        AssertionError: something else happened than is lawful; says at which call.
    """
    report = Report()
    settings = {"flush_every_ms": None, **settings}
    while True:
        at = report.calls_total + 1
        disk = SimulatedDisk()
        fault = _Fault(disk, at, code, lasts=lasts)
        disk.fail = fault
        try:
            outcome = _run(disk, fault, steps, settings)
        except Exception as error:
            error.add_note(f"{errno.errorcode[code]} in call {at}: {fault.failed}")
            raise
        if not fault.failed:
            return report
        report.calls_total += 1
        report.faults_total += len(fault.failed)
        report.count(outcome)


class _Fault:
    """Fails the nth call, and those behind it if it lasts."""

    def __init__(self, disk: SimulatedDisk, at: int, code: int, *, lasts: bool) -> None:
        self._disk = disk
        self._at = at
        self._code = code
        self._lasts = lasts
        self.failed: list[str] = []

    def __call__(self, operation: str, name: str) -> OSError | None:
        # A full disk fails what needs space; everything else can only break.
        needs_space = operation in ("append", "create", "mkdir")
        if self._code in FULL and not needs_space:
            return None
        self._at -= 1
        if self._at > 0 or (self._at < 0 and not self._lasts):
            return None
        self.failed.append(f"{operation} {name}")
        return OSError(self._code, "injected")

    def heal(self) -> None:
        self._disk.fail = lambda _operation, _name: None


def _run(
    disk: SimulatedDisk, fault: _Fault, steps: Sequence[Step], settings: dict[str, Any]
) -> str:
    oracle = MemoryDatabase()
    try:
        db = embedded.open(PATH, files=disk, **settings)
    except (ConduitStoreError, OSError):
        fault.heal()
        disk.kill()
        _reopened(disk, settings, [content(oracle)])
        return "open failed"
    outcome = "unnoticed"
    for step in steps:
        before = content(oracle)
        try:
            step(db)
        except StoreFullError:
            assert content(db) == before, "a commit that found no space left something"
            outcome = "store full"
            continue
        except (PoisonedError, OSError):
            step(oracle)
            _check_latched(db, [before, content(oracle)])
            fault.heal()
            with suppress(ConduitStoreError, OSError):
                db.close()
            _reopened(disk, settings, [before, content(oracle)])
            return "latched"
        step(oracle)
        assert content(db) == content(oracle), "a step that succeeded is not there"
    fault.heal()
    with suppress(PoisonedError):  # A sync nobody waited for may have failed.
        db.close()
    _reopened(disk, settings, [content(oracle)])
    return outcome


def _check_latched(db: Database, lawful: list[Content]) -> None:
    for write in (lambda: db.insert(b"k", b"v"), db.flush):
        try:
            write()
        except PoisonedError:
            continue
        raise AssertionError("a latched store took a write")
    with suppress(PoisonedError):
        assert content(db) in lawful


def _reopened(disk: SimulatedDisk, settings: dict[str, Any], lawful: list[Content]) -> None:
    disk.kill()
    db = embedded.open(PATH, files=disk, **settings)
    assert content(db) in lawful, "opened again it has something else"
    db.insert(b"after", b"the fault")
    kept = content(db)
    db.close()
    db = embedded.open(PATH, files=disk, **settings)
    assert content(db) == kept
    db.close()
