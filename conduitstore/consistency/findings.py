"""What a check finds, and what a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from conduitstore.kv import Keyspace


class Finding(NamedTuple):
    """A row that breaks a rule; ``key`` is None where it is about a tree as a whole."""

    tree: str
    key: bytes | None
    text: str


Find = Callable[[Keyspace], Iterable[Finding]]


class Rule(NamedTuple):
    """One thing that holds in every store; ``find`` gives the rows for which it does not.

    It reads one row after the other and goes on behind what it cannot decode: that is rule 0's.
    """

    number: int
    says: str
    find: Find


class Violation(NamedTuple):
    """A finding with the number of the rule that it breaks; its text is one line for people."""

    rule: int
    tree: str
    key: bytes | None
    text: str

    def __str__(self) -> str:
        where = self.tree if self.key is None else f"{self.tree}: {self.key!r}"
        return f"rule {self.rule}: {where}: {self.text}"
