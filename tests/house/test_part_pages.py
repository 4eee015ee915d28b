"""docs/parts: a page for each part, true to its calls and trees, with an example that runs."""

import inspect
import io
import re
import threading
from contextlib import redirect_stdout
from operator import attrgetter

import pytest

import conduitstore
import conduitstore.sync
from conduitstore.parts.holder import Media, PartOf, Parts, Rooms
from conduitstore.parts.part import Part, TreeOf
from conduitstore.schema import AREAS, TREES

HOLDERS = {"": Parts, "rooms.": Rooms, "media.": Media}
NAMES = sorted(
    prefix + name
    for prefix, holder in HOLDERS.items()
    for name, part in vars(holder).items()
    if isinstance(part, PartOf)
)
with conduitstore.open(":memory:") as _store:
    KINDS = {name: type(attrgetter(name)(_store)) for name in NAMES}
    BESIDE = {"changes": type(_store.changes), "typing": type(_store.typing)}
BESIDE["sync"] = conduitstore.sync

PAGES = sorted(KINDS.keys() | BESIDE.keys())
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def pages(root):
    return {path.stem: path.read_text() for path in (root / "docs" / "parts").glob("*.md")}


def title_of(name):
    return f"# `conduitstore.{name}`" if name == "sync" else f"# `store.{name}`"


def trees_of(name):
    """The trees a part opens, as links to the areas that list them."""
    fields = vars(KINDS[name]).values() if name in KINDS else ()
    area_of = {tree.name: area for area, trees in AREAS.items() for tree in trees}
    opened = [field.name for field in fields if isinstance(field, TreeOf)]
    return {f"[`{tree}`](../trees.md#{area_of[tree]})" for tree in opened}


def operations_of(name):
    """Every public operation, called as users call it."""
    kind = KINDS.get(name) or BESIDE[name]
    if inspect.ismodule(kind):
        functions = {f: getattr(kind, f) for f in kind.__all__}
        return {f: call for f, call in functions.items() if inspect.isfunction(call)}
    found = {
        operation: call
        for base in reversed(kind.__mro__)
        if base not in (Part, object)
        for operation, call in vars(base).items()
        if operation == "__call__" or not operation.startswith("_")
    }
    return {o: c for o, c in found.items() if inspect.isfunction(c) or isinstance(c, property)}


def shown_default(default):
    if inspect.isfunction(default):
        return default.__name__
    is_plain = default is None or isinstance(default, str | int | float | tuple)
    return repr(default) if is_plain else f"{type(default).__name__}()"


def shown_call(part, operation, call):
    """``name(required, optional=default)`` without types."""
    if isinstance(call, property):
        return operation
    shown, is_keyword = [], False
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword:
            is_keyword = True
            shown.append("*")
        name = str(parameter).partition(":")[0].partition("=")[0]  # With the star of *args.
        required = parameter.default is parameter.empty
        shown.append(name if required else f"{name}={shown_default(parameter.default)}")
    name = part.rpartition(".")[2] if operation == "__call__" else operation
    return f"{name}({', '.join(argument for argument in shown if argument != 'self')})"


def calls_of(part):
    return [shown_call(part, name, call) for name, call in operations_of(part).items()]


def test_every_part_has_a_page_and_every_page_a_part(pages):
    assert pages.keys() - {"README"} == set(PAGES)


def test_the_index_leads_to_every_page(pages):
    linked = re.findall(
        r"^\| \[`([\w.]+)`\]\(([\w.]+)\.md\) \| .+ \|$", pages["README"], re.MULTILINE
    )
    assert sorted(page for _, page in linked) == PAGES
    assert all(name in (f"store.{page}", f"conduitstore.{page}") for name, page in linked)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_its_title_and_its_length(pages, name):
    lines = pages[name].splitlines()
    assert lines[0] == title_of(name)
    assert 35 <= len(lines) <= 130


@pytest.mark.parametrize("name", PAGES)
def test_a_page_lists_the_trees_of_its_part(pages, name):
    (line,) = re.findall(r"^\*\*Trees:\*\* ((?:.|\n(?!\n))+)\.$", pages[name], re.MULTILINE)
    trees = set(re.findall(r"\[`\w+`\]\([^)]+\)", line))
    assert trees == trees_of(name)
    if name in KINDS:
        owner = KINDS[name].__module__.rpartition(".")[2]
        named = re.findall(r"\[`(\w+)`\]", line)
        assert {TREES[tree].owner for tree in named} <= {owner}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_lists_the_operations_of_its_part(pages, name):
    table = pages[name].partition("\n## Operations\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", table, re.MULTILINE)
    assert sorted(call for call, _ in rows) == sorted(calls_of(name))
    assert all(len(says) > 10 for _, says in rows)


@pytest.mark.parametrize("name", PAGES)
def test_an_example_prints_what_the_page_says(pages, name, tmp_path, monkeypatch):
    ((code, says),) = EXAMPLE.findall(pages[name])
    assert 'conduitstore.open(":memory:"' in code
    monkeypatch.chdir(tmp_path)
    threads, printed = set(threading.enumerate()), io.StringIO()
    with redirect_stdout(printed):
        exec(compile(code, f"docs/parts/{name}.md", "exec"), {"__name__": "example"})
    assert printed.getvalue() == says != ""
    assert set(threading.enumerate()) == threads
    assert not list(tmp_path.iterdir())
