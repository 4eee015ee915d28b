"""What a crash of the server takes back, and what is durable; real ones are killed next door."""

import asyncio
import threading
import time

import pytest
from stores import open_more

from conduitstore.engine.postgres import sql
from conduitstore.errors import LaggedError, UnavailableError

PATIENCE_S = 30


# Crashes of the server, without one ---------------------------------------------------------------


def lose_commits(db, admin, total):
    """What a crash may leave: the newest commits gone, unlogged tables empty."""
    admin.execute("DELETE FROM running")
    newest = db.sequence
    admin.execute("DELETE FROM commits WHERE sequence > %s", [newest - total])


def test_after_a_crash_counts_and_sequences_go_on_above_all_there_were(harness, db, admin):
    tree = db.open_tree("t")
    told = tree.watch_prefix(b"")
    seen = [db.transaction(lambda tx: tx.next_count()) for _ in range(5)]
    for number in range(5):
        tree.insert(bytes([number]), b"")
    lost, kept = db.sequence, db.sequence - 5
    [*iter(lambda: told.next(timeout=0), None)]
    lose_commits(db, admin, 5)
    for later in (db, open_more(harness)):
        assert later.transaction(lambda tx: tx.next_count()) > max(seen)
        assert later.sequence > lost
    tree.insert(b"after", b"")
    with pytest.raises(LaggedError):
        told.next(timeout=0)
    with pytest.raises(LaggedError):
        tree.watch_prefix(b"", since=lost)
    again = tree.watch_prefix(b"", since=kept)
    events = [*iter(lambda: again.next(timeout=0), None)]
    assert [event.key for event in events] == [b"after"], "from what survived one goes on"


def test_waiting_for_a_commit_that_a_crash_took_says_so(db, admin):
    for number in range(5):
        db.insert(bytes([number]), b"")
    lost = db.sequence
    lose_commits(db, admin, 2)
    db.insert(b"after", b"")
    db.flush()
    assert db.durable_sequence > lost
    for sequence in (lost - 1, lost):
        with pytest.raises(UnavailableError, match=f"lost commit {sequence}"):
            asyncio.run(db.wait_durable(sequence))
    for sequence in (lost - 2, db.sequence):
        asyncio.run(db.wait_durable(sequence))


def test_a_durable_commit_that_a_crash_takes_before_its_sync_is_made_again(db, admin, monkeypatch):
    tree, syncs = db.open_tree("t"), []
    sync = db.durability.sync

    def crash_first():
        if not syncs:
            lose_commits(db, admin, 1)
            admin.execute("DELETE FROM t_1")
        syncs.append(1)
        return sync()

    monkeypatch.setattr(db.durability, "sync", crash_first)
    db.transaction(lambda tx: tx.open_tree("t").insert(b"a", b"1"), durability="commit")
    assert tree.get(b"a") == b"1"
    assert len(syncs) == 2


def test_counts_stay_under_a_ceiling_that_is_raised_before_it_is_reached(db, admin):
    def ceiling():
        return admin.execute("SELECT value FROM ceilings WHERE name = 'counts'").fetchone()[0]

    first = ceiling()
    drawn = db.transaction(lambda tx: [tx.next_count() for _ in range(first + 10)])
    assert drawn[-1] == first + 10 <= ceiling()


# Durability ---------------------------------------------------------------------------------------


def test_a_sync_serves_everybody_who_waits(db):
    before = db.durability._begun_total

    def commit(number):
        db.transaction(lambda tx: tx.insert(bytes([number]), b""), durability="commit")

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.durable_sequence == db.sequence == 16
    assert db.durability._begun_total - before <= 16


def test_the_flusher_makes_commits_durable(harness):
    db = open_more(harness, flush_every_ms=10)
    db.insert(b"a", b"1")
    deadline = time.monotonic() + PATIENCE_S
    while db.durable_sequence < 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert db.durable_sequence == 1


def test_commits_do_not_wait_for_the_disk_but_syncs_do(db, admin):
    def setting(tx):
        return tx.writing.rows(b"SELECT current_setting('synchronous_commit')")

    assert db.transaction(setting) == [("off",)]
    assert db.pool.run([(sql.SYNC, ())])[0][0][0] == "on"


def test_the_durability_of_a_store_is_that_of_its_commits(harness):
    db = open_more(harness, durability="commit")
    db.insert(b"a", b"1")
    assert db.durable_sequence == db.sequence == 1
