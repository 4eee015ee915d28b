"""Connections that are cut, used up or inherited: what is run again and what is asked."""

import os

import pytest
from stores import cut, open_more

from conduitstore.engine.postgres import connections, faults, instant, sql, writer, writing
from conduitstore.errors import (
    LockedError,
    UnavailableError,
)

PATIENCE_S = 30
FEW = {"pool_max": 3, "connect_timeout_ms": 50, "flush_every_ms": None}
"""Few connections, and nobody in the background who might have one of them."""


# Lost connections ---------------------------------------------------------------------------------


def test_idle_connections_that_were_cut_are_replaced(db, admin):
    tree = db.open_tree("t")
    tree.insert(b"a", b"1")
    calls = [
        lambda: tree.get(b"a"),
        lambda: list(tree),
        lambda: db.snapshot().close(),
        lambda: tree.insert(b"a", b"1"),
        db.flush,
        db.generate_id,
        lambda: db.reserve_ids(5_000),
        lambda: tree.watch_prefix(b"").close(),
    ]
    for call in calls:
        cut(db, admin)
        call()
    assert tree.get(b"a") == b"1"


def test_a_transaction_whose_connection_is_cut_is_run_again(db, admin):
    tree, attempts = db.open_tree("t"), []

    def run(tx):
        attempts.append(tx.next_count())
        tx.open_tree("t").increment(b"n")
        if len(attempts) < 3:
            cut(db, admin)
        tx.open_tree("t").get(b"another")

    db.transaction(run)
    assert len(set(attempts)) == 3
    assert int.from_bytes(tree.get(b"n")) == 1


def test_a_snapshot_whose_connection_is_cut_says_so(db, admin):
    with db.snapshot() as view:
        cut(db, admin)
        with pytest.raises(UnavailableError):
            view.get(b"a")
    with db.snapshot() as view:
        assert view.get(b"a") is None


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_commit_whose_answer_is_lost_is_made_once(db, admin, monkeypatch, moment):
    """The connection goes just before or just after the server commits: it is asked which."""
    tree = db.open_tree("t")
    told = tree.watch_prefix(b"")
    run_all, runs = connections.Session.run, []

    def run(session, statements):
        if (sql.COMMIT, ()) in statements and not runs:
            runs.append(moment)
            if moment == "before":
                cut(db, admin)
            else:
                run_all(session, statements)
                cut(db, admin)
                session.close()
                raise faults.ConnectionLostError("cut")
        return run_all(session, statements)

    monkeypatch.setattr(connections.Session, "run", run)
    sequence = db.sequence
    assert tree.increment(b"n") == 1
    assert runs == [moment]
    assert int.from_bytes(tree.get(b"n")) == 1
    assert db.sequence == sequence + 1
    assert [event.key for event in iter(lambda: told.next(timeout=0), None)] == [b"n"]


def test_nobody_to_ask_about_a_commit(harness, admin, monkeypatch):
    db = open_more(harness, connect_timeout_ms=100, retries_max=0)

    def commit(*_):
        raise faults.ConnectionLostError("cut")

    def refuse(*_):
        raise UnavailableError("no server")

    monkeypatch.setattr(writing.Writing, "commit", commit)
    answers = [writer.Writer._locked]

    def lock(self):
        return (answers.pop() if answers else refuse)(self)

    monkeypatch.setattr(writer.Writer, "_locked", lock)
    with pytest.raises(UnavailableError, match="nobody can say") as caught:
        db.insert(b"a", b"1")
    assert caught.value.is_commit_unknown


def test_all_connections_in_use(harness):
    db = open_more(harness, **FEW)
    views = [db.snapshot() for _ in range(3)]
    with pytest.raises(UnavailableError, match="pool_max"):
        db.get(b"a")
    views.pop().close()
    assert db.get(b"a") is None
    del views
    assert db.get(b"a") is None


def test_an_iterator_left_in_the_middle_holds_no_connection(harness, monkeypatch):
    monkeypatch.setattr(instant, "FIRST_ROWS", 2)
    db = open_more(harness, **FEW)
    for number in range(10):
        db.insert(bytes([number]), b"")
    for _ in range(10):
        assert next(db.range()) == (b"\0", b"")
        assert next(db.keys()) == b"\0"
    items = db.range()
    assert [key for key, _ in items] == [bytes([number]) for number in range(10)]
    held = [db.range() for _ in range(2)]
    assert db.get(b"\0") == b""
    del held


def test_a_forked_child_is_refused_and_harms_nobody(db):
    db.insert(b"a", b"1")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            db.get(b"a")
        except LockedError:
            os.write(write, b"refused")
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(read, 100) == b"refused"
    os.close(read)
    os.waitpid(child, 0)
    assert db.get(b"a") == b"1"
    db.insert(b"a", b"2")


@pytest.mark.parametrize("ends", ["commits", "fails"])
def test_a_walk_that_finds_no_connection_to_go_on_with_leaves_no_lock(harness, monkeypatch, ends):
    """It outlives its transaction; a commit that cannot see to that fails whole."""
    monkeypatch.setattr(instant, "FIRST_ROWS", 2)
    db = open_more(harness, **FEW)
    for number in range(10):
        db.insert(bytes([number]), b"")
    views, held = [db.snapshot() for _ in range(2)], []

    def run(tx):
        held.append(tx.range())
        tx.put(b"new", b"1")
        if ends == "fails":
            raise ZeroDivisionError

    expected = UnavailableError if ends == "commits" else ZeroDivisionError
    with pytest.raises(expected):
        db.transaction(run)
    views.clear()
    assert b"new" not in db
    db.put(b"after", b"1")
    assert len(db) == 11


def test_a_walk_outlives_a_transaction_that_fails(db, monkeypatch):
    monkeypatch.setattr(instant, "FIRST_ROWS", 2)
    for number in range(10):
        db.insert(bytes([number]), b"")
    held = []

    def run(tx):
        held.extend((tx.range(), tx.range(reverse=True)))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.transaction(run)
    db.clear()
    assert [key[0] for key, _ in held[0]] == list(range(10))
    assert held[1].next_back() == (b"\0", b"")
    assert len(list(held[1])) == 9
