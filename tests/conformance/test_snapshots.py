"""Snapshots: every tree and the count at one instant, and nothing can be written through them."""

import pytest

from conduitstore.errors import ClosedError, InvalidArgumentError
from conduitstore.kv import DEFAULT_TREE


def content(view):
    return {name: list(view.open_tree(name)) for name in view.tree_names()}


def test_a_snapshot_stays_as_it_was(db, tree):
    db.insert(b"a", b"0")
    for number in range(20):
        tree.insert(bytes([number]), b"old")
    db.transaction(lambda tx: tx.next_count())
    with db.snapshot() as view:
        before, sequence = content(view), db.sequence
        for number in range(0, 40, 2):
            tree.insert(bytes([number]), b"new")
        tree.remove(b"\x01")
        db.clear()
        db.open_tree("later").insert(b"a", b"1")
        db.transaction(lambda tx: tx.next_count())
        assert content(view) == before
        assert view.tree_names() == [DEFAULT_TREE, "key_value"]
        assert view.get(b"a") == b"0"
        assert view.open_tree("key_value").get(b"\x00") == b"old"
        assert len(view.open_tree("key_value")) == 20
        assert view.current_count() == 1
        assert view.sequence == sequence
        tree.clear()
        db.drop_tree("key_value")
        assert content(view) == before


def test_snapshots_of_different_moments_are_apart(db):
    views = []
    for number in range(8):
        db.insert(b"a", bytes([number]))
        db.insert(bytes([number]), b"")
        views.append(db.snapshot())
    for number, view in enumerate(views):
        assert view.get(b"a") == bytes([number])
        assert len(view) == number + 2
        assert view.sequence == 2 * (number + 1)
        view.close()


def test_it_reads_like_a_tree(db, tree):
    for key in (b"a", b"ab", b"b"):
        tree.insert(key, key)
    with db.snapshot() as view:
        frozen = view.open_tree("key_value")
        tree.clear()
        assert frozen.name == "key_value"
        assert frozen.first() == (b"a", b"a")
        assert frozen.last() == (b"b", b"b")
        assert frozen.get_lt(b"b") == (b"ab", b"ab")
        assert frozen.get_gt(b"a") == (b"ab", b"ab")
        assert frozen.get_many([b"b", b"x"]) == [b"b", None]
        assert frozen.ranges([(b"ab", None)], limit=1) == [[(b"ab", b"ab")]]
        assert b"ab" in frozen
        assert list(frozen.keys(b"a", reverse=True)) == [b"ab", b"a"]
        assert list(frozen.range(b"ab", limit=1)) == [(b"ab", b"ab")]


def test_a_tree_it_does_not_have_is_empty(db):
    with db.snapshot() as view:
        db.open_tree("later").insert(b"a", b"1")
        assert list(view.open_tree("later")) == []
        assert view.open_tree("never").get(b"a") is None
        assert view.tree_names() == [DEFAULT_TREE]
    assert db.tree_names() == [DEFAULT_TREE, "later"]


def test_it_cannot_be_written(db, tree):
    tree.insert(b"a", b"1")
    sequence = db.sequence
    with db.snapshot() as view:
        for frozen in (view, view.open_tree("key_value"), view.open_tree("never")):
            for call in (
                lambda t: t.insert(b"a", b"2"),
                lambda t: t.remove(b"a"),
                lambda t: t.put(b"a", b"2"),
                lambda t: t.compare_and_swap(b"a", None, b"2"),
                lambda t: t.update_and_fetch(b"a", lambda _: b"2"),
                lambda t: t.fetch_and_update(b"a", lambda _: b"2"),
                lambda t: t.increment(b"a"),
                lambda t: t.merge(b"a", b"2"),
                lambda t: t.set_merge_operator(lambda _key, _old, operand: operand, name="last"),
                lambda t: t.pop_min(),
                lambda t: t.pop_max(),
                lambda t: t.remove_prefix(b""),
                lambda t: t.clear(),
                lambda t: t.watch_prefix(b""),
            ):
                with pytest.raises(InvalidArgumentError):
                    call(frozen)
        with pytest.raises(InvalidArgumentError):
            view.transaction(lambda _: None)
    assert db.sequence == sequence
    assert list(tree) == [(b"a", b"1")]


def test_a_closed_snapshot_says_so(db, tree):
    with db.snapshot() as view:
        frozen = view.open_tree("key_value")
    for call in (
        lambda: view.get(b"a"),
        lambda: view.open_tree("key_value"),
        view.tree_names,
        view.current_count,
        lambda: frozen.get(b"a"),
        frozen.range,
        lambda: len(frozen),
    ):
        with pytest.raises(ClosedError):
            call()
    view.close()


def test_a_snapshot_never_closed_harms_nobody(db, tree):
    tree.insert(b"a", b"1")
    view = db.snapshot()
    del view
    tree.insert(b"a", b"2")
    assert tree.get(b"a") == b"2"
