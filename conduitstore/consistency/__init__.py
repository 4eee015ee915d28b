"""Does what the trees say fit together? Rules that hold in every store, and a check of them.

    with store.snapshot() as view:
        for violation in check(view.keyspace):
            print(violation)

A check reads; ``conduitstore.upkeep`` mends what can be derived.
"""

from __future__ import annotations

from collections.abc import Iterator

from conduitstore.kv import Keyspace

from .findings import Finding, Rule, Violation
from .rules import RULES

__all__ = ["RULES", "Finding", "Rule", "Violation", "check"]


def check(view: Keyspace) -> Iterator[Violation]:
    """Every violation of every rule, in the order of the rules.

    ``view`` is a snapshot, or a store that nobody writes to. Lazy: it may be left at any time.
    Memory: a few numbers for each room, and one room's members or state at a time.
    Cost: each row is read a few times.
    """
    for rule in RULES:
        for finding in rule.find(view):
            yield Violation(rule.number, *finding)
