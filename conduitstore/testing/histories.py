"""Histories of many threads: recorded, and checked for an order in which all answers are right.

    recorder = Recorder()
    ... in each thread: mine = recorder.thread(db); mine.insert("t", b"k", b"v"); ...
    check(recorder.history())

An operation is one step or, where it is a transaction or a snapshot, several that happen at once. A
history is right when its operations can be put in an order that keeps to time (what ended before
another began comes before it) and in which a dict of rows gives the same answers. For single steps
on one key that is linearizability; for transactions it is strict serializability.

The search is that of Wing and Gong: try what may come next, never the same state twice. Threads do
one thing at a time, so a state is how far each has come, and the rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple, TypeVar

from conduitstore.kv import CompareAndSwapFailure, Database, Keyspace, Transaction

T = TypeVar("T")
Row = tuple[str, bytes]
Rows = dict[Row, bytes]
State = frozenset[tuple[Row, bytes]]


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


def check(history: Iterable[Operation], before: Rows | None = None) -> History:
    """An order in which all of it is right.

    Raises:
        AssertionError: there is none; shows how far one can get.
    """
    threads: dict[int, History] = {}
    for operation in sorted(history, key=lambda one: one.began):
        threads.setdefault(operation.thread, []).append(operation)
    search = _Search(list(threads.values()))
    found = search.order(frozenset((before or {}).items()))
    if found is None:
        raise AssertionError(search.explanation())
    return found


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


class _Search:
    def __init__(self, threads: list[History]) -> None:
        self._threads = threads
        self._total = sum(map(len, threads))
        self._best: tuple[History, State] = ([], frozenset())

    def order(self, state: State) -> History | None:
        """Depth first, with a stack of its own: histories are long."""
        order: History = []
        begin = (0,) * len(self._threads)
        seen = {(begin, state)}
        stack = [self._next(begin, state)]
        while stack:
            found = next(stack[-1], None)
            if found is None:
                stack.pop()
                if order:
                    order.pop()
                continue
            operation, place, after = found
            if (place, after) in seen:
                continue
            seen.add((place, after))
            order.append(operation)
            if len(order) > len(self._best[0]):
                self._best = order.copy(), after
            if len(order) == self._total:
                return order
            stack.append(self._next(place, after))
        return order if not self._total else None

    def _next(
        self, place: tuple[int, ...], state: State
    ) -> Iterator[tuple[Operation, tuple[int, ...], State]]:
        """What may come next: it began before anything that is left ended."""
        waiting = [
            (number, thread[at])
            for number, (thread, at) in enumerate(zip(self._threads, place, strict=True))
            if at < len(thread)
        ]
        first_end = min((one.ended for _, one in waiting), default=0)
        for number, operation in waiting:
            if operation.began <= first_end:
                after = apply(state, operation)
                if after is not None:
                    at = place[number] + 1
                    yield operation, (*place[:number], at, *place[number + 1 :]), after

    def explanation(self) -> str:
        """The longest order that was found, and what then does not fit."""
        order, state = self._best
        done = set(map(id, order))
        left = sorted(
            (one for thread in self._threads for one in thread if id(one) not in done),
            key=lambda one: one.began,
        )
        lines = [
            f"no order explains all {self._total} operations; {len(order)} fit, the last of them",
            *map(str, order[-6:]),
            f"then there is {dict(sorted(state))!r}",
            "and none of these can follow:",
            *map(str, left[: len(self._threads)]),
        ]
        return "\n".join(lines)


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
