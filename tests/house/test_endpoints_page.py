"""docs/endpoints.md names calls that there are, and every part that a homeserver calls."""

import re
import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools/refresh_part_pages.py"))
# What only other parts call, or who needs no endpoint to.
INSIDE = {"rooms.indexes", "rooms.short"}


@pytest.fixture(scope="module")
def named(root):
    page = (root / "docs" / "endpoints.md").read_text()
    rows = re.findall(r"^\| .+ \| (.+) \|$", page, re.MULTILINE)
    return [call for row in rows for call in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", row)]


def test_every_call_is_there(named):
    calls = {f"{path}.{name}" for path in TOOL["KINDS"] for name in TOOL["calls_of"](path)}
    assert len(named) > 150
    assert set(named) - calls == {"rooms.append", "store.gc"}  # One is called itself, one no part.


def test_every_part_has_an_endpoint(named):
    used = {path for path in TOOL["KINDS"] for call in named if f"{call}.".startswith(f"{path}.")}
    assert TOOL["KINDS"].keys() - used == INSIDE
