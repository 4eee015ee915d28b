"""A failing workload made small, and a script that replays it.

The steps of :mod:`.steps` are written as Python that makes them again; so is every step whose
``repr`` is, such as a frozen dataclass of your own with ``__call__``. A plain function of a module
is written as an import. Of other ones, such as a ``lambda``, the script says which step it was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

from .oracle import Step

Part = TypeVar("Part")
Found = TypeVar("Found")


def shrunk(
    parts: Sequence[Part],
    found: Found,
    find: Callable[[Sequence[Part]], Found | None],
    seconds: float,
) -> tuple[list[Part], Found]:
    """Leave out whatever parts can be left out, with what ``find`` says of those that are left.

    Args:
        parts: steps, say, that fail.
        found: how they fail.
        find: how fewer of them fail; None: they do not.
        seconds: when to be content with what there is.
    """
    left, until = list(parts), time.monotonic() + seconds
    size = max(1, len(left) // 2)
    while True:
        at, has_shrunk = 0, False
        while at < len(left) and time.monotonic() < until:
            fewer = left[:at] + left[at + size :]
            again = find(fewer)
            if again is None:
                at += size
            else:
                left, found, has_shrunk = fewer, again, True
        if time.monotonic() >= until or (size == 1 and not has_shrunk):
            return left, found
        size = max(1, size // 2)


def script(call: str, steps: Sequence[Step], settings: dict[str, Any], **arguments: Any) -> str:
    """Python that makes ``call``, a function of this package, with all of it."""
    imports, lines = {f"from conduitstore.testing import {call.partition('.')[0]}"}, []
    for value in arguments.values():
        imports |= _made_of(value) if is_dataclass(value) else set()
    for number, step in enumerate(steps):
        needed, text = written(step)
        imports |= needed
        lines.append(f"        {text},  # noqa: E501" if len(text) > 90 else f"        {text},")
        if text.startswith("<"):
            lines[-1] = f"        # Here goes step {number} of yours: {text}"
    rest = [f"    {name}={value!r}," for name, value in arguments.items() if value]
    first = ["Replay it with:", "", *sorted(imports), "", f"{call}("]
    return "\n".join([*first, "    [", *lines, "    ],", f"    {settings!r},", *rest, ")"])


def written_call(
    call: str,
    arguments: Sequence[str],
    *modules: ModuleType,
    needed: AbstractSet[str] = frozenset(),
) -> str:
    """Python that makes ``call`` with arguments that are written already.

    What of ``modules`` is called in it is imported, and what is ``needed`` besides.
    """
    text = "\n".join([f"{call}(", *(f"    {one}," for one in arguments), ")"])
    called = set(re.findall(r"\b[A-Za-z_]+(?=\()", text))
    imports = sorted(needed)
    for module in modules:
        own = {
            n for n in called if getattr(vars(module).get(n), "__module__", "") == module.__name__
        }
        imports += [f"from {module.__name__} import {', '.join(sorted(own))}"] if own else []
    return "\n".join(["Replay it with:", "", *imports, "", text])


def written(step: object) -> tuple[set[str], str]:
    """Imports, and an expression that makes the step; one with ``<`` is none."""
    if isinstance(step, partial):
        imports, text = written((step.func, *step.args))
        return {"from functools import partial", *imports}, f"partial{text}"
    if type(step) is tuple and step:
        needed, texts = zip(*map(written, step), strict=True)
        return set().union(*needed), f"({', '.join(texts)}{',' * (len(step) == 1)})"
    module, name = getattr(step, "__module__", ""), getattr(step, "__qualname__", "")
    if name and "<" not in name:  # A function of a module.
        return {f"from {module} import {name.partition('.')[0]}"}, name
    text = repr(step)
    if text.startswith("<"):
        return set(), text
    return _made_of(step, *getattr(step, "commits", ())), text


def _made_of(*values: object) -> set[str]:
    kinds = set(map(type, values))
    return {f"from {kind.__module__} import {kind.__qualname__}" for kind in kinds}
