"""Interrupt the last step of a workload at every moment, and look at what is left.

A moment is one of :mod:`.interrupts`. What comes there is a ``KeyboardInterrupt``, a
``MemoryError``, or a collection: garbage goes that held an iterator in its middle, a snapshot, a
subscriber and a store that nobody has closed, and a finalizer reads by key. Behind it:

- The store is whole, or latched: then it takes no writes and says so. What can still be seen of it
  is the state before the step or behind it; so is what another opening finds, which verifies.
- No lock is left held; no id and no count comes again.
- What a collection comes amid ends as if none had come.

The steps up to the last ``Close`` are taken once, those behind it before each moment. None of them
commits from several threads, or with durability ``none``. A failure's notes hold a script, of the
steps that it takes: see :mod:`.shrink`.
"""

from __future__ import annotations

import copy
import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

from conduitstore.engine import embedded
from conduitstore.errors import (
    ClosedError,
    InvalidArgumentError,
    PoisonedError,
    StoreFullError,
)

from .crash import quiet
from .disk import SimulatedDisk
from .interrupts import Interrupter, Place
from .locks import Lonely, replaced_locks
from .oracle import Content, Reopen, Step, content
from .promises import open_on
from .shrink import script, shrunk
from .steps import Close

Happening = Literal["KeyboardInterrupt", "MemoryError", "collection"]
HAPPENINGS: tuple[Happening, ...] = get_args(Happening)
ERRORS: dict[str, type[BaseException]] = {
    "KeyboardInterrupt": KeyboardInterrupt,
    "MemoryError": MemoryError,
}
PROBE = b"probe"
"""A key that no step writes."""
_NEVER = 1 << 40


@dataclass(frozen=True)
class Interruption:
    """What comes, and at which moment of the last step, from 1 on."""

    at: int
    happening: Happening = "KeyboardInterrupt"


def explore_interrupts(
    steps: Sequence[Step],
    settings: dict[str, Any],
    happening: Happening = "KeyboardInterrupt",
    *,
    begin: int = 1,
    every: int = 1,
    shrink_seconds: float = 20,
) -> Counter[str]:
    """Interrupt the last of ``steps`` at moment ``begin`` and every ``every``-th behind it.

    Returns:
        How often each outcome came: whole, latched, closed, finalized.

    Raises:
        AssertionError: something is left that is not lawful; its notes say where, and hold a
            script that replays it. Other errors that the store raised get such notes, too.
    """
    outcomes: Counter[str] = Counter()
    with _undisturbed(happening):
        world = _World(steps, settings)
        at = begin
        while True:
            try:
                outcome = world.interrupted(Interruption(at, happening))
            except Exception as error:
                error.add_note(f"{happening} at moment {at}, {world.where}")
                left, found = _shrunk(world, Interruption(at, happening), shrink_seconds)
                error.add_note(script("interruptions.replay", left, settings, interruption=found))
                raise
            if outcome is None:
                return outcomes
            outcomes[outcome] += 1
            at += every


def replay(steps: Sequence[Step], settings: dict[str, Any], *, interruption: Interruption) -> str:
    """Interrupt once as :func:`explore_interrupts` did, and check; gives the outcome.

    Raises:
        AssertionError: what was found is still so.
        ValueError: the last step has fewer moments.
    """
    with _undisturbed(interruption.happening):
        outcome = _World(steps, settings).interrupted(interruption)
    if outcome is None:
        raise ValueError(f"there is no moment {interruption.at}")
    return outcome


def moments_of(steps: Sequence[Step], settings: dict[str, Any]) -> int:
    """How many moments the last step has."""
    with quiet():
        return len(_World(steps, settings).places())


def _shrunk(world: _World, found: Interruption, seconds: float) -> tuple[list[Step], Interruption]:
    """With fewer steps before the last one, whose moments are found again by their line."""
    *before, last = world.steps
    where = world.interrupter.places[-1]

    def failing(fewer: Sequence[Step]) -> Interruption | None:
        with suppress(Exception):  # Without some step others may make no sense.
            smaller = _World([*fewer, last], world.settings)
            for at, place in enumerate(smaller.places(), 1):
                if place == where and smaller.fails(Interruption(at, found.happening)):
                    return Interruption(at, found.happening)
        return None

    left, found = shrunk(before, found, failing, seconds)
    return [*left, last], found


@contextmanager
def _undisturbed(happening: Happening) -> Iterator[None]:
    """Where collections are what comes, no others do, and they walk over nothing of before."""
    if happening in ERRORS:
        with quiet():
            yield
        return
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        with quiet():
            yield
    finally:
        gc.collect()  # What came to no moment, while there is little to walk over.
        gc.unfreeze()
        if was_enabled:
            gc.enable()


class _World:
    """A workload, and what its last step makes of the store."""

    def __init__(self, steps: Sequence[Step], settings: dict[str, Any]) -> None:
        self.steps = list(steps)
        self.settings = {"flush_every_ms": None, **settings}
        self.interrupter = Interrupter(_NEVER, KeyboardInterrupt)
        closed = [at for at, step in enumerate(self.steps[:-1]) if isinstance(step, Close)]
        self._again = self.steps[closed[-1] + 1 if closed else 0 : -1]
        self._disk = SimulatedDisk()
        self._live(self.steps[: closed[-1]] if closed else [])
        self.lawful = self._after()

    @property
    def waits(self) -> bool:
        """Whether the last step is a commit that is acknowledged when it is on the platter."""
        return getattr(self.steps[-1], "durability", None) == "commit"

    @property
    def where(self) -> str:
        return self.interrupter.where

    # The life -----------------------------------------------------------------------------------
    def _live(self, steps: Sequence[Step]) -> None:
        db = open_on(self._disk, self.settings)
        for step in steps:
            try:
                step(db)
            except Reopen:
                db.close()
                db = open_on(self._disk, self.settings)
        db.close()

    def _store(self) -> tuple[SimulatedDisk, embedded.Store]:
        """Where the last step begins."""
        disk = copy.deepcopy(self._disk)
        with replaced_locks(Lonely):
            db = open_on(disk, self.settings)
        for step in self._again:
            step(db)
        return disk, db

    def _act(self, db: embedded.Store) -> None:
        try:
            self.steps[-1](db)
        except Reopen:
            db.close()

    def _after(self) -> list[Content]:
        """The states that are lawful: before the last step, and behind it."""
        disk, db = self._store()
        before = content(db)
        self._look_on(db)
        with suppress(ClosedError):
            after = content(db)
            db.abandon()
            return [before, after]
        with open_on(disk, self.settings) as again:
            return [before, content(again)]

    def _look_on(self, db: embedded.Store) -> list[Place]:
        """Take the last step; from Python 3.12 on its moments are seen when this was done once."""
        interrupter = Interrupter(_NEVER, KeyboardInterrupt)
        interrupter.run(lambda: self._act(db))
        return interrupter.places

    def places(self) -> list[Place]:
        """Of every moment."""
        _, db = self._store()
        found = self._look_on(db)
        db.abandon()
        return found

    # The interruption ---------------------------------------------------------------------------
    def fails(self, interruption: Interruption) -> bool:
        """Whether the check fails behind it."""
        try:
            self.interrupted(interruption)
        except Exception:  # noqa: BLE001 - whatever it is, it was found
            return True
        return False

    def interrupted(self, interruption: Interruption) -> str | None:
        """What came of it; None: there is no such moment."""
        disk, db = self._store()
        error = ERRORS.get(interruption.happening)
        if error is None:
            return self._collected(disk, db, interruption.at)
        self.interrupter = Interrupter(interruption.at, error)
        try:
            self.interrupter.run(lambda: self._act(db))
        except error:
            pass
        except (PoisonedError, StoreFullError) as seen:
            if not isinstance(seen.__cause__ or seen.__context__, error):
                raise
        if not self.interrupter.has_struck:
            db.abandon()
            return None
        return self._check(disk, db)

    def _collected(self, disk: SimulatedDisk, db: embedded.Store, at: int) -> str | None:
        before, after = self.lawful
        view, rows = db.snapshot(), dict(before.get("__default__", ()))
        seen: list[tuple[bytes, bytes | None]] = []
        _drop_garbage(db)

        def finalize() -> None:
            gc.collect()
            with suppress(InvalidArgumentError, ClosedError):  # Amid a transaction, or a close.
                for key, value in [*rows.items()][::7]:
                    assert view.get(key) == value, "a snapshot has changed"
                    seen.append((key, db.get(key)))

        self.interrupter = Interrupter(at, finalize)
        self.interrupter.run(lambda: self._act(db))
        later = dict(after.get("__default__", ()))
        for key, value in seen:
            assert value in (rows[key], later.get(key)), "a finalizer has seen what never was"
        if not self.interrupter.has_struck:
            db.abandon()
            return None
        with suppress(ClosedError):
            assert content(db) == after, "a collection has changed what the step does"
        disk.kill()
        db.abandon()
        with replaced_locks(Lonely), open_on(disk, self.settings) as again:
            assert content(again) == after, "what was done amid a collection is not there"
        return "finalized"

    # What is left -------------------------------------------------------------------------------
    def _check(self, disk: SimulatedDisk, db: embedded.Store) -> str:
        """What can be seen of the store, and what it still does; gives how it is."""
        ids, drawn = set(range(db.counters.ids)), db.positions()[0]
        outcome = _probed(db)
        seen = None
        with suppress(PoisonedError, ClosedError):
            seen = _without_probe(content(db))
        assert seen is None or seen in self.lawful, "half of it can be seen"
        assert seen is not None or outcome != "whole", "it takes writes, and cannot be read"
        if outcome == "whole":
            assert not ids.intersection([db.generate_id(), *db.reserve_ids(2)]), "an id came again"
            db.checkpoint()
            assert list(db.verify()) == [], "it is damaged"
            db.close()
        elif disk.calls_total % 2:
            disk.kill()
        else:
            db.close()  # Lets go of the directory, once more if it was interrupted amid that.
        self._check_opened(disk, outcome, seen, drawn)
        db.abandon()
        return outcome

    def _check_opened(
        self, disk: SimulatedDisk, outcome: str, seen: Content | None, drawn: int
    ) -> None:
        with replaced_locks(Lonely), open_on(disk, self.settings) as again:
            found = content(again)
            has_probe = dict(found.get("__default__", ())).get(PROBE) == b"1"
            assert has_probe == (outcome == "whole"), "what it said of a write is not so"
            found = _without_probe(found)
            lawful = self.lawful
            if seen is not None and not self.waits:  # Who waits may be seen, and lost unwritten.
                lawful = [seen, *lawful[1:]]
            assert found in lawful, "opened again it has something else"
            assert outcome != "whole" or found == seen, "what could be seen is not there"
            assert list(again.verify()) == [], "opened again it is damaged"
            count = again.transaction(lambda tx: tx.next_count())
            assert count > drawn, f"count {count} was handed out before"


def _probed(db: embedded.Store) -> str:
    """Whether it takes a write, and if not, why."""
    try:
        db.insert(PROBE, b"1")
    except PoisonedError:
        return "latched"
    except ClosedError:
        return "closed"
    return "whole"


def _without_probe(found: Content) -> Content:
    rows = [row for row in found.get("__default__", ()) if row[0] != PROBE]
    return found | {"__default__": rows}


class _Cycle:
    """Garbage that only the collector finds; what it holds goes when it does."""

    def __init__(self, *held: object) -> None:
        self.held, self.me = held, self


def _drop_garbage(db: embedded.Store) -> None:
    items = db.range()
    next(items, None)
    other = embedded.open("other", files=SimulatedDisk(), flush_every_ms=None)
    _Cycle(items, db.snapshot(), db.watch_prefix(b""), other.range(), other)
