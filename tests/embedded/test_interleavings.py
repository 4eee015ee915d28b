"""Two threads, one switch: at every line that one runs in the engine, the other does all it wants.

The first thread is stopped at its nth line, for every n. The second one then runs until it is done
or waits for a lock; then the first goes on. What both answer, and what is left, must be as if one
had come before the other. Errors of concurrency that need one unlucky moment have nowhere to hide;
those that need two are left to chance, in ``tests/conformance/test_threads.py``.

``INTERLEAVE_EVERY=1`` tries each line; without it, every few of them.
"""

import os
import sys
import threading

import pytest

from conduitstore.engine import Batch, embedded
from conduitstore.testing.disk import SimulatedDisk

EVERY = int(os.environ.get("INTERLEAVE_EVERY", "18"))
ENGINE = os.path.dirname(embedded.__file__)  # noqa: PTH120 - compared with what frames say
WAITS_SECONDS = 0.004
"""Who is not done by then is taken to wait for a lock. If it was only slow, nothing is wrong."""

KEYS = [bytes([number]) for number in range(0, 24, 2)]
BEFORE = {"__default__": dict.fromkeys(KEYS, b"old"), "other": {b"twin": b"old"}}


def store():
    """Leaves of four, all of them on the disk and none in memory but a dirty one."""
    db = embedded.open(
        "store",
        files=SimulatedDisk(),
        flush_every_ms=None,
        leaf_entries_max=4,
        cache_capacity_bytes=600,
    )
    for key in KEYS:
        db.insert(key, b"old")
    db.open_tree("other").insert(b"twin", b"old")
    db.checkpoint()
    db.insert(KEYS[3], b"old")
    return db


def content(view):
    return {name: dict(view.open_tree(name).range()) for name in view.tree_names()}


# What a thread may do, and what that is to the content -------------------------------------------


def put_twins(db):
    def run(tx):
        tx.insert(KEYS[2], b"twins")
        tx.open_tree("other").insert(b"twin", b"twins")
        tx.insert(KEYS[9], b"twins")

    db.transaction(run)


def twins(model):
    model["__default__"] |= {KEYS[2]: b"twins", KEYS[9]: b"twins"}
    model["other"][b"twin"] = b"twins"


def remove_leaves(db):
    batch = Batch()
    for key in KEYS[2:9]:
        batch.remove(db, key)
    db.apply_batch(batch)


def removed(model):
    for key in KEYS[2:9]:
        model["__default__"].pop(key, None)


def split_leaf(db):
    batch = Batch()
    for number in range(5):
        batch.insert(db, KEYS[3] + bytes([number]), b"new")
    db.apply_batch(batch)


def split(model):
    model["__default__"] |= {KEYS[3] + bytes([number]): b"new" for number in range(5)}


def held(db):
    """An iterator that is walked long after it was made."""
    items = db.range()
    first = [next(items), next(items)]
    db.get(KEYS[5])
    return dict(first + list(items))


def snapshot(db):
    with db.snapshot() as view:
        return content(view)


def backwards(db):
    return dict(db.range(reverse=True))


def many(db):
    return db.get_many(KEYS)


def checkpoint(db):
    db.checkpoint()


def compact(db):
    db.compact()


WRITES = {put_twins: twins, remove_leaves: removed, split_leaf: split}
READS = {
    snapshot: lambda model: model,
    held: lambda model: model["__default__"],
    backwards: lambda model: model["__default__"],
    many: lambda model: [*map(model["__default__"].get, KEYS)],
    len: lambda model: len(model["__default__"]),
}
KEEPS = [checkpoint, compact]


def after(*writes):
    model = {name: dict(tree) for name, tree in BEFORE.items()}
    for write in writes:
        if write in WRITES:
            WRITES[write](model)
    return model


class Switch:
    """Runs ``one``; at its ``at``-th line in the engine, runs ``other`` in its own thread."""

    def __init__(self, db, one, other, at):
        self.answers, self.errors, self.lines_total = {}, [], 0
        self._at, self._there, self._go_on = at, threading.Event(), threading.Event()
        threads = [
            threading.Thread(target=self._run, args=(0, one, db), daemon=True),
            threading.Thread(target=self._run, args=(1, other, db), daemon=True),
        ]
        threads[0].start()
        assert self._there.wait(20)
        threads[1].start()
        threads[1].join(WAITS_SECONDS)
        self._go_on.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), "each waits for the other"

    def _run(self, number, action, db):
        try:
            if number == 0:
                sys.settrace(self._trace)
            self.answers[number] = action(db)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            self.errors.append(error)
        finally:
            sys.settrace(None)
            self._there.set()

    def _trace(self, frame, _event, _arg):
        return self._line if frame.f_code.co_filename.startswith(ENGINE) else None

    def _line(self, _frame, event, _arg):
        if event == "line":
            self.lines_total += 1
            if self.lines_total == self._at:
                self._there.set()
                assert self._go_on.wait(20)
        return self._line


PAIRS = [
    (one, other)
    for one in [*WRITES, *READS, *KEEPS]
    for other in [*WRITES, *READS, *KEEPS]
    if one in WRITES or other in WRITES
    if not (one in WRITES and other in [*READS][2:])  # Much like the two before them.
]


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_one_switch_at_every_line(one, other):
    at = 1 + PAIRS.index((one, other)) % EVERY
    while True:
        db = store()
        done = Switch(db, one, other, at)
        if done.errors:
            raise AssertionError(f"at line {at}") from done.errors[0]
        for number, (action, beside) in enumerate(((one, other), (other, one))):
            if action in READS:
                wanted = [READS[action](after()), READS[action](after(beside))]
                assert done.answers[number] in wanted, at
        assert content(db) in (after(one, other), after(other, one)), at
        db.directory._disk.kill()
        with embedded.open("store", files=db.directory._disk, flush_every_ms=None) as again:
            assert content(again) in (after(one, other), after(other, one)), at
        if done.lines_total < at:
            return
        at += EVERY
