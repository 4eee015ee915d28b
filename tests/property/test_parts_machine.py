"""Random lives of a whole store: what its readers see is what a plain model says.

Every life ends with a check that finds nothing, derived trees that are right, and devices that were
told everything once. See the package ``parts``.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import rule, run_state_machine_as_test
from parts.media import Media
from parts.outside import Outside
from parts.syncs import Syncs
from parts.upkeeps import Upkeeps

SHRINK_SECONDS_MAX = 30
"""A failing life that is still long by then is shown as it is."""

LIVES = settings(
    settings.default,
    max_examples=settings.default.max_examples // 5,
    stateful_step_count=settings.default.stateful_step_count // 4,
)


class Areas(Upkeeps, Syncs, Outside, Media):
    """All areas in one store."""


ACTS = st.tuples(st.sampled_from(Areas.acts()), st.integers(0, 1 << 16))


class Machine(Areas):
    """Many things at a time, so that a life is full whatever Hypothesis thinks of."""

    @rule(
        acts=st.lists(
            st.tuples(st.sampled_from(Areas.acts()), st.integers(0, 1 << 16)),
            min_size=20,
            max_size=40,
        )
    )
    def live(self, acts):
        for name, number in acts:
            self.perform(name, number)


@pytest.fixture(autouse=True)
def _shrink_for_seconds_not_for_minutes(monkeypatch):
    """Hypothesis has no setting for it, but keeps this name for whoever wants another bound."""
    monkeypatch.setattr(engine, "MAX_SHRINKING_SECONDS", SHRINK_SECONDS_MAX)


@pytest.mark.timeout(10 * settings.default.max_examples)
def test_every_life_of_a_store_goes_as_the_model_says():
    run_state_machine_as_test(Machine, settings=LIVES)
