"""Threads that take turns as they are told: every interleaving up to a number of preemptions.

    def make(world):
        db = embedded.open("store", files=SimulatedDisk(), flush_every_ms=None)
        return Case([lambda: db.insert(b"k", b"1"), db.checkpoint], check)

    explore(make, preemptions=1)

- One thread runs at a time. It may be made to stop at each *point*: at every line of the engine
  that it comes to (or every instruction, or only at locks), and before it takes a lock. Left alone
  it goes on until it is done or has to wait.
- A schedule says at which point which thread goes on instead. :func:`explore` tries them all, each
  once, up to ``preemptions`` switches that nobody had to make; where a thread waits or ends, every
  thread that can go on is tried, at no cost. With ``every`` it stops only at one point in so many.
- Locks and events that the engine makes inside ``make`` belong to the world, so nothing sleeps and
  no time passes: who waits is known, and so is a deadlock.
- The same schedule is the same run. A failure's notes have it: ``replay(make, {40: 1})``.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal, NamedTuple

from conduitstore import engine

from .locks import replaced_locks
from .shrink import shrunk, written, written_call

Unit = Literal["line", "opcode", "lock"]
Schedule = Mapping[int, int]
"""By number of the point: the task that goes on there."""
ENGINE = os.path.dirname(engine.__file__)  # noqa: PTH120 - compared with what frames say
WAIT_SECONDS = 60


class Deadlock(AssertionError):  # noqa: N818 - the word for it
    """Every thread that is left waits for another."""


class Point(NamedTuple):
    """Where somebody else could go on: who, and whether it costs a preemption."""

    step: int
    others: tuple[int, ...]
    is_free: bool


@dataclass
class Ending:
    """What a task came to."""

    answer: Any = None
    error: BaseException | None = None


@dataclass
class Case:
    """Tasks, and what must hold when they are done; it is told how they ended."""

    tasks: Sequence[Callable[[], object]]
    check: Callable[[list[Ending]], object]


@dataclass
class Report:
    """How much was tried."""

    runs_total: int = 0
    points_max: int = 0
    switches_total: int = 0


class _Task:
    def __init__(self, number: int, do: Callable[[], object]) -> None:
        self.number = number
        self.do = do
        self.turn = threading.Lock()
        self.turn.acquire()
        self.waits_for: object = None
        self.has_timeout = False
        self.is_over = False
        self.ending = Ending()

    @property
    def can_run(self) -> bool:
        return not self.is_over and self.waits_for is None


class World:
    """One run of some tasks under one schedule."""

    def __init__(self, schedule: Schedule, unit: Unit) -> None:
        self.points: list[Point] = []
        self.step = 0
        self._schedule = schedule
        self._unit = unit
        self._tasks: list[_Task] = []
        self._running: dict[int, _Task] = {}  # by thread
        self._done = threading.Lock()
        self._is_stuck = False

    # Running ------------------------------------------------------------------------------------
    def run(self, tasks: Sequence[Callable[[], object]]) -> list[Ending]:
        """All of them to their ends.

        Raises:
            Deadlock: they never end.
        """
        self._tasks = [_Task(number, do) for number, do in enumerate(tasks)]
        threads = [
            threading.Thread(target=self._live, args=(task,), daemon=True) for task in self._tasks
        ]
        self._done.acquire()
        for thread in threads:
            thread.start()
        self._hand_over()
        assert self._done.acquire(timeout=WAIT_SECONDS), "a thread does not come back"
        for thread in threads:
            thread.join(WAIT_SECONDS)
        if self._is_stuck:
            raise Deadlock("each waits for another")
        return [task.ending for task in self._tasks]

    def _live(self, task: _Task) -> None:
        task.turn.acquire()
        self._running[threading.get_ident()] = task
        try:
            if self._unit != "lock":
                sys.settrace(self._trace)
            task.ending.answer = task.do()
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            task.ending.error = error
        finally:
            sys.settrace(None)
            del self._running[threading.get_ident()]
            task.is_over = True
            self._hand_over()

    def _trace(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(ENGINE):
            return None
        if self._unit == "opcode":
            frame.f_trace = self._inside  # Python 3.13 wants it before the next line.
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._inside

    def _inside(self, _frame: FrameType, event: str, _arg: Any) -> Any:
        if event in ("line", "opcode"):
            self.point()
        return self._inside

    # Switching ----------------------------------------------------------------------------------
    @property
    def task(self) -> _Task | None:
        """The one whose thread asks; None: it is nobody's, and runs while no task does."""
        return self._running.get(threading.get_ident())

    def point(self) -> None:
        """Here another task may go on instead."""
        me = self.task
        if me is None:
            return
        others = tuple(task.number for task in self._tasks if task is not me and task.can_run)
        self._note(others, is_free=False)
        chosen = self._schedule.get(self.step, me.number)
        self.step += 1
        if chosen in others:  # Of a schedule with some switches left out others may mean nobody.
            self._tasks[chosen].turn.release()
            self._wait_turn(me)

    def _note(self, others: tuple[int, ...], *, is_free: bool) -> None:
        if others:
            self.points.append(Point(self.step, others, is_free))

    def wait(self, resource: object, *, has_timeout: bool) -> bool:
        """Let others go on until the resource is free; False: there is a timeout, now over."""
        me = self.task
        assert me is not None, "the test's own thread would wait for ever"
        me.waits_for, me.has_timeout = resource, has_timeout
        self._hand_over()
        self._wait_turn(me)
        timed_out = me.waits_for is not None
        me.waits_for = None
        return not timed_out

    def free(self, resource: object) -> None:
        """Whoever waits for it may look again."""
        for task in self._tasks:
            if task.waits_for is resource:
                task.waits_for = None

    def _wait_turn(self, me: _Task) -> None:
        me.turn.acquire()
        if self._is_stuck:
            raise Deadlock

    def _hand_over(self) -> None:
        """The task that runs cannot: choose another."""
        able = [task.number for task in self._tasks if task.can_run] or [
            task.number for task in self._tasks if task.waits_for is not None and task.has_timeout
        ]
        if able:
            chosen = self._schedule.get(self.step, able[0])
            chosen = chosen if chosen in able else able[0]
            self._note(tuple(number for number in able if number != chosen), is_free=True)
            self.step += 1
            self._tasks[chosen].turn.release()
        elif all(task.is_over for task in self._tasks):
            self._done.release()
        else:
            self._is_stuck = True
            for task in self._tasks:
                if not task.is_over:
                    task.turn.release()
                    return  # Its end brings the next one here.

    # What the engine waits with -----------------------------------------------------------------
    def lock(self) -> Lock:
        """In the place of ``threading.Lock``."""
        return Lock(self)

    def event(self) -> Event:
        """In the place of ``threading.Event``."""
        return Event(self)


class Lock:
    """A lock of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002
        """See :meth:`threading.Lock.acquire`."""
        self._world.point()
        while self._is_held:
            if not blocking or not self._world.wait(self, has_timeout=timeout >= 0):
                return False
        self._is_held = True
        return True

    def release(self) -> None:
        """See :meth:`threading.Lock.release`."""
        assert self._is_held, "a lock is released that nobody holds"
        self._is_held = False
        self._world.free(self)
        self._world.point()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._is_held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()


class Event:
    """An event of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_set = False

    def is_set(self) -> bool:
        """See :meth:`threading.Event.is_set`."""
        return self._is_set

    def set(self) -> None:
        """See :meth:`threading.Event.set`."""
        self._is_set = True
        self._world.free(self)

    def clear(self) -> None:
        """See :meth:`threading.Event.clear`."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """See :meth:`threading.Event.wait`."""
        self._world.point()
        return self._is_set or self._world.wait(self, has_timeout=timeout is not None)


# Exploring ----------------------------------------------------------------------------------------

Make = Callable[[World], Case]


def replay(make: Make, schedule: Schedule, *, unit: Unit = "line") -> World:
    """One run, checked.

    Raises:
        AssertionError: the check failed, or nothing went on; its notes have the schedule.
    """
    world = World(schedule, unit)
    collects = gc.isenabled()
    gc.disable()  # A collection may come at any line, and would be none of the schedule's.
    try:
        with replaced_locks(world.lock, Event=world.event):
            case = make(world)
        case.check(world.run(case.tasks))
    except BaseException as error:
        error.add_note(f"replay(make, {dict(schedule)}, unit={unit!r})")
        raise
    finally:
        if collects:
            gc.enable()
    return world


def explore(
    make: Make,
    *,
    preemptions: int = 1,
    every: int = 1,
    offset: int = 0,
    unit: Unit = "line",
    shrink_seconds: float = 20,
) -> Report:
    """Every schedule with so many preemptions, each once; errors as :func:`replay`.

    Their notes hold a script as well, with no more switches than it takes.
    """
    report = Report()
    todo: list[tuple[dict[int, int], int]] = [({}, preemptions)]
    while todo:
        schedule, left = todo.pop()
        try:
            world = replay(make, schedule, unit=unit)
        except Exception as error:
            error.add_note(_script(make, schedule, unit, shrink_seconds))
            raise
        report.runs_total += 1
        report.switches_total += len(schedule)
        report.points_max = max(report.points_max, world.step)
        todo.extend(_following(world, schedule, left, every, offset))
        if report.runs_total % 500 == 0:
            gc.collect()
    return report


def _script(make: Make, schedule: Schedule, unit: Unit, seconds: float) -> str:
    """Python that fails again."""

    def fails(switches: Sequence[tuple[int, int]]) -> bool | None:
        try:
            replay(make, dict(switches), unit=unit)
        except Exception:  # noqa: BLE001 - this way or that
            return True
        return None

    fewer, _ = shrunk(sorted(schedule.items()), True, fails, seconds)
    needed, text = written(make)
    if "<" in text:  # Yours to say.
        needed, text = set(), "make"
    arguments = [text, repr(dict(fewer)), f"unit={unit!r}"]
    return written_call("replay", arguments, sys.modules[__name__], needed=needed)


def _following(
    world: World, schedule: dict[int, int], left: int, every: int, offset: int
) -> Iterator[tuple[dict[int, int], int]]:
    """The schedules that leave this one behind its last switch."""
    last = max(schedule, default=-1)
    for step, others, is_free in world.points:
        if step > last and (is_free or (left > 0 and (step + offset) % every == 0)):
            for other in others:
                yield {**schedule, step: other}, left if is_free else left - 1
