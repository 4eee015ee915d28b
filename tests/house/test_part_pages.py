"""docs/parts: a page for each part, true to its trees and calls, with an example that runs."""

import re
import runpy
import threading
from pathlib import Path

import pytest

import conduitstore
from conduitstore.consistency import check

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools/refresh_part_pages.py"))
PARTS = sorted(TOOL["KINDS"])
HINT = "run tools/refresh_part_pages.py"
FOOTER = "[All parts](README.md) · [from Conduit's operations to ours](../operations.md)"


@pytest.fixture(scope="module")
def pages(root):
    return {path.stem: path.read_text() for path in (root / "docs" / "parts").glob("*.md")}


def rows_of(page):
    table = page.partition("\n## Operations\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \| (.*?) ?\|$", table, re.MULTILINE)


def test_every_part_has_a_page_and_every_page_a_part(pages):
    assert pages.keys() - {"README"} == set(PARTS)


def test_the_index_leads_to_every_page(pages):
    index = re.findall(
        r"^\| \[`([\w.]+)`\]\(([\w.]+)\.md\) \| .+ \|$", pages["README"], re.MULTILINE
    )
    assert sorted(page for _, page in index) == PARTS
    assert [f"# `{name}`" for name, _ in index] == [TOOL["title_of"](page) for _, page in index]


@pytest.mark.parametrize("part", PARTS)
def test_a_page_has_its_title_its_length_and_its_links(pages, part):
    lines = pages[part].splitlines()
    assert lines[0] == TOOL["title_of"](part)
    assert lines[-1] == FOOTER
    assert 40 <= len(lines) <= 120


@pytest.mark.parametrize("part", PARTS)
def test_a_page_lists_the_trees_of_its_part(pages, part):
    line = re.search(r"^\*\*Trees:\*\* (?:.|\n(?!\n))+\.$", pages[part], re.MULTILINE).group()
    assert re.findall(r"\[`(\w+)`\]\(\.\./trees", line) == TOOL["trees_of"](part)
    assert TOOL["with_trees"](part, pages[part]) == pages[part], HINT


@pytest.mark.parametrize("part", PARTS)
def test_a_page_lists_the_operations_of_its_part(pages, part):
    rows = rows_of(pages[part])
    assert sorted(call for call, _ in rows) == sorted(TOOL["calls_of"](part).values()), HINT
    assert [call for call, says in rows if len(says) < 10] == [], "say what these do"


@pytest.mark.parametrize("part", ["README", *PARTS])
def test_an_example_prints_what_the_page_says(pages, part, tmp_path, monkeypatch):
    ((code, says),) = re.findall(
        r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", pages[part], re.DOTALL | re.MULTILINE
    )
    assert 'conduitstore.open(":memory:"' in code
    assert says
    monkeypatch.chdir(tmp_path)
    threads = set(threading.enumerate())
    assert TOOL["with_output"](part, pages[part]) == pages[part], HINT
    assert set(threading.enumerate()) == threads
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["README", *PARTS])
def test_an_example_prints_the_same_on_disk_and_leaves_what_is_consistent(pages, part, tmp_path):
    path = repr(str(tmp_path / "store"))
    on_disk = pages[part].replace('":memory:"', path)
    assert TOOL["with_output"](part, on_disk).replace(path, '":memory:"') == pages[part]
    with conduitstore.open(tmp_path / "store", read_only=True) as store, store.snapshot() as view:
        assert list(check(view.keyspace)) == []


def test_a_page_that_is_behind_is_refreshed(pages):
    page = pages["to_device"]
    behind = page.replace("forget_until(user, device, until)", "forget_until(user)")
    behind = re.sub(r"\| `forget_all.*\n", "| `gone()` | Was something once. |\n", behind)
    behind = behind.replace("todeviceid_events", "userid_password").replace(
        "dropped: 1", "dropped: 2"
    )
    refreshed = behind
    for refresh in ("with_trees", "with_calls", "with_output"):
        refreshed = TOOL[refresh]("to_device", refreshed)
    assert rows_of(behind) != rows_of(page)
    assert rows_of(refreshed) == [*rows_of(page)[:-1], (rows_of(page)[-1][0], "")]
    words = rows_of(page)[-1][1]
    assert (
        refreshed.replace(
            "forget_all(user, device)` |  |", f"forget_all(user, device)` | {words} |"
        )
        == page
    )
