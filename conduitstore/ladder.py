"""The steps of the schema, read from the modules of ``conduitstore.migrations``."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import NamedTuple

from conduitstore.kv import Transaction

RowUpgrade = Callable[[Transaction, bytes, bytes], None]
"""Does what one row of a source asks for; decodes it before it writes anything."""

_MODULE = re.compile(r"m(\d{4})_\w+")


class Migration(NamedTuple):
    """One step of the ladder; ``number`` is the schema version it leads to.

    ``rows`` has a function for each source tree, called for each of its rows, some rows a commit;
    ``upgrade`` is the last commit, together with the version.
    """

    number: int
    name: str
    upgrade: Callable[[Transaction], None] = lambda _tx: None
    rows: Mapping[str, RowUpgrade] = {}


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
        given = {
            what: getattr(module, what) for what in ("upgrade", "rows") if hasattr(module, what)
        }
        if not given:
            raise ValueError(f"the migration {name} has neither upgrade nor rows")
        steps.append(Migration(int(match[1]), name, **given))
    steps.sort(key=lambda step: step.number)
    if [step.number for step in steps] != list(range(1, len(steps) + 1)):
        names = ", ".join(step.name for step in steps)
        raise ValueError(f"migrations count 1, 2, 3 without gap or double: {names}")
    return steps
