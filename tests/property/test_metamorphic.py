"""One history under many settings: how a store is kept must not change what it answers.

``METAMORPHIC_TOTAL`` says under how many settings, ``METAMORPHIC_SEED`` which history and which
settings. A failure names the settings: ``check(history(SEED), SETTINGS)`` repeats it.
"""

import io
import os
import random

import pytest

from conduitstore.engine import Batch, embedded
from conduitstore.testing import MemoryDatabase
from conduitstore.testing.disk import SimulatedDisk

TOTAL = int(os.environ.get("METAMORPHIC_TOTAL", "104"))
SEED = int(os.environ.get("METAMORPHIC_SEED", "1"))
TREES = ("__default__", "a", "b")


def settings_of(seed):
    """Anything that may be chosen."""
    chance = random.Random(seed)
    return {
        "leaf_entries_max": chance.choice((3, 4, 5, 17, 128, 1_000)),
        "leaf_bytes_max": chance.choice((64, 200, 3_000, 16_384, 1 << 20)),
        "blob_bytes_min": chance.choice((1, 10, 100, 4_096)),
        "cache_capacity_bytes": chance.choice((0, 300, 5_000, 1 << 28)),
        "segment_bytes_target": chance.choice((1, 500, 10_000, 1 << 26)),
        "compression_level": chance.choice((0, 1, 3, 9)),
        "durability": chance.choice(("none", "interval", "commit")),
        "checkpoint_log_bytes": chance.choice((1, 700, 5_000, 1 << 26)),
        "dirty_bytes_max": chance.choice((1, 4_000, 1 << 27)),
        "log_keep_bytes": chance.choice((0, 1_000, 1 << 20)),
        "flush_every_ms": chance.choice((None, None, 1, 500)),
        "idgen_persist_interval": chance.choice((1, 7, 1_000_000)),
    }


# The history --------------------------------------------------------------------------------------


class History:
    """Calls in an order, each a function of a store; keepers only ask the store to keep itself."""

    def __init__(self, seed, total=110):
        self.chance = random.Random(seed)
        self.steps = [self.step() for _ in range(total)]

    def key(self):
        return self.chance.randbytes(self.chance.choice((1, 1, 1, 2, 9)))

    def value(self):
        size = self.chance.choice((0, 1, 8, 50, 150, 5_000))
        return self.chance.randbytes(size // 2) + bytes(size - size // 2)

    def step(self):
        chance, tree, key, value = self.chance, self.chance.choice(TREES), self.key(), self.value()
        keys = [self.key() for _ in range(6)]
        lo, hi = self.key(), self.key()
        number = chance.randrange(1, 9)
        rows = [(chance.choice(TREES), self.key(), self.value()) for _ in range(12)]
        options = {"reverse": chance.random() < 0.5, "limit": chance.choice((None, 0, 3, 50))}

        def batch(db):
            writes = Batch()
            for name, one, other in rows:
                writes.insert(name, one, other) if len(one) > 1 else writes.remove(name, one)
            db.apply_batch(writes)

        def transaction(db):
            def run(tx):
                count = tx.next_count()
                seen = list(tx.open_tree(tree).range(lo, hi))
                for name, one, other in rows[:number]:
                    tx.open_tree(name).insert(one, other)
                tx.open_tree(tree).remove_prefix(keys[0][:1])
                return count, seen, tx.get(key), len(tx.open_tree(tree)), tx.generate_id()

            return db.transaction(run)

        def undone(db):
            def run(tx):
                tx.open_tree(tree).clear()
                tx.next_count()
                raise KeyError

            with pytest.raises(KeyError):
                db.transaction(run)

        def on(name, *args, **more):
            return lambda db: _listed(getattr(db.open_tree(tree), name)(*args, **more))

        calls = [
            *(on("insert", key, value),) * 5,
            on("remove", key),
            on("get", key),
            on("contains_key", key),
            on("get_many", keys),
            on("range", lo, hi, **options),
            on("ranges", [(lo, hi), (hi, None), (None, lo)], **options),
            on("range", min(lo, hi), max(lo, hi), **options),
            on("scan_prefix", key[:1], **options),
            on("keys", key[:1], **options),
            on("first"),
            on("last"),
            on("get_lt", key),
            on("get_gt", key),
            on("pop_min"),
            on("increment", b"number"),
            on("compare_and_swap", key, None, value),
            on("__len__"),
            *(batch,) * 3,
            *(transaction,) * 3,
            undone,
            seen_before(tree, key, value, keys),
            held(tree, keys[1][:1], options, number),
            lambda db: (db.drop_tree("b"), db.tree_names()),
            lambda db: list(db.reserve_ids(number)),
            lambda db: (db.generate_id(), db.current_count()),
            lambda db: db.checksum(),
            "checkpoint",
            "compact",
            "flush",
            "reopen",
        ]
        return chance.choice(calls)


def seen_before(tree, key, value, keys):
    """A snapshot, read behind a later write."""

    def step(db):
        with db.snapshot() as view:
            db.open_tree(tree).insert(key, value)
            other = view.open_tree(tree)
            return list(other), len(other), view.current_count(), other.get_many(keys)

    return step


def held(tree, prefix, options, number):
    """An iterator, walked from both ends behind a later write."""

    def step(db):
        items = db.open_tree(tree).range(**options)
        db.open_tree(tree).remove_prefix(prefix)
        ends = items.next_back(), next(items, None)
        return ends, list(items) if number % 2 else list(reversed(items))

    return step


def _listed(answer):
    return list(answer) if hasattr(answer, "__next__") else answer


def live(steps, db, keep):
    """Every answer; and the whole store in the end, in every way it can be read."""
    answers = []
    for step in steps:
        if isinstance(step, str):
            db = keep(db, step)
        else:
            answers.append(step(db))
    with db.snapshot() as view:
        for keyspace in (db, view):
            for name in TREES:
                tree = keyspace.open_tree(name)
                rows = list(tree)
                answers += [rows, list(tree.range(reverse=True)), len(tree), list(tree.keys())]
                answers += [tree.get_many([key for key, _ in rows])]
    answers += [db.tree_names(), db.current_count(), db.checksum(), db.sequence]
    answers += [b"".join(db.export(compression_level=level)) for level in (0, 3)]
    assert list(db.verify()) == []
    return answers, db


def keep_nothing(db, _step):
    return db


def keeper(disk, settings):
    def keep(db, step):
        if step == "reopen":
            db.close()
            db = embedded.open("store", files=disk, **settings)
            assert not db.was_recovered
        elif step == "flush":
            db.flush()
        else:
            getattr(db, step)()
        return db

    return keep


def check(steps, settings, wanted):
    disk = SimulatedDisk()
    first = embedded.open("store", files=disk, **settings)
    try:
        found, db = live(steps, first, keeper(disk, settings))
        with db:
            assert len(found) == len(wanted)
            for at, (one, other) in enumerate(zip(found, wanted, strict=True)):
                assert one == other, f"answer {at}"
            taken = MemoryDatabase()
            taken.import_(io.BytesIO(found[-1]))
            assert taken.checksum() == db.checksum()
    except BaseException as error:
        error.add_note(f"under {settings!r}")
        raise


@pytest.fixture(scope="module")
def lives():
    """Some histories, and what the engine in memory answers."""
    made = [History(seed) for seed in range(SEED, SEED + 4)]
    return [(one.steps, live(one.steps, MemoryDatabase(), keep_nothing)[0]) for one in made]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_setting_changes_an_answer(lives, part, faults):
    steps, wanted = lives[part]
    assert len(wanted) > 100
    for number in range(part, TOTAL, 4):
        check(steps, settings_of(SEED * 10_000 + number), wanted)
        faults["settings"] += 1


@pytest.mark.slow
def test_a_wrong_answer_is_found_out(lives, monkeypatch):
    steps, wanted = lives[0]
    monkeypatch.setattr(embedded.Store, "current_count", lambda _: 7)
    with pytest.raises(AssertionError, match="answer") as caught:
        check(steps, settings_of(3), wanted)
    assert "leaf_entries_max" in caught.value.__notes__[0]
