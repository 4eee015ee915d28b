"""A short run of the fuzzer over every decoder. ``FUZZ_RUNS`` and ``FUZZ_SEED`` say how long, and
which; ``make fuzz`` runs for as long as you like."""

import os

import pytest
from targets import TARGETS

from conduitstore.testing.fuzz import fuzz

RUNS = int(os.environ.get("FUZZ_RUNS", "20"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_leaves_a_decoder_but_its_errors(name, faults):
    target = TARGETS[name]
    report = fuzz(target.run, target.seeds, seed=SEED, runs=RUNS)
    faults["inputs"] += report.runs_total
    assert report.lines_total > 0
