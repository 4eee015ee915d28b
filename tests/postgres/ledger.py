"""Writers, readers and listeners of one store, and what they were told: held against the store.

Each writer's rows are numbered by what the store itself says comes next, so a gap, a row that came
twice or half a commit shows in the rows alone. What was acknowledged, drawn and given out is
remembered here, beside the store.
"""

import threading
import traceback
from collections import Counter
from contextlib import suppress

from conduitstore.errors import (
    ConflictError,
    LaggedError,
    LockedError,
    UnavailableError,
)

MAY_HAPPEN = (ConflictError, LockedError, UnavailableError)
"""What a writer may get while servers die and networks fail: run it again."""


class Ledger:
    """What was promised, over all stores that are open on the same data."""

    def __init__(self):
        self.lock = threading.Lock()
        self.durable = Counter()
        """By writer, the newest row that a call with durability ``commit`` acknowledged."""
        self.acknowledged = Counter()
        self.counts, self.ids = set(), set()
        self.refused = {}
        """Counts of attempts that are known not to have happened, and how that is known."""
        self.errors = Counter()
        self.broken = []
        """Promises that were seen broken by threads, which have nobody to tell."""

    def draw(self, count):
        """A count was drawn, perhaps by a transaction that will not commit."""
        with self.lock:
            if count in self.counts:
                self.broken.append(f"count {count} came twice")
            self.counts.add(count)

    def take(self, number):
        with self.lock:
            if number in self.ids:
                self.broken.append(f"id {number} came twice")
            self.ids.add(number)

    def acknowledge(self, writer, row, durability):
        with self.lock:
            self.acknowledged[writer] = max(self.acknowledged[writer], row)
            if durability == "commit":
                self.durable[writer] = max(self.durable[writer], row)

    def check(self, db):
        """Hold the store to all of it."""
        assert self.broken == []
        with db.snapshot() as view:
            rows = rows_of(view)
            counts = check_whole(view, rows)
            for writer, least in self.durable.items():
                assert rows.get(writer, 0) >= least, f"an acknowledged row of {writer} is lost"
            assert counts <= self.counts, "a count that nobody drew"
            twice = {count: why for count, why in self.refused.items() if count in counts}
            assert twice == {}, f"happened too: {twice}"
            assert view.current_count() >= max(counts, default=0)
        drawn = db.transaction(lambda tx: tx.next_count())
        assert drawn > max(self.counts, default=0), "a count below one that was handed out"
        self.draw(drawn)
        for number in db.reserve_ids(3):
            self.take(number)
        assert self.broken == []


def rows_of(view):
    """How many rows each writer has, by what it says itself."""
    return {key.decode(): int.from_bytes(value) for key, value in view.open_tree("writer_newest")}


def check_whole(view, rows):
    """A prefix of each writer's history, without half a commit; gives the counts of the rows."""
    counted = {}
    for writer, newest in rows.items():
        found = list(view.open_tree(f"rows_{writer}"))
        assert [key for key, _ in found] == [n.to_bytes(8) for n in range(1, newest + 1)], "a gap"
        counts = [int.from_bytes(value[:8]) for _, value in found]
        assert counts == sorted(set(counts)), "counts are not in the order of commits"
        counted |= dict.fromkeys(counts, writer)
    by_count = {
        int.from_bytes(key): value.decode() for key, value in view.open_tree("count_writer")
    }
    assert by_count == counted, "half a commit"
    return set(counted)


class Writer:
    """One of many: it takes what comes next from the store, and goes on whatever happens."""

    def __init__(self, db, ledger, name, durability="commit", value=b""):
        self.db, self.ledger, self.name, self.durability = db, ledger, name, durability
        self.value = value
        self.attempts = []

    def run(self, tx):
        key = self.name.encode()
        row = int.from_bytes(tx.open_tree("writer_newest").get(key) or b"") + 1
        count = tx.next_count()
        self.ledger.draw(count)
        self.attempts.append(count)
        tx.open_tree("writer_newest").insert(key, row.to_bytes(8))
        tx.open_tree(f"rows_{self.name}").insert(row.to_bytes(8), count.to_bytes(8) + self.value)
        tx.open_tree("count_writer").insert(count.to_bytes(8), key)
        return row

    def once(self):
        """One commit, or an error that a caller is told to expect."""
        self.attempts.clear()
        try:
            row = self.db.transaction(self.run, durability=self.durability)
        except MAY_HAPPEN as error:
            is_unknown = getattr(error, "is_commit_unknown", False)
            self.ledger.errors[type(error).__name__ + " of a commit" * is_unknown] += 1
            if not is_unknown:
                why = "".join(traceback.format_exception(error)[-6:])
                self.ledger.refused.update(dict.fromkeys(self.attempts, why))
            return False
        self.ledger.acknowledge(self.name, row, self.durability)
        self.ledger.refused.update(dict.fromkeys(self.attempts[:-1], "run again"))
        with suppress(*MAY_HAPPEN):
            self.ledger.take(self.db.generate_id())
        return True

    def until(self, stop):
        while not stop.is_set():
            if not self.once():
                stop.wait(0.01)


class Reader:
    """Polls snapshots: what it has seen of counts never goes back, and nothing comes in below."""

    def __init__(self, db, ledger):
        self.db, self.ledger = db, ledger
        self.count, self.known = 0, set()
        self.reads_total = 0

    def once(self):
        try:
            with self.db.snapshot() as view:
                counts = check_whole(view, rows_of(view))
                count = view.current_count()
        except MAY_HAPPEN as error:
            self.ledger.errors[f"{type(error).__name__} of a reader"] += 1
            return
        if count < self.count:
            self.ledger.broken.append(f"the count went back from {self.count} to {count}")
        late = {number for number in counts if number <= self.count} - self.known
        if late:
            self.ledger.broken.append(f"{late} came in below {self.count}, which was seen")
        self.count, self.known = max(self.count, count), counts
        self.reads_total += 1

    def until(self, stop):
        while not stop.is_set():
            self.once()
            stop.wait(0.005)


class Listener:
    """Follows a tree by its durable commits, and goes on where it stopped."""

    def __init__(self, db, ledger, tree="count_writer"):
        self.db, self.ledger = db, ledger
        self.told, self.lagged_total = [], 0
        self.subscriber = db.open_tree(tree).watch_prefix(b"", only_durable=True)

    def until(self, stop):
        while not stop.is_set():
            try:
                event = self.subscriber.next(0.02)
            except LaggedError:
                self.lagged_total += 1
                continue
            if event is not None:
                self.told.append(int.from_bytes(event.key))

    def check(self, view):
        """Everything told of is there, in order, once; everything is told of, or it lagged."""
        there = {int.from_bytes(key) for key, _ in view.open_tree("count_writer")}
        assert self.told == sorted(set(self.told)), "told out of order, or twice"
        assert set(self.told) <= there, "told of a commit that is lost"
        assert self.lagged_total or set(self.told) == there, "somebody was not told"
