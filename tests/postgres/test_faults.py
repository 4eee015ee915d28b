"""Servers that die, connections that break, clients that vanish: nothing promised is lost."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import psycopg
import pytest
from ledger import Ledger, Listener, Reader, Writer, at_work, check_whole, recovers, rows_of
from patience import eventually

from conduitstore.errors import ConduitStoreError, LaggedError, LockedError, UnavailableError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EFFORT = int(os.environ.get("SERVER_FAULTS", "1"))
"""How many times as much as `make test` does."""


@pytest.fixture
def chance():
    return random.Random(os.environ.get("CRASH_SEED", "1"))


def crew(opened, ledger, **settings):
    """Two stores, as two processes have them; two writers on each, and who looks and listens."""
    one, other = opened(**settings), opened(**settings)
    writers = [
        Writer(one, ledger, "a"),
        Writer(one, ledger, "b", "interval"),
        Writer(other, ledger, "c"),
        Writer(other, ledger, "d", "none"),
    ]
    return one, [*writers, Reader(other, ledger), Listener(one, ledger)]


def finish(db, workers, ledger):
    """Hold the store to everything, and the listener to every commit."""
    recovers(db)
    db.flush()
    ledger.check(db)
    listener = workers[-1]
    with at_work(listener), db.snapshot() as view:
        there = set(map(int.from_bytes, view.open_tree("count_writer").keys()))
        eventually(lambda: listener.lagged_total or there <= set(listener.told))
    with db.snapshot() as view:
        listener.check(view)
    assert workers[-2].reads_total
    assert all(ledger.acknowledged[name] for name in "abcd")


def grows(ledger, by=12):
    """Wait until so much more was acknowledged: whatever failed has recovered."""
    wanted = sum(ledger.acknowledged.values()) + by
    eventually(lambda: ledger.broken or sum(ledger.acknowledged.values()) >= wanted)
    assert ledger.broken == []


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


def test_connections_are_cut(mortal, opened, proxy, chance, faults):
    ledger = Ledger()
    dsn = mortal.dsn_over(proxy.port)
    db, workers = crew(lambda **more: opened(dsn, **more), ledger)
    with at_work(*workers):
        grows(ledger)
        for _ in range(20 * EFFORT):
            faults["cut"] += proxy.cut()
            if chance.random() < 0.2:
                proxy.refuse()
                time.sleep(chance.random() * 0.05)
                proxy.accept()
            time.sleep(chance.random() * 0.05)
        grows(ledger)
    finish(db, workers, ledger)


@pytest.mark.parametrize("judgement", ["drop", "last"])
@pytest.mark.parametrize("is_from_client", [True, False])
def test_any_message_is_the_last(mortal, opened, proxy, chance, judgement, is_from_client, faults):
    """Before or after the server got it, before or after the client got the answer."""
    ledger = Ledger()
    dsn = mortal.dsn_over(proxy.port)
    db, workers = crew(lambda **more: opened(dsn, **more), ledger)
    lock = threading.Lock()

    def judge(_piece, from_client):
        with lock:
            if from_client is not is_from_client or chance.random() > 0.02:
                return "pass"
            faults[judgement] += 1
            return judgement

    with at_work(*workers):
        grows(ledger)
        proxy.judge = judge
        eventually(lambda: faults[judgement] >= 30 * EFFORT)
        proxy.judge = lambda *_: "pass"
        grows(ledger)
    finish(db, workers, ledger)


@pytest.mark.parametrize("settings", [{}, {"locks_row": True}], ids=["advisory", "row"])
def test_the_answer_to_a_commit_is_lost(mortal, opened, proxy, chance, settings, faults):
    """The commit has happened and nobody heard: it is not made again, and not reported as failed."""
    ledger = Ledger()
    dsn = mortal.dsn_over(proxy.port)
    db, workers = crew(lambda **more: opened(dsn, **more), ledger, **settings)
    lock = threading.Lock()

    def judge(piece, from_client):
        with lock:
            if from_client or b"COMMIT\0" not in piece or chance.random() > 0.2:
                return "pass"
            faults["lost answer"] += 1
            return "drop"

    with at_work(*workers):
        grows(ledger)
        proxy.judge = judge
        eventually(lambda: faults["lost answer"] >= 30 * EFFORT)
        proxy.judge = lambda *_: "pass"
        grows(ledger)
    finish(db, workers, ledger)
    assert sum(ledger.errors[name] for name in ledger.errors if "reader" not in name) == 0, (
        "the server was there to be asked"
    )


def test_connections_stall_and_go_on(mortal, opened, proxy, chance, faults):
    ledger = Ledger()
    dsn = mortal.dsn_over(proxy.port)
    db, workers = crew(lambda **more: opened(dsn, **more), ledger)
    with at_work(*workers):
        grows(ledger)
        for _ in range(5 * EFFORT):
            proxy.stall()
            faults["stalled"] += 1
            time.sleep(chance.random() * 0.5)
            if chance.random() < 0.5:
                faults["cut while stalled"] += proxy.cut()
            proxy.resume()
            grows(ledger, by=4)
    finish(db, workers, ledger)


def test_a_client_that_stalls_does_not_hold_up_the_others(mortal, opened, proxy, faults):
    """Its transaction has the lock; the server ends it, and the others go on."""
    ledger = Ledger()
    stalled = opened(mortal.dsn_over(proxy.port), idle_timeout_ms=300)
    other = Writer(opened(), ledger, "other")
    slow = Writer(stalled, ledger, "slow")
    begun, go_on = threading.Event(), threading.Event()

    def run(tx):
        row = slow.run(tx)
        if not begun.is_set():
            proxy.stall()
            begun.set()
            go_on.wait(30)
        return row

    ended = []
    thread = threading.Thread(
        target=lambda: ended.append(stalled.transaction(run, durability="commit"))
    )
    thread.start()
    assert begun.wait(30)
    faults["stalled with the lock"] += 1
    before = time.monotonic()
    while not other.once():
        pass
    assert time.monotonic() - before < 5, "the idle transaction was ended after 300 ms"
    proxy.resume()
    go_on.set()
    thread.join(60)
    ledger.refused.update(slow.attempts[:-1])
    assert ended == [1], "run again on another connection"
    assert len(slow.attempts) == 2
    ledger.acknowledge("slow", 1, "commit")
    ledger.check(other.db)


VANISHING = """
import sys, time
from conduitstore.engine import open

db = open(sys.argv[1], schema=sys.argv[2], idle_timeout_ms=int(sys.argv[3]))


def run(tx):
    print(tx.next_count(), flush=True)
    tx.insert(b"half", b"done")
    time.sleep(600)


db.transaction(run)
"""


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_vanishes_with_the_lock(mortal, opened, schema, way, faults):
    db = opened()
    command = [sys.executable, "-c", VANISHING, mortal.dsn_over(mortal.port), schema, "300"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        drawn = int(process.stdout.readline())
        process.send_signal(way)
        faults[way.name] += 1
        before = time.monotonic()
        count = db.transaction(lambda tx: tx.next_count())
        assert time.monotonic() - before < 5
        process.kill()
    assert count > drawn, "it may have told somebody"
    assert db.get(b"half") is None


def test_nobody_waits_for_ever_for_the_lock(mortal, opened, schema, faults):
    db = opened(lock_timeout_ms=300, retries_max=1)
    holder = opened()
    begun, go_on = threading.Event(), threading.Event()

    def hold(tx):
        tx.insert(b"held", b"")
        begun.set()
        go_on.wait(30)

    thread = threading.Thread(target=holder.transaction, args=(hold,))
    thread.start()
    assert begun.wait(30)
    before = time.monotonic()
    with pytest.raises(LockedError, match="server process"):
        db.insert(b"k", b"v")
    faults["waited for the lock"] += 1
    assert time.monotonic() - before < 5
    assert db.get(b"k") is None, "reading waits for nobody"
    go_on.set()
    thread.join(30)
    db.insert(b"k", b"v")


def test_a_statement_that_takes_too_long_is_given_up(mortal, opened, schema, faults):
    db = opened(statement_timeout_ms=300, retries_max=1)
    db.insert(b"k", b"v")
    with psycopg.connect(mortal.dsn) as operator:
        operator.execute(f"LOCK TABLE {schema}.t_0 IN ACCESS EXCLUSIVE MODE")
        for call in (
            lambda: db.get(b"k"),
            lambda: list(db),
            lambda: db.insert(b"k", b"w"),
            lambda: db.transaction(lambda tx: tx.get(b"k")),
        ):
            before = time.monotonic()
            with pytest.raises(UnavailableError):
                call()
            faults["too long"] += 1
            assert time.monotonic() - before < 5
    assert db.get(b"k") == b"v"
    db.insert(b"k", b"w")


def test_lost_commits_are_told_of_to_nobody_and_their_counts_never_come_back(
    mortal, opened, faults
):
    """Commits that were not synced go with the server; those who saw them live on."""
    mortal.configure({"wal_writer_delay": "10s"})
    try:
        for _ in range(2 * EFFORT):
            lose_commits(mortal, opened, faults)
    finally:
        mortal.configure({"wal_writer_delay": "200ms"})


def lose_commits(mortal, opened, faults):
    ledger = Ledger()
    db = opened(flush_every_ms=None)
    bystander = opened(flush_every_ms=None)
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
    assert found < 20, "the server has lost nothing: this tests nothing"
    faults["lost commits"] += 20 - found
    for writer in (durable, lost, Writer(bystander, ledger, "new")):
        assert writer.once()
        assert writer.attempts[-1] > seen, "it would hide below a token in the field"
    with pytest.raises(LaggedError):
        bystander.open_tree("count_writer").watch_prefix(b"", since=gone)
    if found == 0:
        told = bystander.open_tree("count_writer").watch_prefix(b"", since=position)
        assert int.from_bytes(told.next(10).key) > seen
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
        lambda: list(db),
        lambda: len(db),
        lambda: db.insert(b"k", b"w"),
        lambda: db.transaction(lambda tx: tx.insert(b"k", b"w"), durability="commit"),
        lambda: db.snapshot(),
        lambda: db.flush(),
        lambda: db.tree_names(),
        lambda: db.open_tree("new"),
        lambda: db.drop_tree("new"),
        lambda: db.reserve_ids(1_000),
        lambda: db.stats(),
        lambda: db.checksum(),
        lambda: db.current_count(),
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
