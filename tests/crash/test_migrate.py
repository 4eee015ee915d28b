"""Crash a migration in each of its calls: the next run finishes it, and every row went once."""

from conduitstore import migrate
from conduitstore.engine import embedded
from conduitstore.ladder import Migration, load_migrations
from conduitstore.parts.holder import Parts
from conduitstore.testing.crash import explore
from conduitstore.testing.report import tally

SETTINGS = {"leaf_entries_max": 3, "checkpoint_log_bytes": 1_500, "idgen_persist_interval": 4}
LADDER = load_migrations()
TOTAL = 11


def count_up(tx, key, _value):
    """Of all that a step can do, what shows best that it was done twice."""
    tx.open_tree("times").increment(key)


STEPS = [*LADDER, Migration(len(LADDER) + 1, "m9999_count", rows={"source": count_up})]


def upgrade(steps):
    return lambda db: migrate.migrate(db, Parts(db).globals, steps)


def fill(db):
    for number in range(TOTAL):
        db.open_tree("source").insert(bytes([number]), b"x" * 30)


def test_every_call_of_a_migration(monkeypatch):
    monkeypatch.setattr(migrate, "BATCH_ROWS", 4)
    monkeypatch.setattr(migrate, "TREES", ("global",))  # Empty trees are not what this is about.
    states = set()

    def check(disk, _history):
        with embedded.open("store", files=disk, flush_every_ms=None) as db:
            rows, done = Parts(db).globals, len(db.open_tree("times"))
            states.add((rows.schema_version(), done))
            is_filled = len(db.open_tree("source")) == TOTAL
            upgrade(STEPS)(db)
            assert rows.schema_version() == len(STEPS)
            assert rows.migration_cursor() is None
            assert {value for _, value in db.open_tree("times")} <= {(1).to_bytes(8)}
            if is_filled:
                assert done in (0, 4, 8, TOTAL)
                assert len(db.open_tree("times")) == TOTAL

    report = explore([upgrade(LADDER), fill, upgrade(STEPS)], SETTINGS, check=check)
    tally("crashes of a migration", report.crashes_total)
    assert report.calls_total > 40
    assert {(len(LADDER), 4), (len(LADDER), 8), (len(STEPS), TOTAL)} <= states
