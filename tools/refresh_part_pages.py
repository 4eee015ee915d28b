"""Bring docs/parts up to date with the code: trees, calls, and what the examples print.

    python tools/refresh_part_pages.py

The words are people's: an operation that is new gets a row without any, and a house test asks for
them. The same test compares the pages with the code, so run this after a change to a part.
"""

from __future__ import annotations

import inspect
import io
import re
import textwrap
from contextlib import redirect_stdout
from operator import attrgetter
from pathlib import Path
from types import FunctionType, ModuleType

import conduitstore
import conduitstore.sync
from conduitstore.parts.holder import Media, PartOf, Parts, Rooms
from conduitstore.parts.part import Part, TreeOf
from conduitstore.schema import AREAS, TREES

PAGES = Path(__file__).parents[1] / "docs" / "parts"

_HOLDERS = {"": Parts, "rooms.": Rooms, "media.": Media}
_AREA = {tree.name: area for area, trees in AREAS.items() for tree in trees}
_LINK = r"\[`\w+`\]\(\.\./trees\.md#\w+\)"
_TREES = re.compile(rf"\*\*Trees:\*\* (?:{_LINK}(?:,\s+{_LINK})*|none of its own)((?:.|\n(?!\n))*)")
_ROWS = re.compile(r"(?<=\n\| --- \| --- \|\n)(?:\|.*\|\n)+")
_ROW = re.compile(r"^\| `((\w+)[^`]*)` \| (.*?) ?\|$", re.MULTILINE)
_EXAMPLE = re.compile(r"(?<=\n```python\n)(.*?)\n```\n\n```text\n(.*?)(?=```\n)", re.DOTALL)


def _kinds() -> dict[str, type | ModuleType]:
    """What each page is about, by the attribute's path."""
    paths = [
        prefix + name
        for prefix, holder in _HOLDERS.items()
        for name, part in vars(holder).items()
        if isinstance(part, PartOf)
    ]
    with conduitstore.open(":memory:") as store:
        every = [*paths, "changes", "typing"]
        return {path: type(attrgetter(path)(store)) for path in every} | {"sync": conduitstore.sync}


KINDS = _kinds()


def title_of(path: str) -> str:
    """The first line of a page."""
    return f"# `{KINDS[path].__name__}`" if path == "sync" else f"# `store.{path}`"


def trees_of(path: str) -> list[str]:
    """The trees that a part opens, in the order of the schema."""
    fields = [field for field in vars(KINDS[path]).values() if isinstance(field, TreeOf)]
    return sorted((field.name for field in fields), key=list(TREES).index)


def calls_of(path: str) -> dict[str, str]:
    """Every public operation by name, as it is called: ``name(required, optional=default)``."""
    kind = KINDS[path]
    if isinstance(kind, ModuleType):
        found = {name: getattr(kind, name) for name in kind.__all__}
    else:
        bases = [base for base in reversed(kind.__mro__) if base not in (Part, object)]
        found = {name: call for base in bases for name, call in vars(base).items()}
    named = {
        path.rpartition(".")[2] if name == "__call__" else name: call
        for name, call in found.items()
        if name == "__call__" or not name.startswith("_")
    }
    return {
        name: _shown(name, call)
        for name, call in named.items()
        if isinstance(call, FunctionType | property)
    }


def _shown(name: str, call: FunctionType | property) -> str:
    if isinstance(call, property):
        return name
    shown: list[str] = []
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        bare = str(parameter.replace(annotation=parameter.empty, default=parameter.empty))
        has_default = parameter.default is not parameter.empty
        shown.append(f"{bare}={_shown_default(parameter.default)}" if has_default else bare)
    return f"{name}({', '.join(argument for argument in shown if argument != 'self')})"


def _shown_default(default: object) -> str:
    if isinstance(default, FunctionType):
        return default.__name__
    is_plain = default is None or isinstance(default, str | int | float | tuple)
    return repr(default) if is_plain else f"{type(default).__name__}()"


def with_trees(path: str, page: str) -> str:
    """The page with the trees its part opens; what is said behind them stays."""
    links = [f"[`{tree}`](../trees.md#{_AREA[tree]})" for tree in trees_of(path)]
    listed = ", ".join(links) or "none of its own"

    def line(found: re.Match[str]) -> str:
        words = " ".join(f"**Trees:** {listed}{found[1]}".split())
        return textwrap.fill(words, 100, break_long_words=False, break_on_hyphens=False)

    return _TREES.sub(line, page, count=1)


def with_calls(path: str, page: str) -> str:
    """The page with its part's calls in the table: those it has where they are, new ones last."""
    calls = calls_of(path)

    def table(found: re.Match[str]) -> str:
        says = {name: words for _, name, words in _ROW.findall(found[0]) if name in calls}
        says |= {name: "" for name in calls if name not in says}
        return "".join(f"| `{calls[name]}` | {words} |\n" for name, words in says.items())

    return _ROWS.sub(table, page, count=1)


def with_output(path: str, page: str) -> str:
    """The page with what its example prints."""

    def block(found: re.Match[str]) -> str:
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(found[1], f"docs/parts/{path}.md", "exec"), {"__name__": "example"})  # noqa: S102 - the page's own
        return f"{found[1]}\n```\n\n```text\n{printed.getvalue()}"

    return _EXAMPLE.sub(block, page, count=1)


if __name__ == "__main__":
    for path in ["README", *KINDS]:
        page = PAGES / f"{path}.md"
        before = after = page.read_text()
        if path in KINDS:
            after = with_calls(path, with_trees(path, after))
        after = with_output(path, after)
        if after != before:
            page.write_text(after)
            print(page)
