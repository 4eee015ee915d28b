"""Kill a workload at every system call and look at what the next open finds.

A workload is a list of steps, functions of a database. It runs on a store over a simulated disk
and, step by step, on the memory engine, which remembers what each sequence looked like. The disk
crashes in the nth system call, for every n that the workload makes. What follows is tried on a copy
each: the process alone dies; the machine loses power and keeps nothing, everything or some of what
was not synced. Then the store is opened again, and:

- its content is that of one sequence of the history, whole: a gap-free prefix, no half commit;
- nothing is missing that was acknowledged: all of it when only the process died, everything up to
  ``durable_sequence`` when the power went;
- no count or id that was ever handed out can come again, and the count has not gone back;
- it takes new writes, closes, opens once more, and has kept them.

With ``depth`` 2 the first open after the crash is itself crashed at every call that it makes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from conduitstore.engine import embedded
from conduitstore.engine.memory import MemoryDatabase
from conduitstore.engine.memory_transaction import Transaction
from conduitstore.engine.stream import End
from conduitstore.kv import Database, Keyspace

from .disk import SimulatedCrash, SimulatedDisk

PATH = "store"
Step = Callable[[Database], object]
"""One thing to do. One that commits with durability ``none`` has a true attribute ``is_held``."""
Content = dict[str, list[tuple[bytes, bytes]]]


class Reopen(Exception):  # noqa: N818 - a step raises it to ask for a clean close and a new open
    """Raised by a step: close the store cleanly and go on with a new one."""


@dataclass
class History:
    """What was done to a store up to its crash, and what it owes since."""

    states: dict[int, Content] = field(default_factory=dict)
    acknowledged: int = 0
    durable: int = 0
    newest_count: int = 0
    ids: set[int] = field(default_factory=set)
    check: Callable[[SimulatedDisk, History], None] | None = None


@dataclass
class Report:
    """How much was tried."""

    calls_total: int = 0
    crashes_total: int = 0


@dataclass(frozen=True)
class Aftermath:
    """How a crash goes on."""

    name: str
    strike: Callable[[SimulatedDisk], None]
    is_power_loss: bool


def aftermaths(seeds: Sequence[int]) -> list[Aftermath]:
    """The process dies; the power goes with nothing, all, or (by seed) some of it kept."""
    return [
        Aftermath("kill", SimulatedDisk.kill, is_power_loss=False),
        Aftermath("nothing", lambda disk: disk.power_loss(keep="nothing"), is_power_loss=True),
        Aftermath("all", lambda disk: disk.power_loss(keep="everything"), is_power_loss=True),
        *(
            Aftermath(f"some, seed {seed}", _some(seed), is_power_loss=True)
            for seed in seeds
        ),
    ]  # fmt: skip


def _some(seed: int) -> Callable[[SimulatedDisk], None]:
    return lambda disk: disk.power_loss(seed)


def explore(
    steps: Sequence[Step],
    settings: dict[str, Any],
    *,
    seeds: Sequence[int] = (1, 2),
    depth: int = 1,
    every: int = 1,
    check: Callable[[SimulatedDisk, History], None] | None = None,
) -> Report:
    """Crash ``steps`` in every call (or every ``every``-th) and check each aftermath.

    ``check`` looks at what else the steps have made on the disk, before the store is opened.

    Raises:
        AssertionError: a promise was broken; says at which call and how it went on.
    """
    report = Report()
    settings = {"flush_every_ms": None, **settings}
    while True:
        at = report.calls_total + 1
        disk = SimulatedDisk()
        history = _live(disk, steps, settings, crash_at=at, check=check)
        if history is None:
            return report
        report.calls_total += every
        for aftermath in aftermaths(seeds):
            _aftermath(disk, history, settings, aftermath, report, depth, f"call {at}")


def _aftermath(
    crashed: SimulatedDisk,
    history: History,
    settings: dict[str, Any],
    aftermath: Aftermath,
    report: Report,
    depth: int,
    where: str,
) -> None:
    """Let the crash go on one way, check, and with more depth crash the recovery as well."""
    where = f"{where}, {aftermath.name}"
    struck = copy.deepcopy(crashed)
    aftermath.strike(struck)
    report.crashes_total += 1
    # What a power loss has taken may be missing from now on, also after a mere kill.
    owed = history.durable if aftermath.is_power_loss else history.acknowledged
    for disk in _crashed_recoveries(struck, settings) if depth > 1 else ():
        again = replace(history, acknowledged=owed)
        for following in aftermaths((1,)):
            _aftermath(disk, again, settings, following, report, depth - 1, f"{where}, recovery")
    with _telling(where):
        _check(struck, history, settings, owed)


def _crashed_recoveries(struck: SimulatedDisk, settings: dict[str, Any]) -> Iterator[SimulatedDisk]:
    at = 0
    while True:
        at += 1
        disk = copy.deepcopy(struck)
        disk.crash_at = at
        try:
            embedded.open(PATH, files=disk, **settings)
        except SimulatedCrash:
            yield disk
        else:
            return


def _live(
    disk: SimulatedDisk,
    steps: Sequence[Step],
    settings: dict[str, Any],
    crash_at: int,
    check: Callable[[SimulatedDisk, History], None] | None,
) -> History | None:
    """Run the workload until it crashes; None when it comes to its end before."""
    history = History(check=check)
    oracle = _Oracle(history.states)
    disk.crash_at = crash_at
    try:
        db = embedded.open(PATH, files=disk, **settings)
        for step in steps:
            try:
                _run(step, db, oracle, history)
            except Reopen:
                db.close()
                db = embedded.open(PATH, files=disk, **settings)
        db.close()
    except SimulatedCrash:
        return history
    return None


def _run(step: Step, db: Database, oracle: Database, history: History) -> None:
    reopen = False
    before = db.sequence
    try:
        step(oracle)
    except Reopen:
        reopen = True
    try:
        if not reopen:
            step(db)
            taken = db.generate_id()
            assert taken not in history.ids, f"id {taken} came twice"
            history.ids.add(taken)
    finally:
        # Also when it crashed: a count may have been seen, a commit may have been synced.
        history.newest_count = max(history.newest_count, db.sequence and _count(db))
        history.durable = max(history.durable, db.durable_sequence)
    if db.sequence > before and not getattr(step, "is_held", False):
        history.acknowledged = db.sequence
    if reopen:
        raise Reopen


class _Oracle(MemoryDatabase):
    """Remembers what the store looked like after each commit."""

    def __init__(self, states: dict[int, Content]) -> None:
        super().__init__()
        self._states = states
        self._remember()

    def _remember(self) -> None:
        self._states[self.sequence] = content(self)

    def _commit_writes(self, tx: Transaction) -> None:
        super()._commit_writes(tx)
        self._remember()

    def _advance(self, to: End) -> None:
        super()._advance(to)
        self._remember()

    def drop_tree(self, name: str) -> bool:
        dropped = super().drop_tree(name)
        self._remember()
        return dropped


def _count(db: Database) -> int:
    with suppress(Exception):
        return db.current_count()
    return 0


def content(keyspace: Keyspace) -> Content:
    """Everything in it, by tree."""
    return {name: list(keyspace.open_tree(name)) for name in keyspace.tree_names()}


class _telling:  # noqa: N801 - reads as a word
    """Says where it was when a check fails."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):
            error.add_note(f"crashed at {self._where}")


def _check(disk: SimulatedDisk, history: History, settings: dict[str, Any], owed: int) -> None:
    if history.check is not None:
        history.check(copy.deepcopy(disk), history)
    db = embedded.open(PATH, files=disk, **settings)
    found = db.sequence
    assert found >= owed, f"commit {owed} was acknowledged, the store ends at {found}"
    assert found in history.states, f"sequence {found} was never reached"
    assert content(db) == history.states[found], f"not what sequence {found} looked like"
    assert db.current_count() >= history.newest_count, "the count went back"
    drawn = db.transaction(lambda tx: tx.next_count())
    assert drawn > history.newest_count, f"count {drawn} may have been handed out before"
    assert not history.ids.intersection(db.reserve_ids(3)), "an id came twice"
    db.insert(b"after", b"the crash")
    kept = content(db)
    db.close()
    db = embedded.open(PATH, files=disk, **settings)
    assert content(db) == kept, "a clean close and open changed the content"
    assert not db.was_recovered
    db.close()
