"""Servers that die and come back: nothing promised is lost, and the store recovers by itself."""

import time

import psycopg
import pytest
from crew import EFFORT, at_work, crew, finish, grows, recovers
from ledger import Ledger, Writer, check_whole, rows_of

from conduitstore.errors import ConduitStoreError, LaggedError, UnavailableError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("end", ["kill", "immediate", "fast"])
def test_a_server_dies_and_comes_back(mortal, opened, chance, end, faults):
    ledger = Ledger()
    db, workers = crew(opened, ledger)
    with at_work(*workers):
        grows(ledger)
        for _ in range(3 * EFFORT):
            time.sleep(chance.random() * 0.1)
            mortal.kill() if end == "kill" else mortal.stop(end)
            time.sleep(chance.random() * 0.1)
            mortal.start()
            faults[end] += 1
            grows(ledger)
    finish(db, workers, ledger)


def backends_of(mortal, schema):
    with psycopg.connect(mortal.dsn, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'conduitstore%'"
        )
        return [pid for (pid,) in rows]


def test_backends_are_killed_one_by_one(mortal, opened, schema, chance, faults):
    ledger = Ledger()
    db, workers = crew(opened, ledger)
    with at_work(*workers), psycopg.connect(mortal.dsn, autocommit=True) as operator:
        grows(ledger)
        for _ in range(30 * EFFORT):
            if backends := backends_of(mortal, schema):
                operator.execute("SELECT pg_terminate_backend(%s)", [chance.choice(backends)])
                faults["terminated"] += 1
            time.sleep(chance.random() * 0.02)
        grows(ledger)
    finish(db, workers, ledger)


def test_lost_commits_are_told_of_to_nobody_and_their_counts_never_come_back(
    mortal, opened, faults
):
    """Commits that were not synced go with the server; those who saw them live on."""
    mortal.configure({"wal_writer_delay": "10s"})
    try:
        ledger = Ledger()
        for _ in range(3 * EFFORT):
            lose_commits(mortal, opened, ledger, faults)
    finally:
        mortal.configure({"wal_writer_delay": "200ms"})
    assert faults["lost commits"]


def lose_commits(mortal, opened, ledger, faults):
    # Reserving ids is durable, and takes everything before it along.
    rare = {"flush_every_ms": None, "idgen_persist_interval": 1_000}
    db, bystander = opened(**rare), opened(**rare)
    durable = Writer(db, ledger, "durable")
    lost = Writer(db, ledger, "lost", "none")
    assert durable.once()
    position = db.flush()
    with db.snapshot() as view:
        kept = rows_of(view).get("lost", 0)
    heard = bystander.open_tree("count_writer").watch_prefix(b"", only_durable=True)
    for _ in range(20):
        assert lost.once()
    seen, gone = bystander.current_count(), db.sequence
    mortal.kill()
    mortal.start()
    recovers(bystander)
    with bystander.snapshot() as view:
        found = rows_of(view).get("lost", 0) - kept
        counts = check_whole(view, rows_of(view))
        assert view.current_count() >= seen, "tokens never go back"
    faults["lost commits"] += 20 - found
    for writer in (durable, lost, Writer(bystander, ledger, "new")):
        assert writer.once()
        assert writer.attempts[-1] > seen, "it would hide below a token in the field"
    if found < 20:
        with pytest.raises(LaggedError):
            bystander.open_tree("count_writer").watch_prefix(b"", since=gone)
    if found == 0:
        told = bystander.open_tree("count_writer").watch_prefix(b"", since=position)
        assert int.from_bytes(told.next(60).key) > seen
    bystander.flush()
    try:
        while (event := heard.next(0.5)) is not None:
            assert int.from_bytes(event.key) in counts or int.from_bytes(event.key) > seen
    except LaggedError:
        pass
    ledger.check(bystander)


def test_a_store_that_was_open_while_the_server_was_away_needs_no_help(mortal, opened, faults):
    """Every kind of call gives a typed error while it is away, and works afterwards."""
    db = opened()
    db.insert(b"k", b"v")
    db.flush()
    view = db.snapshot()
    items = iter(db)
    mortal.kill()
    calls = [
        lambda: db.get(b"k"),
        lambda: db.get_many([b"k"]),
        lambda: db.ranges([(b"k", None)]),
        lambda: list(db),
        lambda: len(db),
        lambda: db.insert(b"k", b"w"),
        lambda: db.transaction(lambda tx: tx.insert(b"k", b"w"), durability="commit"),
        db.snapshot,
        db.flush,
        db.tree_names,
        lambda: db.open_tree("new"),
        lambda: db.drop_tree("new"),
        lambda: db.reserve_ids(1_000),
        db.stats,
        db.checksum,
        db.current_count,
        lambda: view.get(b"k"),
    ]
    for call in calls:
        with pytest.raises(UnavailableError):
            call()
        faults["while away"] += 1
    view.close()
    del items
    mortal.start()
    assert db.get(b"k") == b"v"
    db.insert(b"k", b"w")
    assert list(db) == [(b"k", b"w")]
    with pytest.raises(ConduitStoreError):
        view.get(b"k")
