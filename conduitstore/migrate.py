"""Brings a store's schema up to date before anybody reads it.

- Every check comes before the first write; a store that cannot be served stays as it is.
- A migration and its version row are one commit: after a crash it is done or not begun. So a fresh
  store is nothing special: it is at version 0 and takes every step.
- The engine's byte formats have a version of their own; this one counts what keys and values mean.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple, Protocol

from conduitstore.errors import UnsupportedFormatError
from conduitstore.kv import Database, Keyspace, Transaction
from conduitstore.schema import TREES

LINEAGE = "conduitstore"

_MODULE = re.compile(r"m(\d{4})_\w+")


class Migration(NamedTuple):
    """One step of the ladder; ``number`` is the schema version it leads to."""

    number: int
    name: str
    upgrade: Callable[[Transaction], None]


class Versions(Protocol):
    """Where the version is kept: the globals part."""

    def lineage(self) -> str | None: ...
    def schema_version(self) -> int: ...
    def bound_to(self, keyspace: Keyspace) -> Versions: ...
    def set_schema_version(self, version: int) -> None: ...


def load_migrations() -> list[Migration]:
    """The steps in the package ``conduitstore.migrations``, in order."""
    package = importlib.import_module("conduitstore.migrations")
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return in_order(importlib.import_module(f"{package.__name__}.{name}") for name in names)


def in_order(modules: Iterable[ModuleType]) -> list[Migration]:
    """Modules named ``m0001_what`` as a ladder without gaps."""
    steps: list[Migration] = []
    for module in modules:
        name = module.__name__.rpartition(".")[2]
        match = _MODULE.fullmatch(name)
        if match is None:
            raise ValueError(f"a migration is named m0001_what_it_does, not {name}")
        steps.append(Migration(int(match[1]), name, module.upgrade))
    steps.sort()
    if [step.number for step in steps] != list(range(1, len(steps) + 1)):
        names = ", ".join(step.name for step in steps)
        raise ValueError(f"migrations count 1, 2, 3 without gap or double: {names}")
    return steps


def migrate(db: Database, versions: Versions, steps: Sequence[Migration]) -> None:
    """Apply what is missing, and create the trees that are.

    Raises:
        UnsupportedFormatError: the schema is newer than this version knows, or another project's;
            nothing was written.
    """
    with db.snapshot() as view:  # Which opens no tree that is not there.
        found = _check(view, versions.bound_to(view), len(steps))
    for step in steps[found:]:
        db.transaction(partial(_apply, versions=versions, step=step))
    db.transaction(_create_trees)


def check_schema(db: Database, versions: Versions, steps: Sequence[Migration]) -> None:
    """Whether a store that cannot be written to is as this version needs it.

    Raises:
        UnsupportedFormatError: the schema is newer, older or another project's.
    """
    with db.snapshot() as view:
        found = _check(view, versions.bound_to(view), len(steps))
    if found < len(steps):
        raise UnsupportedFormatError(
            f"the schema is at version {found}, this version needs {len(steps)}: open the store "
            "for writing once"
        )


def _check(view: Keyspace, versions: Versions, known: int) -> int:
    found, lineage = versions.schema_version(), versions.lineage()
    if lineage is None and (found or _holds_rows(view)):
        raise UnsupportedFormatError(
            f"this store says version {found} but not whose schema that is: it was not written "
            f"by {LINEAGE}"
        )
    if lineage not in (None, LINEAGE):
        raise UnsupportedFormatError(f"this store has the schema of {lineage}, not of {LINEAGE}")
    if found > known:
        raise UnsupportedFormatError(
            f"the schema is at version {found}, this version knows {known}: upgrade {LINEAGE}"
        )
    return found


def _holds_rows(view: Keyspace) -> bool:
    return any(view.open_tree(name).first() for name in view.tree_names() if name in TREES)


def _apply(tx: Transaction, *, versions: Versions, step: Migration) -> None:
    step.upgrade(tx)
    versions.bound_to(tx).set_schema_version(step.number)


def _create_trees(tx: Transaction) -> None:
    for name in TREES:  # In one order everywhere: equal stores have equal files.
        tx.open_tree(name)
