"""Does what the trees say fit together? Rules that hold in every store, and a check of them.

    with store.snapshot() as view:
        for violation in check(view.keyspace):
            print(violation)

A check reads; ``conduitstore.upkeep`` mends what can be derived.
"""

from __future__ import annotations

from collections.abc import Iterator

from conduitstore.kv import Keyspace
from conduitstore.parts.beside import FileStore

from .findings import Finding, Rule, Violation
from .media import damaged_files
from .rules import RULES

__all__ = ["RULES", "Finding", "Rule", "Violation", "check"]


_MEDIA_RULE = 16


def check(view: Keyspace, files: FileStore | None = None) -> Iterator[Violation]:
    """Every violation of every rule, in the order of the rules.

    ``view`` is a snapshot, or a store that nobody writes to. With ``files``, the bytes of media are
    read too, and held against their rows. Lazy: it may be left at any time.

    Memory: a few numbers for each room, and one room's members or state at a time.
    Cost: each row is read a few times.
    """
    for rule in RULES:
        for finding in rule.find(view):
            yield Violation(rule.number, *finding)
    for finding in () if files is None else damaged_files(view, files):
        yield Violation(_MEDIA_RULE, *finding)
