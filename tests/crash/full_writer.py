"""Fills a store until there is no space, again and again; run where there is little.

    python full_writer.py disk FOLDER     on a small file system, with a ballast file to remove
    python full_writer.py limit FOLDER    with RLIMIT_FSIZE, so that no file may grow

Says how often it met ``StoreFullError``. Ends with an assertion where anything was lost.
"""

import os
import random
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from conduitstore.engine import embedded
from conduitstore.errors import StoreFullError

SETTINGS = {
    "flush_every_ms": None,
    "leaf_entries_max": 8,
    "checkpoint_log_bytes": 30_000,
    "segment_bytes_target": 30_000,
    "idgen_persist_interval": 20,
    "compression_level": 0,
}
ROUNDS = 12


class SmallDisk:
    """A ballast file takes the space, and gives it back."""

    def __init__(self, folder):
        self._ballast = Path(folder, "ballast")

    def narrow(self, chance):
        free = os.statvfs(self._ballast.parent).f_bavail * os.statvfs(self._ballast.parent).f_frsize
        self._ballast.write_bytes(bytes(max(0, free - chance.randrange(20_000, 90_000))))

    def widen(self):
        self._ballast.unlink()


class SmallFiles:
    """No file may be longer."""

    def __init__(self, _folder):
        pass

    def narrow(self, chance):
        resource.setrlimit(resource.RLIMIT_FSIZE, (chance.randrange(400, 30_000), -1))

    def widen(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))


def commit(db, rows, number, chance):
    """One commit over two trees, known to be done or not."""
    key, value = (number % 40).to_bytes(8), chance.randbytes(chance.choice((10, 600)))

    def run(tx):
        tx.next_count()
        tx.open_tree("one").insert(key, value)
        tx.open_tree("two").insert(key, value[::-1])

    db.transaction(run, durability=chance.choice(("commit", "interval")))
    rows[key] = value


def check(db, rows):
    assert dict(db.open_tree("one").range()) == rows
    assert dict(db.open_tree("two").range()) == {key: value[::-1] for key, value in rows.items()}


def fill(db, rows, chance):
    """Until it is full: that commit left nothing, reads go on."""
    for number in range(2_000):
        try:
            commit(db, rows, number, chance)
            if number % 50 == 49:
                db.checkpoint()
        except StoreFullError:
            check(db, rows)
            return True
    return False


def main(kind, folder):
    space, path = {"disk": SmallDisk, "limit": SmallFiles}[kind](folder), Path(folder, "store")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # As Python does by itself.
    rows, ids, full_total, newest = {}, set(), 0, 0
    for number in range(ROUNDS):
        chance = random.Random(number)
        db = embedded.open(path, **SETTINGS)
        check(db, rows)
        drawn = db.transaction(lambda tx: tx.next_count())
        assert drawn > newest
        space.narrow(chance)
        full_total += fill(db, rows, chance)
        newest = db.positions()[0]
        if chance.random() < 0.4:
            with suppress(StoreFullError):  # Nothing is lost: the log stays.
                db.close()
            space.widen()
            continue
        space.widen()  # And it clears by itself.
        commit(db, rows, 7, chance)
        taken = db.generate_id()
        assert taken not in ids
        ids.add(taken)
        check(db, rows)
        db.close() if chance.random() < 0.5 else db.abandon()
    with embedded.open(path, **SETTINGS) as db:
        check(db, rows)
        assert [damage for damage in db.verify() if damage.tree is not None] == []
    sys.stdout.write(f"{full_total}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
