"""What a recovery that may lose something went without, and keeping it aside.

Damaged originals get a second name, ending in ``.damaged``, before anything changes. Once the new
generation is published their first name goes. A crash in between leaves both: before the publishing
the next recovery begins anew, after it the next open takes the first names away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field

from conduitstore.operations import Damage, RecoveryMode

from . import names
from .files import Directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The account of one recovery."""

    mode: RecoveryMode
    sequence: int  # newest commit that was kept
    commits_replayed: int
    commits_lost: int
    damages: tuple[Damage, ...]
    aside: tuple[str, ...]  # files that the store does without from now on
    condemned: frozenset[int] = frozenset()  # segments whose leaves have to move
    trees: Mapping[str, int] = field(default_factory=dict)  # entries found, where all was counted


def keep_aside(directory: Directory, found: Iterable[str]) -> None:
    """Give files their second names; the caller syncs the directory."""
    for name in found:
        # Where there are no second names the first is changed afterwards.
        with suppress(OSError):
            directory.link(name, name + names.DAMAGED)


def let_go(directory: Directory, found: Iterable[str], used: AbstractSet[int]) -> None:
    """Take their first names away; and those of files that an earlier recovery kept aside.

    Args:
        directory: with a new generation.
        found: files that it does without.
        used: the numbers of its segments: what an earlier recovery meant to do without, it has not.
    """
    there = set(directory.names())
    twice = {name for name in there if name + names.DAMAGED in there}
    in_use = {names.numbered(names.SEGMENT, number) for number in used}
    for name in sorted(twice | there.intersection(found)):
        if name in in_use:
            directory.unlink(name + names.DAMAGED)
        elif name in twice:
            directory.unlink(name)
        else:
            directory.rename(name, name + names.DAMAGED)
    if there != set(directory.names()):
        directory.sync()
