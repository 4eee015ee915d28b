"""Real processes killed with SIGKILL at random moments: what they acknowledged must be there."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pytest
from killed_writer import SETTINGS, THREADS

from conduitstore.engine import embedded
from conduitstore.errors import InvalidArgumentError, UnsupportedFormatError
from conduitstore.testing.report import tally

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "100"))
ROUNDS_A_STORE = 40


class Nursery:
    """Forks writers, kills them, and hears what they said."""

    def __init__(self):
        script = Path(__file__).with_name("killed_writer.py")
        self._process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def life(self, path, durability, seconds):
        """What a writer said in so many seconds."""
        self._tell(f"{path} {durability}")
        said, timer = defaultdict(list), None
        for line in self._process.stdout:
            word, *numbers = line.split()
            if word == "pid":
                pid = int(numbers[0])
                timer = threading.Timer(seconds, os.kill, (pid, signal.SIGKILL))
                timer.start()
            elif word == "dead":
                timer.join()
                self._tell("bury it")
            elif word == "status":
                assert int(numbers[0]) == -signal.SIGKILL, "it ended by itself"
                return said
            else:
                said[word].append(tuple(map(int, numbers)))
        raise AssertionError("nobody forks any more")

    def _tell(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def nursery():
    it = Nursery()
    yield it
    it.close()


class Promised:
    """What the writers of one store have said, over all of their lives."""

    def __init__(self):
        self.ids, self.newest_count, self.backup = set(), 0, 0
        self.rows = dict.fromkeys(range(THREADS), 0)

    def hear(self, said):
        """Numbers of one life: each is new, and every count above those of the lives before."""
        ids = [number for (number,) in said["id"]]
        assert len(set(ids)) == len(ids)
        assert self.ids.isdisjoint(ids), "an id came twice"
        self.ids.update(ids)
        counts = [number for (number,) in said["count"]]
        assert len(set(counts)) == len(counts), "a count came twice"
        assert not counts or min(counts) > self.newest_count, "below one that was handed out"
        self.newest_count = max([self.newest_count, *counts])
        for thread, number, _ in said["done"]:
            self.rows[thread] = max(self.rows[thread], number)
        self.backup = max([self.backup, *(sequence for (sequence,) in said["backup"])])

    def check(self, path):
        with embedded.open(path, **SETTINGS | {"flush_every_ms": None}) as db:
            assert_whole(db, self.rows)
            drawn = db.transaction(lambda tx: tx.next_count())
            assert drawn > self.newest_count, "below one that was handed out"
            self.newest_count = drawn
            taken = set(db.reserve_ids(3))
            assert self.ids.isdisjoint(taken), "an id came twice"
            self.ids |= taken
            assert [damage for damage in db.verify() if damage.tree is not None] == []

    def check_backup(self, path):
        try:
            db = embedded.open(path, read_only=True)
        except (InvalidArgumentError, UnsupportedFormatError):  # No manifest yet.
            assert not self.backup, "the backup is gone"
            return
        with db:
            assert db.sequence >= self.backup
            assert_whole(db, dict.fromkeys(range(THREADS), 0))


def assert_whole(db, rows_least):
    """Each thread's rows without a gap, and no half commit."""
    total = 0
    for thread, least in rows_least.items():
        rows = list(db.open_tree(f"rows_{thread}").keys())
        assert len(rows) >= least, "an acknowledged commit is lost"
        assert rows == [n.to_bytes(8) for n in range(1, len(rows) + 1)], "a gap"
        newest = db.open_tree("thread_newest").get(bytes([thread])) or b""
        assert int.from_bytes(newest) == len(rows), "half a commit"
        total += len(rows)
    assert len(db.open_tree("count_thread")) == total, "half a commit"


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["interval", "commit"])
def test_killed_writers_lose_nothing_they_acknowledged(tmp_path, nursery, durability):
    """Killed while they open, recover, write, checkpoint, back up and close."""
    seed = int(os.environ.get("CRASH_SEED", "1"))
    chance, done_total, pace = random.Random(f"{durability} {seed}"), 0, 1.0
    for number in range(ROUNDS):
        if number % ROUNDS_A_STORE == 0:
            path, promised = tmp_path / str(number), Promised()
        seconds = chance.choice((0.01, 0.05, 0.2)) * chance.random() * pace
        try:
            said = nursery.life(path, durability, seconds)
            promised.hear(said)
            tally("processes killed", 1)
            if chance.random() < 0.6:  # Else the next writer recovers by itself.
                promised.check(path)
                promised.check_backup(f"{path}.backup")
        except Exception as error:
            error.add_note(f"round {number} of CRASH_SEED={seed}, killed after {seconds} seconds")
            raise
        done_total += len(said["done"])
        if done_total <= 2 * number:  # On a slow machine or disk they live longer.
            pace *= 1.2
    assert done_total > ROUNDS
