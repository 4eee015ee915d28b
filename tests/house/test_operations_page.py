"""docs/operations.md: every operation of Conduit's has its row, and rows and docstrings agree."""

import importlib
import inspect
import re

import pytest

import conduitstore
from conduitstore.kv import Database
from conduitstore.parts.holder import Media, PartOf, Parts, Rooms

# Conduit's services and how many operations each has.
SERVICES = {
    "globals": 15,
    "users": 45,
    "uiaa": 4,
    "rooms.edus.read_receipt": 5,
    "rooms.edus.presence": 5,
    "rooms.timeline": 15,
    "rooms.outlier": 3,
    "rooms.user": 7,
    "rooms.short": 8,
    "rooms.state": 5,
    "rooms.state_compressor": 2,
    "rooms.auth_chain": 2,
    "rooms.state_accessor": 8,
    "rooms.state_cache": 32,
    "rooms.pdu_metadata": 6,
    "rooms.threads": 3,
    "rooms.search": 3,
    "rooms.alias": 5,
    "rooms.directory": 4,
    "rooms.metadata": 4,
    "rooms.lazy_loading": 3,
    "account_data": 4,
    "key_backups": 15,
    "transaction_ids": 2,
    "pusher": 4,
    "appservice": 5,
    "sending": 10,
    "media": 19,
}
PROJECTS = {"Conduit", "the forks", "conduwuit", "tuwunel", "continuwuity"}
ROW = re.compile(r"^\| (.+?) \| (.*?) \| (.*?) ?\|$", re.MULTILINE)
CALL = re.compile(r"`((?:store|conduitstore)\.[\w.]+)`")


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "operations.md").read_text()


@pytest.fixture(scope="module")
def store():
    with conduitstore.open(":memory:") as store:
        yield store


def section(page, title):
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows_of(text):
    """Cells of each row, headings and rules left out."""
    return [cells for cells in ROW.findall(text) if cells[0].startswith("`")]


def services(page):
    """Each service of Conduit's data layer: its heading's number and its rows."""
    parts = re.split(r"^### ", section(page, "Conduit's data layer"), flags=re.MULTILINE)[1:]
    for part in parts:
        name, total = re.match(r"([\w.]+) \((\d+)\)\n", part).groups()
        yield name, int(total), rows_of(part)


def sources_of(docstring):
    """Whose operations a docstring names: ``Source: Conduit, one, two and three; tuwunel, four.``

    A first word is a name; further ones are where they have an underscore.
    """
    said = re.search(r"Source: (.*?)\.(?: |$)", " ".join(docstring.split()))
    for clause in said[1].split("; ") if said else ():
        project, _, names = clause.partition(", ")
        assert project in PROJECTS, f"{clause!r} does not begin with a project"
        first, *others = re.findall(r"\w+", names)
        yield from ((project, name) for name in [first, *(name for name in others if "_" in name)])


def documented():
    """Every call a user may write, with its docstring."""
    for holder, path in ((Parts, "store."), (Rooms, "store.rooms."), (Media, "store.media.")):
        for name, part in vars(holder).items():
            if isinstance(part, PartOf):
                yield from methods_of(part.kind, path + name)
    yield from methods_of(conduitstore.changes.Changes, "store.changes")
    yield from methods_of(conduitstore.typing_state.Typing, "store.typing")
    for name, _ in inspect.getmembers(Database, inspect.isfunction):
        yield f"store.db.{name}", inspect.getdoc(getattr(Database, name)) or ""
    for module in ("conduitstore.parts.keys", "conduitstore.upkeep", "conduitstore.sync"):
        for name, function in inspect.getmembers(importlib.import_module(module)):
            if inspect.isfunction(function) and not name.startswith("_"):
                yield f"{module}.{name}", inspect.getdoc(function) or ""


def methods_of(kind, path):
    for name, method in vars(kind).items():
        if inspect.isfunction(method) and name == "__call__":
            yield path, inspect.getdoc(method)
        elif inspect.isfunction(method) and not name.startswith("_"):
            yield f"{path}.{name}", inspect.getdoc(method) or ""


def named_by_docstrings():
    return {(*named, call) for call, doc in documented() for named in sources_of(doc)}


def test_every_service_has_as_many_rows_as_conduit_has_operations(page):
    found = {name: (total, len(rows)) for name, total, rows in services(page)}
    assert found == {name: (total, total) for name, total in SERVICES.items()}
    assert sum(SERVICES.values()) == 243


def test_no_operation_is_listed_twice(page):
    listed = [[name for name, _, _ in rows] for _, _, rows in services(page)]
    listed += [[name for name, _, _ in rows_of(section(page, "Conduit's services above it"))]]
    listed += [[cells[:2] for cells in rows_of(section(page, "Of the forks"))]]
    assert all(len(set(names)) == len(names) for names in listed)


def test_rows_and_docstrings_name_the_same(page):
    above = rows_of(section(page, "Conduit's services above it"))
    conduits = [row for _, _, rows in services(page) for row in rows] + above
    rows = [("Conduit", name, calls) for name, calls, _ in conduits]
    rows += [(whose, name, calls) for name, whose, calls in rows_of(section(page, "Of the forks"))]
    written = {
        (whose, name.strip("`"), call)
        for whose, name, calls in rows
        for call in CALL.findall(calls)
    }
    said = named_by_docstrings()
    assert sorted(written - said) == []
    assert sorted(said - written) == []


def test_what_has_no_counterpart_says_why(page):
    rows = [row for _, _, rows in services(page) for row in rows]
    without = [(calls, remark) for _, calls, remark in rows if not CALL.search(calls)]
    assert len(without) < 10
    assert all(calls == "none" and len(remark) > 20 for calls, remark in without)


def test_every_call_is_there_to_be_called(page, store):
    calls = set(CALL.findall(page))
    assert len(calls) > 250
    for call in sorted(calls):
        assert callable(resolved(call, store)), call


def resolved(call, store):
    """What a user gets who writes it."""
    first, *names = call.split(".")
    found = store if first == "store" else conduitstore
    for at, name in enumerate(names):
        if found is not store and inspect.ismodule(found) and not hasattr(found, name):
            importlib.import_module(".".join([first, *names[: at + 1]]))
        found = getattr(found, name)
    return found


def test_every_bulk_read_is_listed(page):
    calls = {call for call, _ in documented() if not call.startswith("store.db.")}
    bulk = {call for call in calls if call.endswith("_many")}
    assert bulk - set(CALL.findall(page)) == set()
