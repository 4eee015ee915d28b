"""Read-only transactions: one state, no lock, no writes."""

import threading

import pytest

from conduitstore.engine import Batch
from conduitstore.errors import ClosedError, InvalidArgumentError


def test_it_sees_one_state_and_gives_what_its_function_gives(db, tree):
    tree.insert(b"a", b"1")
    db.transaction(lambda tx: tx.next_count())

    def run(tx):
        t = tx.open_tree("key_value")
        before = list(t), tx.current_count(), tx.tree_names(), tx.get(b"a"), len(t)
        thread = threading.Thread(target=tree.insert, args=(b"b", b"2"))
        thread.start()
        thread.join(20)
        assert not thread.is_alive(), "it holds no writer up"
        assert before == (list(t), tx.current_count(), tx.tree_names(), tx.get(b"a"), len(t))
        assert list(tx.open_tree("not there")) == []
        assert t.first() == t.get_lt(b"b") == (b"a", b"1")
        return list(t)

    sequence = db.sequence
    assert db.transaction(run, read_only=True) == [(b"a", b"1")]
    assert db.sequence == sequence + 1
    assert "not there" not in db.tree_names()


def test_it_waits_for_no_writer(db, tree):
    inside, done = threading.Event(), threading.Event()

    def write(tx):
        tx.open_tree("key_value").insert(b"a", b"1")
        inside.set()
        assert done.wait(20)

    writer = threading.Thread(target=db.transaction, args=(write,))
    writer.start()
    assert inside.wait(20)
    assert db.transaction(lambda tx: tx.open_tree("key_value").get(b"a"), read_only=True) is None
    done.set()
    writer.join()
    assert tree.get(b"a") == b"1"


@pytest.mark.parametrize("where", ["alone", "nested", "in a snapshot"])
def test_every_write_is_refused(db, tree, where):
    tree.insert(b"a", b"1")
    writes = (
        lambda tx: tx.insert(b"b", b"2"),
        lambda tx: tx.open_tree("key_value").remove(b"a"),
        lambda tx: tx.open_tree("key_value").increment(b"a"),
        lambda tx: tx.open_tree("key_value").clear(),
        lambda tx: tx.apply_batch(Batch().insert("t", b"a", b"1")),
        lambda tx: tx.next_count(),
        lambda tx: tx.transaction(lambda inner: inner.insert(b"b", b"2")),
    )
    view = db.snapshot()
    run = {
        "alone": lambda write: db.transaction(write, read_only=True),
        "nested": lambda write: db.transaction(lambda tx: tx.transaction(write, read_only=True)),
        "in a snapshot": lambda write: view.transaction(write, read_only=True),
    }[where]
    for write in writes:
        with pytest.raises(InvalidArgumentError):
            run(write)
    view.close()
    assert list(tree) == [(b"a", b"1")]
    assert db.tree_names() == ["__default__", "key_value"]


def test_nested_in_a_writing_one_it_sees_what_that_wrote(db):
    def run(tx):
        tx.insert(b"a", b"1")
        return tx.transaction(lambda inner: inner.get(b"a"), read_only=True)

    assert db.transaction(run) == b"1"
    assert (
        db.transaction(lambda tx: tx.transaction(lambda inner: inner.get(b"a")), read_only=True)
        == b"1"
    )


def test_its_handles_end_with_it(db, tree):
    kept = db.transaction(lambda tx: (tx, tx.open_tree("key_value")), read_only=True)
    for handle in kept:
        with pytest.raises(ClosedError):
            handle.get(b"a")


def test_an_iterator_of_a_transaction_outlives_it(db, tree):
    """Read-only or not, and also behind writes of later commits."""
    for number in range(20):
        tree.insert(bytes([number]), b"1")
    wanted = list(tree)
    held = [
        db.transaction(lambda tx: tx.open_tree("key_value").range(), read_only=read_only)
        for read_only in (True, False)
    ]
    for number in range(20):
        tree.insert(bytes([number]), b"2")
        tree.insert(bytes([number, 1]), b"2")
    assert [list(items) for items in held] == [wanted, wanted]
