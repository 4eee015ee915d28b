"""The page of features: every test that it names is there, and every row says what watches it."""

import re
from dataclasses import fields

import pytest

from conduitstore.engine import embedded, postgres

TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
BENCHMARK = re.compile(r"`(benchmarks/\w+\.py)`")


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "features.md").read_text()


def rows_of(page):
    """Cells of each row, headings and rules left out."""
    lines = re.findall(r"^\| (.+) \|$", page, flags=re.MULTILINE)
    rows = [line.split(" | ") for line in lines]
    return [row for row in rows if row[-1] != "Watched by"]


def test_every_test_it_names_is_there(root, page):
    named = TEST.findall(page)
    assert len(named) > 100
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (root / file).exists()
        or not re.search(rf"^(async )?def {name}\(", (root / file).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_row_is_watched_or_measured(root, page):
    rows = rows_of(page)
    assert len(rows) > 60
    assert [row for row in rows if not TEST.search(row[-1]) and not BENCHMARK.search(row[-1])] == []
    assert all((root / script).exists() for script in BENCHMARK.findall(page))


@pytest.mark.parametrize(
    ("heading", "settings"),
    [("Settings", embedded.Settings), ("Settings on PostgreSQL", postgres.Settings)],
)
def test_every_setting_is_watched(page, heading, settings):
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [row[0].strip("`") for row in rows_of(section)]
    assert rows == [field.name for field in fields(settings)]
