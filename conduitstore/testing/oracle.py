"""The memory engine, remembering: what a store owes after each commit of a workload.

Steps run on it once, before anything crashes. Afterwards it knows of every sequence what the store
looked like, what subscribers were told, and how durable the commit was asked to be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from conduitstore import kv
from conduitstore.engine.memory import MemoryDatabase
from conduitstore.engine.memory_transaction import Transaction
from conduitstore.engine.stream import End
from conduitstore.kv import Database, Durability, Event, Keyspace

T = TypeVar("T")
Step = Callable[[Database], object]
"""One thing to do, the same on every engine. Where several threads commit in it, its attribute
``acknowledged`` is the newest sequence that a call with durability ``commit`` has given back."""
Content = dict[str, list[tuple[bytes, bytes]]]


class Reopen(Exception):  # noqa: N818 - a step raises it to ask for a clean close and a new open
    """Raised by a step: close the store cleanly and go on with a new one."""


@dataclass(frozen=True)
class Owed:
    """What a step leaves behind: sequences up to which its commits survive."""

    sequence: int
    kill: int
    power_loss: int
    reopens: bool


def content(keyspace: Keyspace) -> Content:
    """Everything in it, by tree."""
    return {name: list(keyspace.open_tree(name)) for name in keyspace.tree_names()}


class Oracle(MemoryDatabase):
    """See the module's account.

    Args:
        durability: what a commit asks for that does not say.

    Attributes:
        states: by sequence, what the store looked like.
    """

    def __init__(self, durability: Durability = "interval") -> None:
        super().__init__()
        self.states: dict[int, Content] = {}
        self._default = durability
        self._kill = self._power_loss = 0
        self._remembered: deque[tuple[int, dict[str, list[Event]], str | None]] = deque()
        self.recent = self._remembered  # Without a bound.
        self._remember()

    def run(self, steps: Sequence[Step]) -> list[Owed]:
        """Run a workload; gives what each step owes."""
        owed = []
        for step in steps:
            reopens = False
            try:
                step(self)
            except Reopen:
                reopens = True
                self._kill = self._power_loss = self.sequence
            owed.append(Owed(self.sequence, self._kill, self._power_loss, reopens))
        return owed

    def events(self, tree: str, since: int, upto: int) -> list[Event] | None:
        """What a subscriber of a tree is told; None where the tree was dropped meanwhile."""
        told: list[Event] = []
        for sequence, events, dropped in self._remembered:
            if since < sequence <= upto:
                if dropped == tree:
                    return None
                told += events.get(tree, ())
        return told

    def rewind(self, sequence: int, count: int) -> None:
        """Go on from an earlier sequence, with a count that may be higher."""
        for name in [name for name in self.trees if name not in self.states[sequence]]:
            del self.trees[name]
        for name, items in self.states[sequence].items():
            rows = self.open_tree(name)._rows.own()  # noqa: SLF001 - of the family
            rows.clear()
            rows.update(items)
        for later in [n for n in self.states if n > sequence]:
            del self.states[later]
        while self._remembered and self._remembered[-1][0] > sequence:
            self._remembered.pop()
        self.sequence = self._kill = self._power_loss = sequence
        self.visible_count = self.drawn_count = count
        self._remember()

    # What it remembers ------------------------------------------------------------------------
    def _remember(self) -> None:
        self.states[self.sequence] = content(self)

    def _commit_writes(self, tx: Transaction) -> None:
        super()._commit_writes(tx)
        self._remember()

    def _advance(self, to: End) -> None:
        super()._advance(to)
        self._remember()
        self._ask(None)

    def transaction(
        self,
        fn: Callable[[kv.Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        before = self.sequence
        try:
            return super().transaction(fn, durability=durability, read_only=read_only)
        finally:
            if self.sequence > before:
                self._ask(durability)

    def _ask(self, durability: Durability | None) -> None:
        durability = durability or self._default
        if durability != "none":
            self._kill = self.sequence
        if durability == "commit":
            self._power_loss = self.sequence

    def flush(self) -> int:
        sequence = super().flush()
        self._kill = self._power_loss = sequence
        return sequence

    def drop_tree(self, name: str) -> bool:
        dropped = super().drop_tree(name)
        if dropped:
            self._remember()
            self._ask(None)
        return dropped


class Listener:
    """A subscriber of one tree who wants durable commits, and what it was told so far."""

    def __init__(self, db: Database, tree: str) -> None:
        self.tree = tree
        self.begin = self.sequence = db.sequence
        self.told: list[Event] = []
        self._subscriber = db.open_tree(tree).watch_prefix(b"", only_durable=True)

    @property
    def is_over(self) -> bool:
        """Whether its tree is gone."""
        return bool(getattr(self._subscriber, "is_over", False))

    def hear(self) -> None:
        """Take what there is to take."""
        while (event := self._subscriber.next(0)) is not None:
            self.told.append(event)
        self.sequence = max(self.sequence, self._subscriber.sequence)

    def go_on(self, db: Database) -> list[Event]:
        """All that it was told, with what it gets from a store that was opened again.

        Raises:
            LaggedError: the log has not got it any more.
        """
        told = list(self.told)
        with db.open_tree(self.tree).watch_prefix(b"", since=self.sequence) as subscriber:
            while (event := subscriber.next(0)) is not None:
                told.append(event)
        return told


class Listeners(list[Listener]):
    """A listener for each tree, from when it was first seen."""

    def follow(self, db: Database) -> None:
        """Hear what there is, forget trees that went, begin with those that came."""
        with suppress(Exception):  # A store that is closed or latched tells what it told.
            for listener in self:
                listener.hear()
            self[:] = [listener for listener in self if not listener.is_over]
            known = {listener.tree for listener in self}
            self.extend(Listener(db, name) for name in db.tree_names() if name not in known)

    def restart(self, db: Database) -> None:
        """After a clean close and open: go on with what was told so far."""
        for listener in self:
            listener.hear()
        self.clear()
        self.follow(db)
