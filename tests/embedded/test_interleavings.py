"""Two or three threads, switched at every line of the engine; what they see is put in order.

``INTERLEAVE_EVERY=1`` stops at each line, without it at every few; where two preemptions are tried
among lines, it stops at one line in ``TWO``. What the store holds in the end, and what it holds
when the process has died and it was opened again, belong to the history too.
"""

import os
from functools import partial

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded.forest import Forest
from conduitstore.errors import ClosedError, PoisonedError
from conduitstore.testing.damage import disk_of, image_of
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.testing.histories import Recorder, check, projected
from conduitstore.testing.scheduler import Case, Deadlock, World, explore, replay

pytestmark = pytest.mark.interpreted("it stops at lines")
EVERY = int(os.environ.get("INTERLEAVE_EVERY", "151"))
TWO = max(7, EVERY)
KEYS = [bytes([number]) for number in range(0, 24, 2)]
T, U = "__default__", "other"
BEFORE = {**{(T, key): b"old" for key in KEYS}, (U, b"twin"): b"old" * 9}
SETTINGS = {
    "flush_every_ms": None,
    "leaf_entries_max": 4,
    "cache_capacity_bytes": 600,
    "blob_bytes_min": 20,
    "log_keep_bytes": 0,
}


def _prepared():
    """A store whose leaves are on the disk, in segments that are worth rewriting."""
    disk = SimulatedDisk()
    db = embedded.open("store", files=disk, **SETTINGS)
    db.open_tree(U).insert(b"twin", b"old" * 9)
    for key in KEYS:
        db.insert(key, b"first")
    db.checkpoint()
    for key in KEYS:
        db.insert(key, b"old")
    db.close()
    return image_of(disk.directory("store"))


IMAGE = _prepared()


# What a thread may do -----------------------------------------------------------------------------


def commit(mine, _db):
    def run(steps):
        steps.call("insert", T, KEYS[2], b"twins")
        steps.call("insert", U, b"twin", b"twins" * 9)
        steps.call("insert", T, KEYS[9], b"twins")

    mine.transaction(run)


def put(mine, _db):
    mine.call("insert", T, KEYS[2], b"put")


def remove(mine, _db):
    mine.transaction(lambda steps: [steps.call("remove", T, key) for key in KEYS[2:9]])


def split(mine, _db):
    def run(steps):
        for number in range(5):
            steps.call("insert", T, KEYS[3] + bytes([number]), b"new")

    mine.transaction(run)


def create(mine, _db):
    mine.call("insert", "new", b"k", b"v")


def snapshot(mine, db):
    def read(steps):
        for tree in (T, U):
            steps.call("range", tree, None, None)
            steps.call("length", tree)

    mine.snapshot(read, lambda: db.get(KEYS[7]))


def point_reads(mine, _db):
    for tree, key in ((T, KEYS[2]), (U, b"twin"), (T, KEYS[9])):
        mine.call("get", tree, key)
    mine.call("contains_key", T, KEYS[4])


def iterate(mine, db):
    mine.walk(T, lambda: db.get(KEYS[5]))


def backwards(mine, db):
    mine.walk(T, lambda: db.get(KEYS[11]), reverse=True)
    mine.call("get_many", T, (*KEYS, b"absent"))


def load_and_evict(_mine, db):
    """Through a cache that holds two leaves."""
    for key in KEYS[::3]:
        assert db.get(key) in (b"old", b"put", b"twins", None)


def checkpoint(_mine, db):
    db.checkpoint()


def rewrite(_mine, db):
    db.compact()


def close(_mine, db):
    db.close()


WRITES = [commit, put, remove, split, create]
READS = [snapshot, point_reads, iterate, backwards, load_and_evict]
KEEPS = [checkpoint, rewrite, close]
EVERYTHING = [*WRITES, *READS, *KEEPS]


def case(actions, _world):
    """Each action in a task of its own, on one store."""
    disk = disk_of(IMAGE)
    db = embedded.open("store", files=disk, **SETTINGS)
    db.insert(KEYS[3], b"old")  # One leaf is dirty.
    recorder = Recorder()
    hands = [recorder.thread(db) for _ in actions]
    tasks = [partial(action, mine, db) for action, mine in zip(actions, hands, strict=True)]

    def finish(endings):
        for ending in endings:
            if ending.error is not None and not (
                close in actions and isinstance(ending.error, ClosedError)
            ):
                raise ending.error
        if close not in actions:
            look(recorder, db)
        disk.kill()
        db.abandon()
        with embedded.open("store", files=disk, **SETTINGS) as again:
            look(recorder, again)
            assert list(again.verify()) == []
        check_all(recorder.history(), [i for i, one in enumerate(actions) if one is point_reads])

    return Case(tasks, finish)


def check_all(history, point_readers):
    """Snapshots, iterators and commits have one order; point reads have one on each key."""
    check([one for one in history if one.thread not in point_readers], BEFORE)
    steps = [step for one in history for step in one.steps if type(step.args[-1]) is bytes]
    for row in {step.args[:2] for step in steps}:
        check(projected(history, row), {row: BEFORE[row]} if row in BEFORE else {})


def look(recorder, db):
    """The end of the history: everything there is."""
    trees = [T, U, *(["new"] if "new" in db.tree_names() else [])]
    mine = recorder.thread(db)
    mine.transaction(lambda steps: [steps.call("range", tree, None, None) for tree in trees])


PAIRS = [
    (one, other)
    for at, one in enumerate(EVERYTHING)
    for other in EVERYTHING[at:]
    if not (one in READS and other in READS)
]


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(one.__name__ for one in pair))
def test_every_interleaving_of_one_preemption(pair, faults):
    report = explore(partial(case, pair), every=EVERY, offset=PAIRS.index(pair))
    faults["runs"] += report.runs_total


SHORT = [
    (one, other)
    for one in (put, create)
    for other in (put, snapshot, point_reads, iterate)
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("pair", SHORT, ids=lambda pair: "-".join(one.__name__ for one in pair))
def test_every_interleaving_of_two_preemptions(pair, faults):
    """Of what is short, at lines."""
    report = explore(partial(case, pair), preemptions=2, every=TWO)
    faults["runs"] += report.runs_total


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(one.__name__ for one in pair))
def test_every_interleaving_of_two_preemptions_at_locks(pair, faults):
    """Of everything, before and behind each lock."""
    report = explore(partial(case, pair), preemptions=2, unit="lock", every=max(1, EVERY // 12))
    faults["runs"] += report.runs_total


TRIPLES = [(commit, checkpoint, snapshot), (put, commit, rewrite), (remove, close, iterate)]


@pytest.mark.slow
@pytest.mark.parametrize("three", TRIPLES, ids=lambda one: "-".join(a.__name__ for a in one))
def test_every_interleaving_of_three_threads(three, faults):
    """With one preemption at lines and two at locks."""
    faults["runs"] += explore(partial(case, three), every=3 * EVERY).runs_total
    report = explore(partial(case, three), preemptions=2, unit="lock", every=max(1, EVERY // 6))
    faults["runs"] += report.runs_total


class NoLock:
    __enter__ = __exit__ = lambda *_: None


@pytest.mark.slow
def test_an_engine_without_its_apply_lock_is_found_out(monkeypatch):
    nothing = property(lambda _: NoLock(), lambda *_: None)
    monkeypatch.setattr(Forest, "lock", nothing, raising=False)
    with pytest.raises(AssertionError, match="no order explains") as caught:
        explore(partial(case, (snapshot, commit)), every=5)
    script = caught.value.__notes__[-1].partition("\n")[2]
    assert "    partial(case, (snapshot, commit)),\n    {" in script
    with pytest.raises(AssertionError, match="no order explains"):
        exec(script, {})
    monkeypatch.undo()
    exec(script, {})


@pytest.mark.slow
def test_a_leaf_that_changes_under_an_iterator_is_found_out(monkeypatch):
    monkeypatch.setattr(Forest, "_is_held", lambda *_: False)
    with pytest.raises((AssertionError, KeyError)) as caught:
        explore(partial(case, (iterate, remove)), every=5)
    assert any("replay(make, {" in note for note in caught.value.__notes__)


def test_a_deadlock_is_found_out():
    def make(world):
        one, other = world.lock(), world.lock()

        def both(first, second):
            with first, second:
                pass

        return Case([partial(both, one, other), partial(both, other, one)], lambda _endings: None)

    explore(make, preemptions=0, unit="lock")
    with pytest.raises(Deadlock) as caught:
        explore(make, preemptions=1, unit="lock")
    assert "replay(make, {" in caught.value.__notes__[0]
    assert "replay(\n    make,\n    {" in caught.value.__notes__[-1]


def test_a_failure_is_told_with_no_more_switches_than_it_takes():
    """Four tasks of which two matter: any switch between the others is left out."""

    def make(world: World):
        seen = []

        def write():
            seen.append("begun")
            world.point()
            seen.append("done")

        def look():
            assert seen[-1:] != ["begun"], "half a write"

        def idle():
            for _ in range(3):
                world.point()

        def check(endings):
            for ending in endings:
                if ending.error is not None:
                    raise ending.error

        return Case([idle, write, look, idle], check)

    with pytest.raises(AssertionError, match="half a write") as caught:
        explore(make, preemptions=3, unit="lock")
    note = caught.value.__notes__[-1]
    schedule = eval(note.partition("make,\n")[2].partition("},")[0] + "}")
    with pytest.raises(AssertionError, match="half a write"):
        replay(make, schedule, unit="lock")
    for step in schedule:
        fewer = {at: task for at, task in schedule.items() if at != step}
        replay(make, fewer, unit="lock")


def test_it_finds_what_takes_two_preemptions_and_each_schedule_is_tried_once():
    seen = set()

    def make(world: World):
        steps = []

        def walk(number):
            for _ in range(3):
                steps.append(number)
                world.point()

        return Case([lambda: walk(0), lambda: walk(1)], lambda _endings: seen.add(tuple(steps)))

    totals = [explore(make, preemptions=bound, unit="lock").runs_total for bound in range(5)]
    assert len(seen) == 20  # All the ways to interleave three and three.
    assert totals[0] == 2
    assert sorted(totals) == totals
    seen.clear()
    explore(make, preemptions=1, unit="lock")
    assert (0, 1, 1, 1, 0, 0) in seen
    assert (0, 1, 1, 0, 0, 1) not in seen


def test_a_latched_store_is_no_wrong_answer():
    """An error with a type ends the run as an error; the schedule comes along."""

    def make(_world):
        db = embedded.open("store", files=SimulatedDisk(), flush_every_ms=None)
        db.latch(RuntimeError(), is_torn=True)

        def finish(endings):
            raise endings[0].error

        return Case([lambda: db.get(b"k")], finish)

    with pytest.raises(PoisonedError) as caught:
        explore(make)
    assert "replay(make, {}" in caught.value.__notes__[0]
