"""Transactions and batches: all or nothing, own writes in every read, savepoints, counts."""

import pytest

from conduitstore.engine import Batch
from conduitstore.errors import ClosedError, InvalidArgumentError
from conduitstore.kv import DEFAULT_TREE


class Undo(Exception):  # noqa: N818  # raised on purpose, it reports nothing
    """Leaves a transaction."""


def test_it_gives_what_the_function_gives(db):
    assert db.transaction(lambda _: "result") == "result"


def test_writes_over_trees_are_one_commit(db, tree):
    sequence = db.sequence

    def run(tx):
        tx.insert(b"a", b"0")
        tx.open_tree("key_value").insert(b"a", b"1")
        tx.open_tree("another").insert(b"a", b"2")
        tx.next_count()

    db.transaction(run)
    assert db.sequence == sequence + 1
    assert (db.get(b"a"), tree.get(b"a")) == (b"0", b"1")
    assert db.open_tree("another").get(b"a") == b"2"
    assert db.current_count() == 1


def test_every_read_sees_the_transactions_own_writes(db, tree):
    for key in (b"a", b"c", b"e"):
        tree.insert(key, b"old")

    def run(tx):
        t = tx.open_tree("key_value")
        t.insert(b"b", b"new")
        t.insert(b"c", b"new")
        t.remove(b"a")
        t.remove(b"e")
        t.insert(b"d", b"gone")
        t.remove(b"d")
        assert t.get_many([b"a", b"b", b"c", b"d", b"e"]) == [None, b"new", b"new", None, None]
        assert b"a" not in t
        assert t.contains_key(b"b")
        assert list(t) == list(t.range()) == [(b"b", b"new"), (b"c", b"new")]
        assert list(t.range(reverse=True)) == [(b"c", b"new"), (b"b", b"new")]
        assert t.ranges([(None, b"c"), (b"c", None)]) == [[(b"b", b"new")], [(b"c", b"new")]]
        assert list(t.keys(b"c")) == [b"c"]
        assert t.first() == (b"b", b"new")
        assert t.last() == (b"c", b"new")
        assert t.get_gt(b"b") == (b"c", b"new")
        assert t.get_lt(b"b") is None
        assert len(t) == 2
        assert t.pop_min() == (b"b", b"new")
        assert t.remove_prefix(b"") == 1
        assert len(t) == 0
        t.insert(b"z", b"1")
        t.clear()
        assert t.first() is None

    db.transaction(run)
    assert list(tree) == []


def test_two_handles_of_one_tree_see_each_other(db):
    def run(tx):
        tx.open_tree("t").insert(b"a", b"1")
        assert tx.open_tree("t").get(b"a") == b"1"
        tx.open_tree(DEFAULT_TREE).insert(b"a", b"0")
        assert tx.get(b"a") == b"0"

    db.transaction(run)


def test_an_exception_undoes_everything(db, tree):
    tree.insert(b"kept", b"1")
    sequence = db.sequence
    counts = []

    def run(tx):
        tx.insert(b"a", b"1")
        tx.open_tree("key_value").clear()
        tx.open_tree("new").insert(b"a", b"1")
        counts.append(tx.next_count())
        raise Undo

    with pytest.raises(Undo):
        db.transaction(run)
    assert db.get(b"a") is None
    assert list(tree) == [(b"kept", b"1")]
    assert db.tree_names() == [DEFAULT_TREE, "key_value"]
    assert db.current_count() == 0
    assert db.sequence == sequence
    assert db.transaction(lambda tx: tx.next_count()) not in counts


def test_even_an_interrupt_undoes_everything(db):
    def run(tx):
        tx.insert(b"a", b"1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        db.transaction(run)
    assert db.get(b"a") is None
    db.insert(b"a", b"2")
    assert db.get(b"a") == b"2"


# Nested transactions ------------------------------------------------------------------------------


@pytest.fixture(params=["on the transaction", "on the store"])
def nest(request, db):
    """Runs a nested transaction, in either way it may be asked for."""
    if request.param == "on the store":
        return lambda _, fn: db.transaction(fn)
    return lambda tx, fn: tx.transaction(fn)


def test_a_nested_transaction_joins(db, nest):
    sequence = db.sequence

    def inner(tx):
        assert tx.get(b"a") == b"1"
        tx.insert(b"b", b"2")
        return "inner"

    def outer(tx):
        tx.insert(b"a", b"1")
        assert nest(tx, inner) == "inner"
        assert tx.get(b"b") == b"2"

    db.transaction(outer)
    assert list(db) == [(b"a", b"1"), (b"b", b"2")]
    assert db.sequence == sequence + 1


def test_an_exception_undoes_the_nested_writes_only(db, nest, tree):
    tree.insert(b"kept", b"1")
    tree.insert(b"changed", b"1")

    def inner(tx):
        t = tx.open_tree("key_value")
        t.insert(b"mine", b"inner")
        t.insert(b"changed", b"inner")
        t.remove(b"kept")
        t.insert(b"other", b"inner")
        t.remove(b"mine")
        tx.open_tree("created inside").insert(b"a", b"1")
        raise Undo

    def outer(tx):
        t = tx.open_tree("key_value")
        t.insert(b"mine", b"outer")
        tx.open_tree("created outside").insert(b"a", b"1")
        with pytest.raises(Undo):
            nest(tx, inner)
        wanted = [(b"changed", b"1"), (b"kept", b"1"), (b"mine", b"outer")]
        assert list(t) == wanted
        assert tx.tree_names() == [DEFAULT_TREE, "created outside", "key_value"]
        t.insert(b"after", b"outer")

    db.transaction(outer)
    assert [key for key, _ in tree] == [b"after", b"changed", b"kept", b"mine"]
    assert db.tree_names() == [DEFAULT_TREE, "created outside", "key_value"]


def test_savepoints_nest_to_any_depth(db, nest):
    def level(depth):
        def run(tx):
            tx.insert(b"depth", str(depth).encode())
            tx.insert(bytes([depth]), b"")
            if depth < 6:
                try:
                    nest(tx, level(depth + 1))
                except Undo:
                    assert tx.get(b"depth") == str(depth).encode()
            if depth % 2:
                raise Undo

        return run

    db.transaction(level(0))
    assert list(db) == [(b"\x00", b""), (b"depth", b"0")]


def test_a_count_drawn_in_an_undone_nested_transaction_is_skipped(db, nest):
    def draw_and_undo(tx):
        drawn.append(tx.next_count())
        raise Undo

    def outer(tx):
        drawn.append(tx.next_count())
        with pytest.raises(Undo):
            nest(tx, draw_and_undo)
        assert tx.current_count() == drawn[0]

    drawn = []
    db.transaction(outer)
    assert db.current_count() == drawn[0] == 1
    third = db.transaction(lambda tx: tx.next_count())
    assert third > drawn[1]
    assert db.current_count() == third


def test_a_tree_created_by_an_undone_nested_transaction_is_gone(db, nest):
    def outer(tx):
        kept = []

        def inner(tx):
            kept.append(tx.open_tree("new"))
            kept[0].insert(b"a", b"1")
            raise Undo

        with pytest.raises(Undo):
            nest(tx, inner)
        with pytest.raises(InvalidArgumentError):
            kept[0].get(b"a")
        assert list(tx.open_tree("new")) == []

    db.transaction(outer)
    assert db.tree_names() == [DEFAULT_TREE, "new"]
    assert list(db.open_tree("new")) == []


def test_an_undone_nested_transaction_alone_is_no_commit(db, nest):
    def inner(tx):
        tx.insert(b"a", b"1")
        tx.open_tree("new")
        raise Undo

    def outer(tx):
        with pytest.raises(Undo):
            nest(tx, inner)

    sequence = db.sequence
    db.transaction(outer)
    assert db.sequence == sequence


# Counts -------------------------------------------------------------------------------------------


def test_counts_begin_at_one_and_show_with_the_commit(db):
    def run(tx):
        assert tx.current_count() == 0
        assert [tx.next_count() for _ in range(3)] == [1, 2, 3]
        assert tx.current_count() == 3

    db.transaction(run)
    assert db.current_count() == 3
    assert db.transaction(lambda tx: tx.current_count()) == 3


# Handles ------------------------------------------------------------------------------------------


def test_inside_other_handles_of_the_store_are_refused(db, tree):
    tree.insert(b"a", b"1")
    view = db.snapshot()
    frozen = view.open_tree("key_value")

    def run(tx):
        tx.insert(b"mine", b"1")
        for call in (
            lambda: db.get(b"a"),
            lambda: db.insert(b"a", b"1"),
            lambda: db.open_tree("key_value"),
            lambda: db.open_tree("new"),
            lambda: db.drop_tree("key_value"),
            lambda: db.apply_batch(Batch().insert("key_value", b"a", b"1")),
            db.tree_names,
            db.current_count,
            db.generate_id,
            lambda: db.reserve_ids(2),
            db.snapshot,
            db.flush,
            db.checksum,
            db.close,
            lambda: tree.get(b"a"),
            lambda: b"a" in tree,
            lambda: tree.get_many([b"a"]),
            lambda: tree.ranges([(b"a", None)]),
            tree.range,
            tree.first,
            lambda: len(tree),
            lambda: tree.insert(b"a", b"1"),
            lambda: tree.increment(b"a"),
            tree.clear,
            lambda: tree.watch_prefix(b""),
            lambda: view.get(b"a"),
            lambda: frozen.get(b"a"),
            frozen.range,
        ):
            with pytest.raises(InvalidArgumentError):
                call()

    db.transaction(run)
    assert db.get(b"mine") == b"1"
    assert tree.get(b"a") == frozen.get(b"a") == b"1"
    view.close()


def test_an_update_function_may_not_use_the_store(db, tree):
    with pytest.raises(InvalidArgumentError):
        tree.update_and_fetch(b"a", lambda _: db.get(b"a") or b"")
    assert list(tree) == []


def test_another_store_may_be_used_inside(db, harness_class):
    with harness_class().open() as other:
        other.insert(b"a", b"1")
        db.transaction(lambda tx: tx.insert(b"a", other.get(b"a")))
        db.transaction(lambda tx: other.insert(b"b", tx.get(b"a")))
        assert other.get(b"b") == b"1"


def test_handles_end_with_their_transaction(db):
    def run(tx):
        return tx, tx.open_tree("t")

    tx, tree = db.transaction(run)
    for call in (
        lambda: tx.get(b"a"),
        lambda: tx.insert(b"a", b"1"),
        lambda: tx.open_tree("t"),
        lambda: tx.transaction(lambda _: None),
        tx.tree_names,
        tx.current_count,
        tx.next_count,
        tx.generate_id,
        lambda: tx.apply_batch(Batch()),
        lambda: tree.get(b"a"),
        lambda: tree.remove(b"a"),
        tree.range,
        lambda: len(tree),
    ):
        with pytest.raises(ClosedError):
            call()


# Batches ------------------------------------------------------------------------------------------


@pytest.fixture(params=["store", "transaction"])
def apply_batch(request, db):
    if request.param == "store":
        return db.apply_batch
    return lambda batch: db.transaction(lambda tx: tx.apply_batch(batch))


def test_a_batch_is_one_commit_over_trees(db, tree, apply_batch):
    tree.insert(b"gone", b"1")
    sequence = db.sequence
    batch = Batch().insert(tree, b"a", b"1").insert("new", b"a", b"2").remove(tree, b"gone")
    apply_batch(batch.insert(db, b"a", b"0").remove(tree, b"absent"))
    assert db.sequence == sequence + 1
    assert list(tree) == [(b"a", b"1")]
    assert list(db.open_tree("new")) == [(b"a", b"2")]
    assert db.get(b"a") == b"0"


def test_a_later_write_of_a_batch_wins(tree, apply_batch):
    batch = Batch().insert(tree, b"a", b"1").remove(tree, b"a").remove(tree, b"b")
    apply_batch(batch.insert(tree, b"b", b"1").insert(tree, b"b", b"2"))
    assert list(tree) == [(b"b", b"2")]


def test_an_empty_batch_is_no_commit(db, apply_batch):
    sequence = db.sequence
    apply_batch(Batch())
    assert db.sequence == sequence


def test_a_batch_may_be_applied_again(db, tree, apply_batch):
    batch = Batch().insert(tree, b"a", b"1")
    apply_batch(batch)
    tree.clear()
    apply_batch(batch)
    assert list(tree) == [(b"a", b"1")]


def test_a_batch_is_seen_by_the_rest_of_its_transaction(db, tree):
    def run(tx):
        tx.apply_batch(Batch().insert("key_value", b"a", b"1"))
        assert tx.open_tree("key_value").get(b"a") == b"1"
        raise Undo

    with pytest.raises(Undo):
        db.transaction(run)
    assert list(tree) == []
