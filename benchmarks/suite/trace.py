"""What the parts ask of an engine, recorded: reads from one state, then one commit.

An operation runs on a store in memory whose trees note what they are asked. A contender then gets
the same reads and the same rows to write, without the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from peers import Contender, Get, Page, Read, Write

from conduitstore.engine.surface import prefix_bounds
from conduitstore.parts.holder import Parts
from conduitstore.store import Store

GLOBAL = "global"
COUNT_KEY = b"c"
END = b"\xff" * 600
READS_ONE = ("get", "contains_key", "__contains__")
WRITES_ONE = (
    "insert",
    "put",
    "remove",
    "increment",
    "merge",
    "update_and_fetch",
    "fetch_and_update",
)


class Step(NamedTuple):
    """One operation of a part."""

    reads: list[Read]
    writes: list[Write]

    def on(self, contender: Contender) -> list[object]:
        """Do it there."""
        found = read(contender, self.reads)
        if self.writes:
            contender.write(self.writes)
        return found


def read(contender: Contender, reads: list[Read]) -> list[object]:
    """All from one state: for what is read alone, its own call, which is of one state as it is."""
    if len(reads) != 1:
        return contender.read(reads) if reads else []
    (alone,) = reads
    if isinstance(alone, Page):
        return [contender.page(alone)]
    return [contender.getter(alone.tree)(alone.key)]


class Recorded:
    """A transaction or a snapshot that notes what its trees are asked."""

    def __init__(self, keyspace: Any) -> None:
        self._keyspace = keyspace
        self.reads: list[Read] = []
        self.written: dict[tuple[str, bytes], None] = {}

    def open_tree(self, name: str) -> RecordedTree:
        return RecordedTree(self._keyspace.open_tree(name), self)

    def transaction(self, fn: Callable[[Any], Any], **_: Any) -> Any:
        return fn(self)

    def next_count(self) -> int:
        self.written[GLOBAL, COUNT_KEY] = None
        return int(self._keyspace.next_count())

    def current_count(self) -> int:
        return int(self._keyspace.current_count())

    def generate_id(self) -> int:
        return int(self._keyspace.generate_id())

    def step(self) -> Step:
        """What was asked; of rows that were written, how they stand now."""
        return Step(
            self.reads,
            [Write(tree, key, self._now(tree, key)) for tree, key in self.written],
        )

    def _now(self, tree: str, key: bytes) -> bytes | None:
        if tree == GLOBAL:
            return self.current_count().to_bytes(8)
        value: bytes | None = self._keyspace.open_tree(tree).get(key)
        return value


class RecordedTree:
    """One of its trees."""

    def __init__(self, tree: Any, recorded: Recorded) -> None:
        self.name = tree.name
        self._tree = tree
        self._recorded = recorded

    def __getattr__(self, method: str) -> Callable[..., Any]:
        ask = getattr(self._tree, method)
        if method in READS_ONE:
            return partial(self._one, ask)
        if method in WRITES_ONE:
            return partial(self._write, ask)
        raise NotImplementedError(f"{method} is not recorded yet")

    def __contains__(self, key: bytes) -> bool:
        return bool(self._one(self._tree.contains_key, key))

    def _one(self, ask: Callable[..., Any], key: bytes) -> Any:
        self._recorded.reads.append(Get(self.name, key))
        return ask(key)

    def _write(self, ask: Callable[..., Any], key: bytes, *args: Any) -> Any:
        self._recorded.written[self.name, key] = None
        return ask(key, *args)

    def get_many(self, keys: Any) -> Any:
        asked = list(keys)
        self._recorded.reads += [Get(self.name, key) for key in asked]
        return self._tree.get_many(asked)

    def remove_prefix(self, prefix: bytes) -> int:
        for key in list(self.keys(prefix)):
            self._recorded.written[self.name, key] = None
        return int(self._tree.remove_prefix(prefix))

    def get_lt(self, key: bytes) -> Any:
        return next(self.range(None, key, reverse=True, limit=1), None)

    def get_gt(self, key: bytes) -> Any:
        return next(self.range(key + b"\0", None, limit=1), None)

    def first(self) -> Any:
        return next(self.range(limit=1), None)

    def last(self) -> Any:
        return next(self.range(reverse=True, limit=1), None)

    def scan_prefix(
        self,
        prefix: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        start: bytes | None = None,
    ) -> Iterator[Any]:
        lo, hi = prefix_bounds(prefix, start, reverse=reverse)
        return self.range(lo, hi, reverse=reverse, limit=limit)

    def keys(self, prefix: bytes = b"", **how: Any) -> Iterator[bytes]:
        return (key for key, _ in self.scan_prefix(prefix, **how))

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[Any]:
        """As many rows are asked of contenders as were taken here, and one where it ran dry."""
        place = len(self._recorded.reads)
        self._recorded.reads.append(
            Page(self.name, lo or b"", END if hi is None else hi, 1, reverse)
        )
        return self._taken(place, self._tree.range(lo, hi, reverse=reverse, limit=limit), limit)

    def ranges(self, bounds: Any, **how: Any) -> list[list[Any]]:
        return [list(self.range(lo, hi, **how)) for lo, hi in bounds]

    def _taken(self, place: int, rows: Iterator[Any], limit: int | None) -> Iterator[Any]:
        reads, taken = self._recorded.reads, 0
        for taken, row in enumerate(rows, 1):
            reads[place] = reads[place]._replace(limit=taken)  # type: ignore[call-arg]
            yield row
        if taken != limit:
            reads[place] = reads[place]._replace(limit=taken + 1)  # type: ignore[call-arg]


def recorded(store: Store, operation: Callable[[Parts], object], *, is_reading: bool) -> Step:
    """Do ``operation`` on ``store`` and give what it asked of the engine."""

    def run(keyspace: Any) -> Step:
        notes = Recorded(keyspace)
        operation(Parts(notes))  # type: ignore[arg-type]  # as much of a keyspace as is used
        return notes.step()

    if is_reading:
        with store.db.snapshot() as view:
            return run(view)
    return store.db.transaction(run)
