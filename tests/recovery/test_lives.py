"""Random lives, damaged in random places, again and again: what every opening may give."""

import copy
import os
import random

import pytest
from damaged import SETTINGS, Lived, bytes_of, flipped, open_on, replaced

from conduitstore.engine.embedded import counters, names
from conduitstore.errors import CorruptedError, UnsupportedFormatError
from conduitstore.testing.crash import content
from conduitstore.testing.report import tally

SEEDS = range(30 * int(os.environ.get("CRASH_SEEDS", "1")))
TREES = ("t", "u", "v", "__default__")


@pytest.fixture(autouse=True)
def small_reserves(monkeypatch):
    """Ceilings that are raised every few draws."""
    monkeypatch.setattr(counters, "COUNT_RESERVE", 3)


class Life(Lived):
    """Commits, checkpoints, trees dropped, ids taken, ends of all kinds; the same for a seed."""

    def __init__(self, seed):
        super().__init__()
        self.chance = chance = random.Random(seed)
        self.settings = {
            "checkpoint_log_bytes": chance.choice((600, 2_000, 1 << 20)),
            "log_keep_bytes": chance.choice((0, 500, 1 << 20)),
            "compression_level": chance.choice((0, 3)),
        }
        self.db = self.open()
        for _ in range(chance.randrange(10, 70)):
            self.step()
        self.end()

    def open(self, **settings):
        return open_on(self.disk, **SETTINGS | self.settings | settings)

    def step(self):
        chance, db = self.chance, self.db
        what = chance.choices(
            ("commit", "checkpoint", "compact", "drop", "ids", "close", "kill"),
            (70, 8, 4, 4, 4, 4, 3),
        )[0]
        if what == "commit":
            self.write_random()
        elif what == "drop":
            db.drop_tree(chance.choice(TREES[:3]))
        elif what == "ids":
            self.ids += db.reserve_ids(chance.randrange(30))
        elif what in ("close", "kill"):
            self.end(is_clean=what == "close")
            self.db = self.open()
        else:
            getattr(db, what)()
        self.states[self.db.sequence] = content(self.db)

    def write_random(self):
        chance = self.chance
        sizes = [chance.choice((None, 0, 1, 9, 60, 300)) for _ in range(chance.randrange(1, 5))]
        writes = [
            (bytes([chance.randrange(24)]), None if size is None else chance.randbytes(size))
            for size in sizes
        ]
        self.commit(self.db, chance.choice(TREES), writes)

    def end(self, *, is_clean=None):
        if self.chance.random() < 0.4 if is_clean is None else is_clean:
            self.db.close()
        else:
            self.db.flush()
        self.disk.kill()


def damaged(disk, chance):
    """One to five damages; and whether something is missing that nothing else tells of."""
    is_cut, total = False, chance.choice((1, 1, 1, 2, 5))
    tally("damaged lives", total)
    for _ in range(total):
        name = chance.choice([n for n in disk.directory("store").names() if names.parse(n)])
        data = bytes_of(disk, name)
        at = chance.randrange(len(data) or 1)
        how = chance.choices(("flip", "garbage", "cut", "gone"), (7, 1, 1, 1))[0]
        if how == "flip" and data:
            disk = flipped(disk, name, at)
        elif how == "garbage":
            disk = replaced(disk, name, data[:at] + chance.randbytes(99) + data[at + 99 :])
        else:
            disk = replaced(disk, name, data[:at] if how == "cut" else None)
            is_cut = True
    return disk, is_cut


def check_values(life, found):
    for tree, rows in found.items():
        for key, value in rows:
            if tree.startswith("salvaged_"):
                assert any(value in values for values in life.written.values())
            else:
                assert value in life.written[tree, key]


def check_numbers(life, db):
    assert db.current_count() >= life.count
    taken = list(db.reserve_ids(3))
    assert not set(taken).intersection(life.ids)
    life.ids += taken


@pytest.mark.parametrize("mode", ["strict", "prefix", "salvage"])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_an_opening_gives(seed, mode):
    life = Life(seed)
    for _ in range(4):
        after = copy.copy(life)
        after.disk, is_cut = damaged(life.disk, life.chance)
        after.ids = life.ids.copy()
        try:
            db = after.open(recover=mode)
            found = content(db)
        except (CorruptedError, UnsupportedFormatError):
            assert mode != "salvage"
            continue
        report = db.recovery_report
        if report.mode == "salvage":
            check_values(life, found)
            assert list(db.verify()) == []
        else:
            assert found == life.states[report.sequence]
        if not is_cut:
            check_numbers(after, db)
        db.insert(b"after", b"it")
        db.checkpoint()
        kept = content(db)
        db.close()
        with after.open() as db:
            assert content(db) == kept
            assert db.recovery_report.mode == "strict"


@pytest.mark.parametrize("seed", SEEDS)
def test_damage_after_damage(seed):
    life = Life(seed)
    for _ in range(5):
        life.disk, is_cut = damaged(life.disk, life.chance)
        mode = life.chance.choice(("prefix", "salvage"))
        try:
            life.db = life.open(recover=mode)
        except (CorruptedError, UnsupportedFormatError):
            assert mode == "prefix"
            life.db = life.open(recover="salvage")
        try:
            check_values(life, content(life.db))
        except CorruptedError:  # Of a leaf, which prefix leaves to repair.
            assert life.db.recovery_report.mode != "salvage"
            life.end()
            continue
        if is_cut:  # What is cut off promises nothing any more.
            life.count, life.ids = 0, []
        check_numbers(life, life.db)
        for _ in range(8):
            life.write_random()
        life.end()
