"""Room states that nothing names, collected beside writers.

A state is named by rooms, by the history of rooms and by events, and is needed by those built on
it. Nothing leads from a state to what names it, so the named ones are marked on a snapshot, and
what is written from then on is watched. A commit's events are queued before the next transaction
begins, so one that removes knows of every name there is.

- States go newest first. What is built on another has the higher number, so after each commit all
  that are left have their layers.
- One that was made after the snapshot is not looked at.
- Memory: nine bytes for each of up to :data:`WINDOW_STATES`; where there are more, more passes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Self

from conduitstore.codec.states import parent_of
from conduitstore.codec.values import pack_u64
from conduitstore.consistency.rows import found_at
from conduitstore.consistency.state import DIFFS
from conduitstore.errors import LaggedError
from conduitstore.kv import Database, Insert, Item, Keyspace, Transaction

from . import batches

WINDOW_STATES = 4_000_000
HASHES_AT_ONCE = 200_000
_LOOK_EACH = 4_096
_U64, _WORD = "Q", 8

HASHES = "statehash_shortstatehash"
NAMING = ("roomid_shortstatehash", "roomcount_shortstatehash", "shorteventid_shortstatehash")
"""Trees whose values are numbers of states."""

Tell = Callable[[str, int, int], None]
"""Is told of a tree, how many more rows were looked at, and how many went."""


class Marks:
    """Which of a window's states are needed; the lowest number first."""

    def __init__(self, numbers: array[int]) -> None:
        self.numbers = numbers
        self._needed = bytearray(len(numbers))

    def add(self, number: int | None) -> None:
        """Something names the state, or is built on it."""
        at = bisect_left(self.numbers, number) if number else len(self.numbers)
        if at < len(self.numbers) and self.numbers[at] == number:
            self._needed[at] = 1

    def __contains__(self, number: int) -> bool:
        return bool(self._needed[bisect_left(self.numbers, number)])

    def dead(self) -> Iterator[int]:
        """The others, the highest first."""
        for at in range(len(self.numbers) - 1, -1, -1):
            if not self._needed[at]:
                yield self.numbers[at]


class Watch:
    """The states that were named since it began, with those they are built on."""

    def __init__(self, db: Database, names: Iterable[str]) -> None:
        trees = [db.open_tree(name) for name in names]
        self._subscribers = [(tree.name, tree.watch_prefix(b"")) for tree in trees]
        self._named: list[bytes] = []  # and not yet among the needed
        self._needed = set[bytes]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for _, subscriber in self._subscribers:
            subscriber.close()

    def look(self) -> None:
        """Take what was queued.

        Raises:
            LaggedError: too much was written meanwhile to know it all.
        """
        for name, subscriber in self._subscribers:
            while (event := subscriber.next(timeout=0)) is not None:
                if isinstance(event, Insert):
                    self._named.append(event.value[:_WORD] if name == DIFFS else event.value)

    def needed(self, tx: Transaction) -> set[bytes]:
        """All of them, in the transaction that is going to remove others."""
        self.look()
        states = tx.open_tree(DIFFS)
        while self._named:
            state: bytes | None = self._named.pop()
            while state is not None and state not in self._needed:
                self._needed.add(state)
                value = found_at(states, state)
                parent = None if value is None else parent_of(DIFFS, value)
                state = None if parent is None else pack_u64(parent)
        return self._needed

    def rows(
        self, view: Keyspace, tree: str, lo: bytes | None = None, tell: Tell | None = None
    ) -> Iterator[Item]:
        """The rows of a tree from ``lo`` on, the last one first; meanwhile no queue fills up."""
        rows = view.open_tree(tree).range(lo, reverse=True)
        while some := list(islice(rows, _LOOK_EACH)):
            self.look()
            if tell is not None:
                tell(tree, len(some), 0)
            yield from some


def collect(db: Database, young_counts: int, tell: Tell, *, dry_run: bool) -> None:
    """Remove the states that nothing names, but for those of the newest ``young_counts`` counts.

    Cost: one scan of the trees that name states and of all states; more of both where there are
    more than :data:`WINDOW_STATES`, or too much is written meanwhile.

    Raises:
        CorruptedError: a state cannot be read, so that nobody can say which it needs.
    """
    below: int | None = max(0, db.current_count() + 1 - young_counts)
    while below:
        try:
            below = _window(db, below, tell, dry_run=dry_run)
        except LaggedError:
            continue  # The states that went meanwhile were dead; the others are marked again.


def _window(db: Database, below: int, tell: Tell, *, dry_run: bool) -> int | None:
    """Collect among the highest numbers below one; gives where to go on."""
    with Watch(db, () if dry_run else (*NAMING, DIFFS)) as watch, db.snapshot() as view:
        numbers = _highest(view, below)
        marks = Marks(numbers)
        _mark(view, marks, watch, tell)
        tell(DIFFS, len(numbers), 0)
        dead = marks.dead()
        while some := list(islice(dead, HASHES_AT_ONCE)):
            if dry_run:
                tell(DIFFS, 0, len(some))
                tell(HASHES, 0, len(some))
            else:
                _remove_all(db, some, _hashes_of(view, set(some), watch), watch, tell)
    return numbers[0] if len(numbers) == WINDOW_STATES else None


def _highest(view: Keyspace, below: int) -> array[int]:
    states, start = view.open_tree(DIFFS), pack_u64(below - 1)
    keys = states.keys(reverse=True, start=start, limit=WINDOW_STATES)
    found = array(_U64, map(int.from_bytes, keys))
    found.reverse()
    return found


def _mark(view: Keyspace, marks: Marks, watch: Watch, tell: Tell) -> None:
    """What names a state, and then what is built on one that is needed."""
    for name in NAMING:
        for _, value in watch.rows(view, name, tell=tell):
            marks.add(int.from_bytes(value))
    if not marks.numbers:
        return
    lowest, highest = marks.numbers[0], marks.numbers[-1]
    for key, value in watch.rows(view, DIFFS, pack_u64(lowest)):
        number = int.from_bytes(key)
        if number > highest or number in marks:
            marks.add(parent_of(DIFFS, value))


def _hashes_of(view: Keyspace, numbers: set[int], watch: Watch) -> dict[int, bytes]:
    """The rows by which some states are found. Cost: a scan of all of them."""
    rows = watch.rows(view, HASHES)
    found = ((int.from_bytes(value), key) for key, value in rows)
    return {number: key for number, key in found if number in numbers}


def _remove_all(
    db: Database, dead: list[int], hashes: dict[int, bytes], watch: Watch, tell: Tell
) -> None:
    for at in range(0, len(dead), batches.BATCH_ROWS):
        some = dead[at : at + batches.BATCH_ROWS]
        removed = db.transaction(partial(_remove, numbers=some, hashes=hashes, watch=watch))
        for tree, total in zip((DIFFS, HASHES), removed, strict=True):
            tell(tree, 0, total)


def _remove(
    tx: Transaction, numbers: Iterable[int], hashes: dict[int, bytes], watch: Watch
) -> tuple[int, int]:
    needed, states, by_hash = watch.needed(tx), tx.open_tree(DIFFS), tx.open_tree(HASHES)
    gone = [key for key in map(pack_u64, numbers) if key not in needed]
    removed = sum([states.remove(number) is not None for number in gone])
    keys = (hashes.get(int.from_bytes(number)) for number in gone)
    removed_hashes = 0
    for key, number in zip(keys, gone, strict=True):
        if key is not None and found_at(by_hash, key) == number:
            by_hash.remove(key)
            removed_hashes += 1
    return removed, removed_hashes
