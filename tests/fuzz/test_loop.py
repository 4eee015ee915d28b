"""The fuzzer itself: it finds bugs that are planted for it, and says with which input."""

import re

import pytest
from targets import TARGETS

from conduitstore.engine.embedded import columns
from conduitstore.testing.fuzz import PACKAGE, fuzz

# Each line is reached only through the one before: by blind chance that takes millions of runs.
MAZE = """
def walk(data):
    if data[:1] != b"s":
        return
    if data[1:2] != b"l":
        return
    if data[2:3] != b"e":
        return
    if data[3:5] != b"\\xff\\xff":
        return
    raise KeyError("planted")
"""


def planted(path):
    names = {}
    exec(compile(MAZE, path, "exec"), names)
    return names["walk"]


def found(run, seeds, *, seed=1, runs):
    """The input that its error's note has."""
    with pytest.raises((KeyError, TypeError, ValueError)) as caught:
        fuzz(run, seeds, seed=seed, runs=runs)
    (note,) = caught.value.__notes__
    data = bytes.fromhex(re.fullmatch(r"the input: bytes\.fromhex\('(.*)'\)", note)[1])
    with pytest.raises(caught.type):
        run(data)
    return data


def test_it_comes_through_a_maze_line_by_line():
    run = planted(f"{PACKAGE}/planted.py")
    assert found(run, [b"tree"], runs=20_000).startswith(b"sle\xff\xff")
    report = fuzz(planted("elsewhere.py"), [b"tree"], seed=1, runs=20_000)
    assert (report.runs_total, report.corpus_total, report.lines_total) == (20_000, 1, 0)


def test_what_it_tries_is_the_same_for_a_seed():
    tried = {}
    for life, seed in (("first", 1), ("again", 1), ("other", 2)):
        tried[life] = []
        fuzz(tried[life].append, [b"one input", b"another"], seed=seed, runs=50)
    assert tried["first"] == tried["again"] != tried["other"]


@pytest.mark.slow
@pytest.mark.interpreted("it replaces a function of a module")
def test_a_decoder_that_lost_a_check_is_found_out(monkeypatch):
    monkeypatch.setattr(columns, "_check_references", lambda _: None)
    target = TARGETS["reference"]
    found(target.run, target.seeds, runs=500)
