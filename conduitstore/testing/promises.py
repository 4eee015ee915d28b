"""What a store promises over a crash, and whether it has kept it. See :mod:`.crash`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from conduitstore.engine import embedded
from conduitstore.errors import LaggedError
from conduitstore.kv import Database

from .disk import SimulatedDisk
from .oracle import Content, Listeners, Oracle, Owed, Step, content

PATH = "store"
Check = Callable[[SimulatedDisk, "History"], None]


def open_on(disk: SimulatedDisk, settings: dict[str, Any]) -> embedded.Store:
    """The store of a workload."""
    db = embedded.open(PATH, files=disk, **settings)
    assert isinstance(db, embedded.Store)
    return db


@dataclass
class History:
    """What was done to a store up to its crash, and what it owes since."""

    states: dict[int, Content] = field(default_factory=dict)
    acknowledged: int = 0
    durable: int = 0
    logged: int = 0  # the log is on the platter up to here
    newest_count: int = 0  # drawn, perhaps by a transaction that failed
    visible_count: int = 0
    ids: set[int] = field(default_factory=set)
    check: Check | None = None
    oracle: Oracle = field(default_factory=Oracle)
    listeners: Listeners = field(default_factory=Listeners)
    may_lag: bool = False  # the log is not kept, or a power loss has taken parts of it

    def note(self, db: Database, step: Step | None = None) -> None:
        """What was handed out and promised: also when it crashed it may have been seen."""
        with suppress(Exception):  # A store that is closed hands out nothing.
            self.newest_count = max(
                self.newest_count, getattr(db, "positions", lambda: (0, 0))()[0]
            )
            self.visible_count = max(self.visible_count, db.current_count())
        acknowledged = getattr(step, "acknowledged", 0)
        self.logged = max(self.logged, db.durable_sequence)
        self.durable = max(self.durable, self.logged, acknowledged)
        self.acknowledged = max(self.acknowledged, self.durable)
        self.listeners.follow(db)


@dataclass
class Report:
    """How much was tried."""

    calls_total: int = 0
    crashes_total: int = 0
    resumed_total: int = 0
    lagged_total: int = 0


def run_step(step: Step, db: Database, history: History, owes: Owed) -> None:
    """Take a step and note what it is owed."""
    try:
        step(db)
        taken = db.generate_id()
        assert taken not in history.ids, f"id {taken} came twice"
        history.ids.add(taken)
        assert db.sequence == owes.sequence, "engines count commits differently"
        assert db.durable_sequence >= owes.power_loss, "asked to be durable, and is not"
        history.acknowledged = max(history.acknowledged, owes.kill)
        history.durable = max(history.durable, owes.power_loss)
    finally:
        history.note(db, step)


def check(disk: SimulatedDisk, history: History, settings: dict[str, Any], report: Report) -> None:
    """Open the store and hold it to everything it owes.

    Raises:
        AssertionError: a promise was broken.
    """
    db = open_on(disk, settings)
    check_found(db, history)
    check_listeners(db, history, settings, report)
    drawn = db.transaction(lambda tx: tx.next_count())
    assert drawn > history.newest_count, f"count {drawn} may have been handed out before"
    assert not history.ids.intersection(db.reserve_ids(3)), "an id came twice"
    db.insert(b"after", b"the crash")
    kept = content(db)
    db.close()
    db = open_on(disk, settings)
    assert content(db) == kept, "a clean close and open changed the content"
    assert not db.was_recovered
    db.close()


def check_found(db: Database, history: History) -> None:
    """Whether a store that was opened has what it owes: a prefix of history, and not too short."""
    found, owed = db.sequence, history.acknowledged
    assert found >= owed, f"commit {owed} was acknowledged, the store ends at {found}"
    assert found in history.states, f"sequence {found} was never reached"
    assert content(db) == history.states[found], f"not what sequence {found} looked like"
    assert db.current_count() >= history.visible_count, "the count went back"


def check_listeners(
    db: embedded.Store, history: History, settings: dict[str, Any], report: Report
) -> None:
    """Whether subscribers go on where they stopped."""
    found = db.sequence
    checkpointed = found - db.recovery_report.commits_replayed
    for listener in history.listeners:
        expected = history.oracle.events(listener.tree, listener.begin, found)
        if expected is None or listener.tree not in history.states[found]:
            continue  # Its tree is gone, or another one.
        if listener.sequence > found:
            assert not listener.told, "a subscriber was told of a commit that is lost"
            continue
        try:
            told = listener.go_on(db)
        except LaggedError:
            assert history.may_lag, f"a subscriber cannot go on behind {listener.sequence}"
            assert listener.sequence < checkpointed, "what a checkpoint does not hold is not told"
            is_kept = "log_keep_bytes" not in settings
            assert not is_kept or checkpointed > history.logged, "the log has it, and does not tell"
            report.lagged_total += 1
            continue
        assert told == expected, f"a subscriber of {listener.tree} was told something else"
        report.resumed_total += 1
