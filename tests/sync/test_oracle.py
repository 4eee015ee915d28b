"""What a real homeserver answered to the same syncs over the same history.

`tools/compare_syncs.py` replays the history, asks at the same moments and finds for each difference
its reason. docs/sync.md has the table: a change in any total fails, so that it has to be looked at.
"""

import re
import runpy

import pytest


@pytest.fixture(scope="module")
def tally(request):
    tool = request.config.rootpath / "tools/compare_syncs.py"
    return runpy.run_path(str(tool))["compare"]()


def test_every_difference_has_a_reason(tally):
    assert tally.unexplained == []


def test_the_documented_table_is_what_is_found(tally, request):
    page = (request.config.rootpath / "docs/sync.md").read_text()
    assert "\n".join(tally.rows()) in page, "run tools/compare_syncs.py, and look at what changed"


def test_what_has_to_be_the_same_is(tally):
    """No reason is accepted for these."""
    for section in ("invites", "knocks", "leaves", "left rooms", "to-device messages"):
        assert {reason for where, reason in tally.totals if where == section} == {"the same"}


def test_most_is_the_same(tally):
    same = {where: total for (where, reason), total in tally.totals.items() if reason == "the same"}
    assert same["timelines"] == 535
    assert same["state events"] == 1485
    assert same["summaries"] == 72


def test_the_example_of_the_page_runs(request):
    page = (request.config.rootpath / "docs/sync.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    exec(compile(example, "docs/sync.md", "exec"), {})
