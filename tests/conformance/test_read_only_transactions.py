"""Read-only transactions: one state, no lock, no writes."""

import threading

import pytest

from conduitstore.engine import Batch
from conduitstore.errors import ClosedError, InvalidArgumentError
from conduitstore.kv import DEFAULT_TREE


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


WRITES = {
    "insert": lambda tx: tx.insert(b"b", b"2"),
    "insert into a tree": lambda tx: tx.open_tree("key_value").insert(b"b", b"2"),
    "put": lambda tx: tx.open_tree("key_value").put(b"b", b"2"),
    "remove": lambda tx: tx.open_tree("key_value").remove(b"a"),
    "remove what is not there": lambda tx: tx.open_tree("key_value").remove(b"z"),
    "compare_and_swap": lambda tx: tx.open_tree("key_value").compare_and_swap(b"a", b"z", None),
    "update_and_fetch": lambda tx: tx.update_and_fetch(b"a", lambda old: old),
    "fetch_and_update": lambda tx: tx.fetch_and_update(b"a", lambda old: old),
    "increment": lambda tx: tx.open_tree("key_value").increment(b"a"),
    "merge": lambda tx: tx.open_tree("key_value").merge(b"a", b"b"),
    "pop_min": lambda tx: tx.open_tree("key_value").pop_min(),
    "pop_max": lambda tx: tx.open_tree("not there").pop_max(),
    "remove_prefix": lambda tx: tx.remove_prefix(b"z"),
    "clear": lambda tx: tx.open_tree("key_value").clear(),
    "clear a tree that is not there": lambda tx: tx.open_tree("not there").clear(),
    "apply_batch": lambda tx: tx.apply_batch(Batch().insert("t", b"a", b"1")),
    "next_count": lambda tx: tx.next_count(),
    "generate_id": lambda tx: tx.generate_id(),
    "in a nested one": lambda tx: tx.transaction(lambda inner: inner.insert(b"b", b"2")),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("where", ["alone", "nested", "in a snapshot"])
def test_every_write_is_refused_where_it_stands(db, tree, where, write):
    tree.insert(b"a", b"1")
    refused = []

    def run(tx):
        with pytest.raises(InvalidArgumentError):
            WRITES[write](tx)
        refused.append(write)

    with db.snapshot() as view:
        {
            "alone": lambda: db.transaction(run, read_only=True),
            "nested": lambda: db.transaction(lambda tx: tx.transaction(run, read_only=True)),
            "in a snapshot": lambda: view.transaction(run, read_only=True),
        }[where]()
    assert refused
    assert list(tree) == [(b"a", b"1")]
    assert db.tree_names() == ["__default__", "key_value"]
    assert db.current_count() == 0


@pytest.mark.parametrize("through", ["the transaction", "its tree", "the store"])
def test_nested_it_undoes_what_handles_from_outside_wrote_and_says_so(db, tree, through):
    def run(tx):
        inner = tx.open_tree("key_value")
        inner.insert(b"kept", b"1")
        write = {
            "the transaction": lambda _: tx.open_tree("key_value").insert(b"a", b"2"),
            "its tree": lambda _: inner.insert(b"a", b"2"),
            "the store": lambda _: db.transaction(
                lambda joined: joined.open_tree("key_value").insert(b"a", b"2")
            ),
        }[through]
        with pytest.raises(InvalidArgumentError):
            tx.transaction(write, read_only=True)

    db.transaction(run)
    assert list(tree) == [(b"kept", b"1")]


def test_nested_it_reads_like_a_snapshot(db, tree):
    tree.insert(b"a", b"1")

    def read(tx):
        t, empty = tx.open_tree("key_value"), tx.open_tree("not there")
        assert (tx.name, t.name, empty.name) == (DEFAULT_TREE, "key_value", "not there")
        assert tx.get(b"d") == b"0"
        assert list(t) == [(b"a", b"1"), (b"b", b"2")]
        assert list(t.range(reverse=True, limit=1)) == [(b"b", b"2")]
        assert t.get_many([b"b", b"z"]) == [b"2", None]
        assert t.ranges([(b"b", None), (None, None)], limit=1) == [[(b"b", b"2")], [(b"a", b"1")]]
        assert (empty.get_many([b"a"]), empty.ranges([(None, None)])) == ([None], [[]])
        assert (len(tx), len(t), len(empty)) == (1, 2, 0)
        assert (list(empty), empty.get(b"a"), empty.last()) == ([], None, None)
        assert tx.current_count() == 1
        for call in (lambda: empty.get(b""), lambda: empty.range("a"), lambda: tx.open_tree("")):
            with pytest.raises(InvalidArgumentError):
                call()
        return tx.tree_names()

    def run(tx):
        tx.insert(b"d", b"0")
        tx.open_tree("key_value").insert(b"b", b"2")
        tx.next_count()
        return tx.transaction(read, read_only=True)

    assert db.transaction(run) == [DEFAULT_TREE, "key_value"] == db.tree_names()


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
