"""Stores that crash in life after life; see ``conduitstore.testing.lives``."""

import pytest
from effort import EFFORT, SMALL, VARIANTS
from mutants import calls_of, left_out

from conduitstore.testing.lives import live_on
from conduitstore.testing.report import tally

LIVES = 60


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("seed", range(EFFORT * 2))
def test_life_after_life(seed, variant):
    crashes_total = live_on(seed, SMALL | VARIANTS[variant], lives=LIVES, small=True)
    tally("crashes of life after life", crashes_total)
    assert crashes_total > LIVES // 3


def test_a_failure_says_how_to_see_it_again():
    (site,) = (one for one in calls_of("engine/embedded", names=["sync"]) if "append" in one[1])
    with left_out(*site), pytest.raises(Exception) as caught:
        live_on(1, SMALL, lives=LIVES, small=True)
    (note,) = caught.value.__notes__
    assert "live_on(1, " in note
    with pytest.raises(type(caught.value)), left_out(*site):
        exec(note)
