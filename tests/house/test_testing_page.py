"""docs/testing.md: its examples run, and its table lists every suite that counts faults."""

import re

import pytest

from conduitstore.testing.disk import KEEPS

WITH_FIXTURE = re.compile(r"^def test_.*\bfaults\)", re.MULTILINE)
COUNTED = re.compile(r'(?:tally\(|= explored\(\d+, errno\.\w+, )"([^"]+)"')


@pytest.fixture
def page(root):
    return (root / "docs/testing.md").read_text()


def test_its_examples_run(page):
    names = {"__name__": "docs_testing"}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/testing.md", "exec"), names)


def test_its_table_has_every_suite_where_it_is(page, root):
    rows = re.findall(r"^\| ([^|`]+) \| `(tests/[^`]+)` \|", page, re.MULTILINE)
    counted = {
        (suite, str(path.relative_to(root)))
        for path in sorted((root / "tests").rglob("test_*.py"))
        for suite in COUNTED.findall(path.read_text())
    }
    counted |= {
        (path.stem.removeprefix("test_").replace("_", " "), str(path.relative_to(root)))
        for path in sorted((root / "tests").rglob("test_*.py"))
        if WITH_FIXTURE.search(path.read_text())
    }
    counted.add(("errors in every call", "tests/crash/test_every_error.py"))
    assert set(rows) == counted


def test_its_rules_are_those_of_the_disk(page):
    assert tuple(re.findall(r"^\| `(\w+)` \| ", page, re.MULTILINE)) == KEEPS
