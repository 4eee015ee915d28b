"""One store, many open handles and many processes: what one writes the others hear, in order."""

import asyncio
import subprocess
import sys
import threading
import time
from contextlib import suppress

import psycopg
import pytest
from patience import eventually
from stores import PostgresHarness

import conduitstore
from conduitstore.engine import postgres
from conduitstore.errors import InvalidArgumentError, LaggedError
from conduitstore.kv import Insert, Remove

PATIENCE_S = 30


@pytest.fixture
def harness(postgres_server):
    harness = PostgresHarness(postgres_server.dsn, poll_ms=60_000)
    yield harness
    harness.dispose()


@pytest.fixture
def other(harness, db):
    """The same store once more, as another process would have it."""
    return harness._open()


def drain(subscriber):
    return [*iter(lambda: subscriber.next(timeout=0), None)]


def next_events(subscriber, total):
    return [subscriber.next(timeout=PATIENCE_S) for _ in range(total)]


# Watching -----------------------------------------------------------------------------------------


def test_a_commit_of_another_process_is_told_by_a_notification(db, other):
    """The clock would come too late."""
    subscriber = db.open_tree("t").watch_prefix(b"")
    wakes = threading.Event()
    subscriber.on_ready(wakes.set)
    other.open_tree("t").insert(b"a", b"1")
    other.open_tree("t").remove(b"a")
    assert next_events(subscriber, 2) == [Insert(b"a", b"1"), Remove(b"a")]
    assert wakes.wait(PATIENCE_S)


def test_without_notifications_the_clock_does(harness):
    with postgres.open(
        harness.dsn, schema=harness.schema, poll_ms=20, dialect="yugabyte"
    ) as listening:
        harness.opened.append(listening)
        subscriber = listening.open_tree("t").watch_prefix(b"")
        harness.open().open_tree("t").insert(b"a", b"1")
        assert next_events(subscriber, 1) == [Insert(b"a", b"1")]
        listening.open_tree("t").insert(b"b", b"2")
        assert listening.flush() == listening.sequence


def test_who_wants_only_the_durable_hears_of_others_when_it_is(harness):
    listening = postgres.open(harness.dsn, schema=harness.schema, flush_every_ms=10)
    harness.opened.append(listening)
    subscriber = listening.open_tree("t").watch_prefix(b"", only_durable=True)
    harness.open().open_tree("t").insert(b"a", b"1")
    assert next_events(subscriber, 1) == [Insert(b"a", b"1")]
    assert listening.durable_sequence == listening.sequence


def test_a_store_open_for_reading_hears_by_the_clock(harness, db):
    db.open_tree("t")
    reader = postgres.open(harness.dsn, schema=harness.schema, poll_ms=20, read_only=True)
    harness.opened.append(reader)
    subscriber = reader.open_tree("t").watch_prefix(b"")
    db.open_tree("t").insert(b"a", b"1")
    assert next_events(subscriber, 1) == [Insert(b"a", b"1")]
    with pytest.raises(InvalidArgumentError, match="durable"):
        reader.open_tree("t").watch_prefix(b"", only_durable=True)


def backend_of(connection):
    """The server's process; None where there is no connection, or no more."""
    with suppress(AttributeError, psycopg.Error):
        return connection.info.backend_pid


def test_a_listener_whose_connection_is_cut_misses_nothing(harness):
    listening = harness.open()
    subscriber = listening.open_tree("t").watch_prefix(b"")
    writer = harness._open()
    writer.open_tree("t").insert(b"a", b"1")
    assert next_events(subscriber, 1) == [Insert(b"a", b"1")]
    for number in range(3):
        # Events may come before it has seen that its connection was cut, and made another.
        pid = eventually(lambda: backend_of(listening._listener.connection))
        writer.pool.rows(b"SELECT pg_terminate_backend(%s)", [pid])
        writer.open_tree("t").insert(b"b", bytes([number]))
        assert next_events(subscriber, 1) == [Insert(b"b", bytes([number]))]


def test_a_transaction_is_told_first_what_others_committed(db, other):
    """Inside, what is queued is all that happened before: also in other processes."""
    tree = db.open_tree("t")
    subscriber = tree.watch_prefix(b"")
    db._listener.stop()
    for number in range(5):
        other.open_tree("t").insert(bytes([number]), b"")
    told = db.transaction(lambda _: drain(subscriber))
    assert told == [Insert(bytes([number]), b"") for number in range(5)]
    tree.insert(b"own", b"")
    assert drain(subscriber) == [Insert(b"own", b"")]


def test_nobody_is_told_twice_or_out_of_order(harness):
    """Three handles write and watch at once; each hears all of it in the one order there is."""
    dbs = [harness.open(), harness._open(), harness._open()]
    subscribers = [db.open_tree("t").watch_prefix(b"") for db in dbs]

    def write(db):
        for _ in range(40):
            db.transaction(lambda tx: tx.open_tree("t").insert(b"n", tx.next_count().to_bytes(8)))

    threads = [threading.Thread(target=write, args=(db,)) for db in dbs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for subscriber in subscribers:
        told = [int.from_bytes(event.value) for event in next_events(subscriber, 120)]
        assert told == list(range(1, 121))


def test_a_subscriber_goes_on_in_another_process(db, other):
    tree = db.open_tree("t")
    tree.insert(b"a", b"1")
    subscriber = tree.watch_prefix(b"", since=0)
    assert drain(subscriber) == [Insert(b"a", b"1")]
    tree.insert(b"b", b"2")
    again = other.open_tree("t").watch_prefix(b"", since=subscriber.sequence)
    assert drain(again) == [Insert(b"b", b"2")]


def test_history_is_kept_by_number_and_by_age(harness):
    db = harness.open(history_keep_total=10)
    for number in range(30):
        db.insert(b"a", bytes([number]))
    kept = db.sequence - 10
    assert len(drain(db.watch_prefix(b"", since=kept))) == 10
    with pytest.raises(LaggedError):
        db.watch_prefix(b"", since=5)
    old = postgres.open(harness.dsn, schema=harness.schema, history_keep_s=1)
    harness.opened.append(old)
    db.pool.rows(b"UPDATE commits SET at = at - interval '1 hour'")
    old.compact()
    with pytest.raises(LaggedError):
        db.watch_prefix(b"", since=db.sequence - 2)
    assert drain(db.watch_prefix(b"", since=db.sequence)) == []


def test_a_commit_too_large_to_tell_makes_others_lag(db, other, monkeypatch):
    monkeypatch.setattr("conduitstore.engine.postgres.events.EVENTS_BYTES_MAX", 100)
    subscriber = other.open_tree("t").watch_prefix(b"")
    own = db.open_tree("t").watch_prefix(b"")
    db.open_tree("t").insert(b"a", bytes(200))
    assert drain(own) == [Insert(b"a", bytes(200))]
    with pytest.raises(LaggedError):
        subscriber.next(timeout=PATIENCE_S)
    db.open_tree("t").insert(b"b", b"1")
    assert next_events(subscriber, 1) == [Insert(b"b", b"1")]


def test_a_long_poll_wakes_when_another_process_writes(harness):
    """The whole way: a message queued in a real process wakes changes.wait in this one."""
    writer = """
import sys, conduitstore
with conduitstore.open(sys.argv[1], schema=sys.argv[2]) as store:
    sys.stdin.readline()
    store.to_device.queue("@b:x", "@a:x", "PHONE", "m.test", {})
"""

    async def wait(store, process):
        since = store.globals.current_count()
        waiting = store.changes.wait("@a:x", "PHONE", since, timeout_ms=PATIENCE_S * 1000)
        await asyncio.sleep(0)
        assert not waiting.done()
        process.stdin.write(b"now\n")
        process.stdin.close()
        return await waiting

    settings = {"schema": harness.schema, "poll_ms": 60_000}
    with conduitstore.open(harness.dsn, **settings) as store:
        arguments = [sys.executable, "-c", writer, harness.dsn, harness.schema]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE) as process:
            assert asyncio.run(wait(store, process)) is True
        assert process.returncode == 0
        messages = store.to_device.events_since("@a:x", "PHONE", 0, store.globals.current_count())
        assert [message["type"] for _, message in messages] == ["m.test"]


# Trees --------------------------------------------------------------------------------------------


def test_trees_of_another_process_are_there(db, other):
    other.open_tree("t").insert(b"a", b"1")
    assert db.tree_names() == ["__default__", "t"]
    assert db.open_tree("t").get(b"a") == b"1"
    assert db.transaction(lambda tx: tx.open_tree("t").get(b"a")) == b"1"
    with db.snapshot() as view:
        assert view.open_tree("t").get(b"a") == b"1"


def test_handles_of_a_tree_that_another_process_dropped_say_so(db, other):
    tree = db.open_tree("t")
    tree.insert(b"a", b"1")
    calls = [
        lambda t: t.get(b"a"),
        lambda t: t.contains_key(b"a"),
        lambda t: t.get_many([b"a"]),
        lambda t: t.ranges([(b"a", None)]),
        list,
        lambda t: t.first(),
        len,
        lambda t: t.insert(b"a", b"2"),
    ]
    for call in calls:
        tree = db.open_tree("t")
        other.drop_tree("t")
        other.open_tree("t")
        with pytest.raises(InvalidArgumentError, match="open it again"):
            call(tree)
        db.refresh()
        assert list(db.open_tree("t")) == []


def test_a_snapshot_shows_a_tree_dropped_before_it_was_looked_at(db, other):
    db.open_tree("t").insert(b"a", b"1")
    with db.snapshot() as view:
        other.drop_tree("t")
        other.compact()
        assert list(view.open_tree("t")) == [(b"a", b"1")]
    del view
    deadline = time.monotonic() + PATIENCE_S
    while other.pool.rows(b"SELECT to_regclass('t_1')") != [(None,)]:
        other.compact()
        assert time.monotonic() < deadline, "and then its table is gone"


# Counts and ids -----------------------------------------------------------------------------------

RACER = """
import random, sys, time
from conduitstore.engine import postgres

dsn, schema, number, total = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with postgres.open(dsn, schema=schema) as db:
    chance = random.Random(number)

    def write(tx):
        count = tx.next_count()
        if number % 2:  # A slow one, which has its count long before its commit is visible.
            time.sleep(chance.random() / 50)
        tx.open_tree("counts").insert(count.to_bytes(8), bytes([number]))
        return count

    for _ in range(total):
        print(db.transaction(write), db.generate_id(), *db.reserve_ids(3), flush=True)
"""


def test_counts_and_ids_over_processes(harness):
    """Slow and fast writers race while readers poll: no count is missed, none comes twice."""
    db = harness.open()
    db.open_tree("counts")
    arguments = [sys.executable, "-c", RACER, harness.dsn, harness.schema]
    processes = [
        subprocess.Popen([*arguments, str(number), "30"], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    stop, faults = threading.Event(), []

    def poll():
        """What a sync does: from the newest count it has seen to the newest there is."""
        seen, known = 0, set()
        while not stop.is_set():
            with db.snapshot() as view:
                newest = view.current_count()
                tree = view.open_tree("counts")
                lo, hi = (seen + 1).to_bytes(8), (newest + 1).to_bytes(8)
                known.update(int.from_bytes(key) for key in tree.keys(b"") if lo <= key < hi)
                there = {int.from_bytes(key) for key in tree.keys(b"")}
                if there != known:
                    faults.append(there ^ known)
                seen = newest

    readers = [threading.Thread(target=poll) for _ in range(2)]
    for reader in readers:
        reader.start()
    printed = [process.communicate()[0] for process in processes]
    stop.set()
    for reader in readers:
        reader.join()
    assert [process.returncode for process in processes] == [0] * 4
    assert faults == []
    lines = [line.split() for line in "".join(printed).splitlines()]
    counts = [int(line[0]) for line in lines]
    ids = [int(number) for line in lines for number in line[1:]]
    assert sorted(counts) == list(range(1, 121))
    assert len(ids) == len(set(ids)) == 480


def test_the_counts_of_a_process_that_dies_are_skipped(harness):
    """Also those it had drawn in a transaction that never ended."""
    dying = """
import os, sys
from conduitstore.engine import postgres
db = postgres.open(sys.argv[1], schema=sys.argv[2])

def run(tx):
    print(tx.next_count(), tx.next_count(), db.ids.take(1)[0], flush=True)
    os._exit(1)

db.transaction(run)
"""
    done = subprocess.run(
        [sys.executable, "-c", dying, harness.dsn, harness.schema],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    first, second, taken = map(int, done.stdout.split())
    db = harness.open()
    assert db.current_count() == 0
    drawn = db.transaction(lambda tx: tx.next_count())
    assert drawn > second > first
    assert db.generate_id() > taken
    assert db.transaction(lambda tx: tx.next_count()) == drawn + 1


def test_an_unclean_end_skips_at_most_the_ids_that_were_reserved(harness):
    db = harness.open(idgen_persist_interval=10)
    assert db.generate_id() == 0
    db = harness.kill(db)
    assert db.generate_id() == 11, "the one that was asked for, and ten beside it"


def test_many_counts_in_one_transaction(db, other):
    drawn = db.transaction(lambda tx: [tx.next_count() for _ in range(2_500)])
    assert drawn == list(range(1, 2_501))
    assert other.transaction(lambda tx: tx.next_count()) == 2_501


def test_one_process_waits_for_the_others_transaction(db, other):
    tree = db.open_tree("t")
    tree.increment(b"n")
    inside = threading.Event()

    def slow(tx):
        inside.set()
        time.sleep(0.05)
        return tx.open_tree("t").increment(b"n")

    thread = threading.Thread(target=db.transaction, args=(slow,))
    thread.start()
    assert inside.wait(PATIENCE_S)
    assert other.open_tree("t").increment(b"n") == 3
    thread.join()
