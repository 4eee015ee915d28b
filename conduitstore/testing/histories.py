"""Histories of many threads: recorded, and checked for an order in which all answers are right.

    recorder = Recorder()
    ... in each thread: mine = recorder.thread(db); mine.insert("t", b"k", b"v"); ...
    check(recorder.history())

An operation is one step or, where it is a transaction or a snapshot, several that happen at once. A
history is right when its operations can be put in an order that keeps to time (what ended before
another began comes before it) and in which a dict of rows gives the same answers. For single steps
on one key that is linearizability; for transactions it is strict serializability.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple, TypeVar

from conduitstore import kv
from conduitstore.kv import CompareAndSwapFailure, Database, Keyspace, Transaction

from .search import Search
from .shrink import shrunk, written_call

T = TypeVar("T")
Row = tuple[str, bytes]
Rows = dict[Row, bytes]
State = frozenset[tuple[Row, bytes]]
SHRINK_STATES_MAX = 20_000
"""A smaller part that takes longer to judge is left whole."""


class Step(NamedTuple):
    """One call and its answer."""

    name: str
    args: tuple[Any, ...]
    answer: Any


@dataclass(frozen=True)
class Operation:
    """Steps that happen at one instant between two times; ``is_undone``: without effect."""

    thread: int
    began: int
    ended: int
    steps: tuple[Step, ...]
    is_undone: bool = False

    def __str__(self) -> str:
        calls = "; ".join(f"{name}{args!r} -> {answer!r}" for name, args, answer in self.steps)
        undone = " undone" if self.is_undone else ""
        return f"{self.began}..{self.ended} thread {self.thread}: {calls}{undone}"


History = list[Operation]


# What each call does to rows, and what it answers -------------------------------------------------


def _insert(rows: Rows, tree: str, key: bytes, value: bytes) -> bytes | None:
    old = rows.get((tree, key))
    rows[tree, key] = value
    return old


def _remove(rows: Rows, tree: str, key: bytes) -> bytes | None:
    return rows.pop((tree, key), None)


def _compare_and_swap(
    rows: Rows, tree: str, key: bytes, old: bytes | None, new: bytes | None
) -> CompareAndSwapFailure | None:
    current = rows.get((tree, key))
    if current != old:
        return CompareAndSwapFailure(current, new)
    if new is None:
        rows.pop((tree, key), None)
    else:
        rows[tree, key] = new
    return None


def _range(rows: Rows, tree: str, lo: bytes | None, hi: bytes | None) -> list[tuple[bytes, bytes]]:
    return sorted(
        (key, value)
        for (name, key), value in rows.items()
        if name == tree and (lo is None or key >= lo) and (hi is None or key < hi)
    )


CALLS: dict[str, Callable[..., Any]] = {
    "get": lambda rows, tree, key: rows.get((tree, key)),
    "contains_key": lambda rows, tree, key: (tree, key) in rows,
    "insert": _insert,
    "remove": _remove,
    "compare_and_swap": _compare_and_swap,
    "range": _range,
    "get_many": lambda rows, tree, keys: [rows.get((tree, key)) for key in keys],
    "length": lambda rows, tree: sum(name == tree for name, _ in rows),
}


def apply(state: State, operation: Operation) -> State | None:
    """The rows after an operation; None where one of its answers would be wrong."""
    rows = dict(state)
    for name, args, answer in operation.steps:
        if CALLS[name](rows, *args) != answer:
            return None
    return state if operation.is_undone else frozenset(rows.items())


# Checking -----------------------------------------------------------------------------------------


def check(
    history: Iterable[Operation], before: Rows | None = None, *, shrink_seconds: float = 20
) -> History:
    """An order in which all of it is right.

    Raises:
        AssertionError: there is none; shows how far one can get, and its note holds a script with
            what of the history is needed for that.
    """
    history, before = list(history), before or {}
    search = Search(history, apply)
    found = search.order(frozenset(before.items()))
    if found is None:
        error = AssertionError(search.explanation())
        error.add_note(_script(*_shrunk(history, before, shrink_seconds)))
        raise error
    return found


READS = ("get", "contains_key", "range", "get_many", "length")
OF_A_TREE = ("range", "get_many", "length")
Place = tuple[int, int]
"""Of a step: the number of its operation, and its own in that."""


def _shrunk(history: History, before: Rows, seconds: float) -> tuple[History, Rows]:
    """A part that is as wrong: fewer rows, and of reads those that are needed.

    What is left of a right history is right: a read changes nothing, and what is done to a row
    that nobody asks for can be seen nowhere else.
    """
    rows = {row for one in history for step in one.steps if (row := _row(step))} | before.keys()
    places = [(n, at) for n, one in enumerate(history) for at in range(len(one.steps))]
    reads = [place for place in places if history[place[0]].steps[place[1]].name in READS]

    def is_wrong(parts: Sequence[Row | Place]) -> bool | None:
        kept = _part(history, rows, set(parts))
        start = frozenset((row, value) for row, value in before.items() if row in parts)
        search = Search(kept, apply, states_max=SHRINK_STATES_MAX)
        return True if search.order(start) is None and not search.gave_up else None

    parts: list[Row | Place] = [*sorted(rows), *reads]
    left, _ = shrunk(parts, True, is_wrong, seconds)
    return _part(history, rows, set(left)), {row: before[row] for row in before if row in left}


def _row(step: Step) -> Row | None:
    """The one row that a step is about."""
    return None if step.name in OF_A_TREE else step.args[:2]


def _part(history: History, rows: set[Row], kept: set[Row | Place]) -> History:
    """The steps on rows that are kept; of the reads those that are, and can be answered."""
    gone = {tree for tree, key in rows if (tree, key) not in kept}

    def is_kept(place: Place, step: Step) -> bool:
        if step.name in READS and place not in kept:
            return False
        row = _row(step)
        return row in kept if row is not None else step.args[0] not in gone

    parts = [
        replace(one, steps=tuple(s for at, s in enumerate(one.steps) if is_kept((n, at), s)))
        for n, one in enumerate(history)
    ]
    return [one for one in parts if one.steps]


def _script(history: History, before: Rows) -> str:
    text = "".join(f"\n        {one!r}," for one in history)
    arguments = [f"[{text}\n    ]", *([f"before={before!r}"] if before else [])]
    return written_call("check", arguments, kv, sys.modules[__name__])


def projected(history: History, row: Row) -> History:
    """What a history says of one row: where point reads are compared with commits of many keys.

    Two of them may fall on either side of the moment in which such a commit becomes visible, row by
    row; so they have an order with it on each row, but perhaps none on all.
    """
    return [
        replace(one, steps=steps)
        for one in history
        if (steps := tuple(step for step in one.steps if step.args[:2] == row))
    ]


def check_keys(history: History, before: Rows | None = None) -> None:
    """The same for operations of one step on one key each: key by key, which is much less work."""
    keys = {operation.steps[0].args[:2] for operation in history}
    for key in sorted(keys):
        mine = [one for one in history if one.steps[0].args[:2] == key]
        rows = {row: value for row, value in (before or {}).items() if row == key}
        check(mine, rows)


# Recording ----------------------------------------------------------------------------------------


class Recorder:
    """Takes down what threads do. Its clock ticks at each beginning and each end."""

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self.clock = clock or count().__next__
        self._operations: list[Operation] = []
        self._numbers = count()
        self._lock = threading.Lock()

    def thread(self, db: Database) -> Recorded:
        """A hand for one thread."""
        with self._lock:
            return Recorded(self, db, next(self._numbers))

    def add(self, operation: Operation) -> None:
        self._operations.append(operation)

    def history(self) -> History:
        """Everything that has ended."""
        return list(self._operations)


class Steps:
    """Calls on a keyspace, taken down as they are answered."""

    def __init__(self, keyspace: Keyspace, steps: list[Step]) -> None:
        self._keyspace = keyspace
        self._steps = steps

    def call(self, name: str, tree: str, *args: Any) -> Any:
        """Do one of :data:`CALLS` and remember what came back."""
        answer = _do(self._keyspace, name, tree, *args)
        self._steps.append(Step(name, (tree, *args), answer))
        return answer


def _do(keyspace: Keyspace, name: str, tree: str, *args: Any) -> Any:
    handle = keyspace.open_tree(tree)
    if name == "length":
        return len(handle)
    if name == "range":
        return list(handle.range(*args))
    return getattr(handle, name)(*args)


class Recorded:
    """What one thread does to a store, one thing at a time."""

    def __init__(self, recorder: Recorder, db: Database, number: int) -> None:
        self._recorder = recorder
        self._db = db
        self.number = number

    def call(self, name: str, tree: str, *args: Any) -> Any:
        """One call by itself."""
        steps: list[Step] = []
        began = self._recorder.clock()
        answer = Steps(self._db, steps).call(name, tree, *args)
        self._add(began, self._recorder.clock(), steps)
        return answer

    def transaction(self, fn: Callable[[Steps], T], *, read_only: bool = False) -> T | None:
        """Several at once; what ``fn`` raises :class:`Undo` out of is undone."""
        steps: list[Step] = []

        def run(tx: Transaction) -> T:
            steps.clear()
            return fn(Steps(tx, steps))

        began, result, is_undone = self._recorder.clock(), None, False
        try:
            result = self._db.transaction(run, read_only=read_only)
        except Undo:
            is_undone = True
        self._add(began, self._recorder.clock(), steps, is_undone=is_undone)
        return result

    def snapshot(self, fn: Callable[[Steps], object], between: Callable[[], object]) -> None:
        """Reads of the instant at which a snapshot was made, some time ``between`` later."""
        steps: list[Step] = []
        began = self._recorder.clock()
        with self._db.snapshot() as view:
            ended = self._recorder.clock()
            between()
            fn(Steps(view, steps))
        self._add(began, ended, steps)

    def walk(self, tree: str, between: Callable[[], object], *, reverse: bool = False) -> None:
        """An iterator: it shows the instant at which it was made."""
        began = self._recorder.clock()
        items = self._db.open_tree(tree).range(reverse=reverse)
        ended = self._recorder.clock()
        found = []
        for item in items:
            found.append(item)
            between()
        self._add(began, ended, [Step("range", (tree, None, None), sorted(found))])

    def _add(self, began: int, ended: int, steps: list[Step], *, is_undone: bool = False) -> None:
        operation = Operation(self.number, began, ended, tuple(steps), is_undone=is_undone)
        self._recorder.add(operation)


class Undo(Exception):  # noqa: N818 - raised on purpose, it reports nothing
    """Leaves a recorded transaction without effect."""
