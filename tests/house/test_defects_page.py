"""docs/defects.md: each of Conduit's defects has tests, and each such test is listed."""

import re

import pytest

DEFECTS_TOTAL = 22
TEST = re.compile(r"^ *(?:async )?def (test_defect_(\d\d)_\w+)\(", re.MULTILINE)


@pytest.fixture(scope="module")
def listed(root):
    """Number to the tests its row names."""
    rows = re.findall(
        r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$",
        (root / "docs/defects.md").read_text(),
        re.MULTILINE,
    )
    assert all(len(conduits) > 40 and len(ours) > 10 for _, conduits, ours, _ in rows)
    return {int(number): set(re.findall(r"`([^`]+)`", tests)) for number, _, _, tests in rows}


@pytest.fixture(scope="module")
def written(root):
    """Number to the tests of that name."""
    found = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        for name, number in TEST.findall(path.read_text()):
            tests = found.setdefault(int(number), set())
            tests.add(f"{path.relative_to(root)}::{name}")
    return found


def test_every_defect_has_a_test(listed):
    assert list(listed) == list(range(1, DEFECTS_TOTAL + 1))
    assert all(listed.values())


def test_the_tests_listed_are_the_tests_there_are(listed, written):
    assert listed == written
