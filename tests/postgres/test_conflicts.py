"""Who gives way to whom, and for how long one waits."""

import threading
import time
from dataclasses import replace

import pytest
from patience import eventually, in_the_end
from stores import open_more

from conduitstore.engine.postgres import instant
from conduitstore.errors import (
    ConflictError,
    InvalidArgumentError,
    LockedError,
    UnavailableError,
)

PATIENCE_S = 30
ALIVE = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"


# Conflicts ----------------------------------------------------------------------------------------


def meddle(admin, key=b"a"):
    """Write to the table behind the engine's back."""
    admin.execute("INSERT INTO t_1 VALUES (%s, 'x') ON CONFLICT (k) DO UPDATE SET v = 'x'", [key])


@pytest.fixture
def rows_db(harness):
    db = harness.open(locks_row=True)
    db.open_tree("t").insert(b"a", b"1")
    return db


def test_a_transaction_that_loses_is_run_again(rows_db, admin):
    """Of serializable transactions the server lets one give way."""
    attempts = []

    def run(tx):
        tree = tx.open_tree("t")
        tree.get(b"a")
        attempts.append(tx.next_count())
        if len(attempts) < 3:
            meddle(admin)
        tree.insert(b"a", b"2")

    rows_db.transaction(run)
    assert len(attempts) == 3
    assert attempts == sorted(set(attempts)), "the counts of an attempt are skipped"
    assert rows_db.open_tree("t").get(b"a") == b"2"


def test_attempts_are_bounded_and_the_conflict_is_told(harness, admin):
    db = open_more(harness, locks_row=True, retries_max=2)
    db.open_tree("t").insert(b"a", b"1")
    sequence, attempts = db.sequence, []

    def run(tx):
        attempts.append(tx.open_tree("t").get(b"a"))
        meddle(admin)
        tx.open_tree("t").put(b"a", b"2")

    with pytest.raises(ConflictError, match=r"given up after 3 attempts.*concurrent"):
        db.transaction(run)
    assert len(attempts) == 3
    assert db.sequence == sequence


def test_an_error_of_the_server_that_the_function_swallows_is_no_commit(harness, db, admin):
    """The transaction has failed: it is run again, not committed without what failed."""
    db.open_tree("t").insert(b"a", b"1")
    attempts = []

    def run(tx):
        attempts.append(1)
        tx.open_tree("t").put(b"b", b"2")
        if len(attempts) == 1:
            with pytest.raises(InvalidArgumentError):
                tx.writing.rows(b"SELECT * FROM no_such_table")

    db.transaction(run)
    assert len(attempts) == 2
    assert db.open_tree("t").get(b"b") == b"2"


def test_who_waits_at_a_row_goes_on_behind_the_other(rows_db, harness):
    other = open_more(harness, locks_row=True)
    tree, others = rows_db.open_tree("t"), other.open_tree("t")

    def add(tree):
        for _ in range(25):
            tree.increment(b"n")

    threads = [threading.Thread(target=add, args=(one,)) for one in (tree, others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int.from_bytes(tree.get(b"n")) == 50


def test_waiting_for_another_process_has_an_end_and_names_it(harness, db):
    impatient = open_more(harness, lock_timeout_ms=50)
    inside, done = threading.Event(), threading.Event()

    def hold(_):
        inside.set()
        assert done.wait(PATIENCE_S)

    thread = threading.Thread(target=db.transaction, args=(hold,))
    thread.start()
    assert inside.wait(PATIENCE_S)
    with pytest.raises(LockedError, match=db.holder):
        impatient.insert(b"a", b"1")
    done.set()
    thread.join()
    in_the_end(lambda: impatient.insert(b"a", b"1"))  # The server hears of the end in its own time.
    assert db.get(b"a") == b"1"


@pytest.mark.parametrize("asks_again", [True, False])
@pytest.mark.parametrize("is_idle_again", [True, False])
def test_a_transaction_that_does_nothing_is_ended(harness, db, admin, asks_again, is_idle_again):
    """It must not hold up the others for ever. It is run again once, wherever it hears of it."""
    lazy = open_more(harness, idle_timeout_ms=100)
    ran = []

    def sleep(tx):
        ran.append(tx.next_count())
        tx.put(b"a", b"lazy")
        if len(ran) == 1 or is_idle_again:
            pid = tx.writing._session.connection.info.backend_pid
            db.insert(b"b", b"quick")
            eventually(lambda: admin.execute(ALIVE, [pid]).fetchone() is None)
        if not is_idle_again:  # The next attempt is none, however long it may take.
            lazy.settings = replace(lazy.settings, idle_timeout_ms=60_000)
        if asks_again:
            tx.get(b"c")

    if is_idle_again:
        with pytest.raises(UnavailableError, match=r"given up after 2 attempts.*idle_timeout_ms"):
            lazy.transaction(sleep)
        assert db.get(b"a") is None
    else:
        lazy.transaction(sleep)
        assert db.get(b"a") == b"lazy"
    assert len(set(ran)) == 2
    assert db.get(b"b") == b"quick"


def test_a_statement_that_takes_too_long_is_given_up(harness, db, admin):
    db.open_tree("t").insert(b"a", b"1")
    impatient = in_the_end(lambda: open_more(harness, statement_timeout_ms=50))
    tree = impatient.open_tree("t")
    with admin.transaction():
        admin.execute("LOCK TABLE t_1 IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(UnavailableError, match="statement_timeout_ms"):
            tree.get(b"a")
    assert in_the_end(lambda: tree.get(b"a")) == b"1"


def test_dropping_a_tree_waits_for_no_reader(harness, db, admin, monkeypatch):
    monkeypatch.setattr(instant, "FIRST_ROWS", 2)
    tree = db.open_tree("t")
    for number in range(10):
        tree.insert(bytes([number]), b"")
    items = tree.range()
    next(items)
    assert db.drop_tree("t")
    assert "t" not in db.tree_names()
    assert len(list(items)) == 9
    deadline = time.monotonic() + PATIENCE_S
    while admin.execute("SELECT to_regclass('t_1')").fetchone() != (None,):
        db.compact()  # Nobody waited for the reader's transaction to end.
        assert time.monotonic() < deadline
