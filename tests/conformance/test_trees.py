"""The store as a whole: its trees, sequence, ids, checksum, and its end."""

import asyncio
import gc

import pytest

from conduitstore.errors import ClosedError, InvalidArgumentError
from conduitstore.kv import DEFAULT_TREE


def test_a_new_store_is_empty(db):
    assert db.tree_names() == [DEFAULT_TREE]
    assert db.sequence == 0
    assert db.current_count() == 0
    assert list(db) == []
    assert db.checksum() == 0
    assert not db.was_recovered


def test_the_store_is_its_default_tree(db):
    db.insert(b"a", b"1")
    assert db.name == DEFAULT_TREE
    assert db.open_tree(DEFAULT_TREE).get(b"a") == b"1"
    assert db.transaction(lambda tx: tx.get(b"a")) == b"1"
    assert db.transaction(lambda tx: tx.name) == DEFAULT_TREE
    with db.snapshot() as view:
        assert (view.get(b"a"), view.name) == (b"1", DEFAULT_TREE)


def test_trees_are_apart(db):
    for name in ("b", "a", "é"):
        db.open_tree(name).insert(b"key", name.encode())
    assert db.tree_names() == [DEFAULT_TREE, "a", "b", "é"]
    assert [db.open_tree(name).get(b"key") for name in "abé"] == [b"a", b"b", "é".encode()]
    assert db.get(b"key") is None


def test_handles_of_one_name_are_one_tree(db):
    one, two = db.open_tree("t"), db.open_tree("t")
    assert one.name == two.name == "t"
    one.insert(b"a", b"1")
    assert two.remove(b"a") == b"1"
    assert one.get(b"a") is None


@pytest.mark.parametrize("name", ["", "a" * 256, "é" * 128, "a\0b", "\ud800", b"a", None, 1])
def test_a_bad_tree_name_is_refused(db, name):
    with pytest.raises(InvalidArgumentError):
        db.open_tree(name)
    with pytest.raises(InvalidArgumentError):
        db.drop_tree(name)
    with pytest.raises(InvalidArgumentError):
        db.transaction(lambda tx: tx.open_tree(name))
    with db.snapshot() as view, pytest.raises(InvalidArgumentError):
        view.open_tree(name)
    assert db.tree_names() == [DEFAULT_TREE]


def test_the_longest_tree_name(db):
    db.open_tree("é" * 127 + "x").insert(b"a", b"1")
    assert db.open_tree("é" * 127 + "x").get(b"a") == b"1"


# Sequence -----------------------------------------------------------------------------------------


def test_each_change_is_one_commit(db):
    steps = [
        lambda: db.open_tree("t"),
        lambda: db.open_tree("t").insert(b"a", b"1"),
        lambda: db.open_tree("t").insert(b"a", b"1"),
        lambda: db.open_tree("t").insert(b"b", b"2"),
        lambda: db.open_tree("t").clear(),
        lambda: db.transaction(lambda tx: tx.next_count()),
        lambda: db.drop_tree("t"),
    ]
    for number, step in enumerate(steps, 1):
        step()
        assert db.sequence == number


def test_what_changes_nothing_is_no_commit(db, tree):
    tree.insert(b"a", b"1")
    sequence = db.sequence
    for step in (
        lambda: tree.remove(b"absent"),
        lambda: tree.compare_and_swap(b"a", b"0", b"2"),
        lambda: tree.compare_and_swap(b"absent", None, None),
        lambda: tree.update_and_fetch(b"absent", lambda _: None),
        lambda: tree.remove_prefix(b"absent"),
        db.clear,
        db.pop_min,
        lambda: db.open_tree("key_value"),
        lambda: db.drop_tree("absent"),
        lambda: db.transaction(lambda tx: tx.open_tree("key_value").get(b"a")),
        lambda: db.transaction(lambda tx: (tx.insert(b"x", b"1"), tx.remove(b"x"))),
        db.generate_id,
        db.checksum,
        db.flush,
    ):
        step()
        assert db.sequence == sequence


# Dropping -----------------------------------------------------------------------------------------


def test_dropping_a_tree(db, tree):
    tree.insert(b"a", b"1")
    assert db.drop_tree("key_value") is True
    assert db.tree_names() == [DEFAULT_TREE]
    assert db.drop_tree("key_value") is False


def test_the_default_tree_stays(db):
    db.insert(b"a", b"1")
    with pytest.raises(InvalidArgumentError):
        db.drop_tree(DEFAULT_TREE)
    assert db.get(b"a") == b"1"


@pytest.mark.parametrize("opened_again", [False, True])
def test_handles_of_a_dropped_tree_say_so(db, tree, opened_again):
    tree.insert(b"a", b"1")
    db.drop_tree("key_value")
    if opened_again:
        db.open_tree("key_value").insert(b"a", b"2")
    sequence = db.sequence
    for call in (
        lambda: tree.get(b"a"),
        lambda: tree.contains_key(b"a"),
        lambda: tree.get_many([b"a"]),
        lambda: tree.ranges([(b"a", None)]),
        tree.range,
        lambda: tree.scan_prefix(b""),
        tree.first,
        tree.last,
        lambda: len(tree),
        lambda: tree.insert(b"a", b"3"),
        lambda: tree.remove(b"a"),
        lambda: tree.increment(b"a"),
        tree.clear,
        tree.pop_min,
        lambda: tree.watch_prefix(b""),
        lambda: tree.set_merge_operator(lambda _key, _old, operand: operand, name="last"),
    ):
        with pytest.raises(InvalidArgumentError, match="open it again"):
            call()
    assert db.sequence == sequence


def test_a_name_opened_after_a_drop_is_a_new_tree(db, tree):
    tree.insert(b"a", b"1")
    db.drop_tree("key_value")
    again = db.open_tree("key_value")
    assert list(again) == []
    again.insert(b"a", b"2")
    assert list(again) == [(b"a", b"2")]


# Ids ----------------------------------------------------------------------------------------------


def test_ids_begin_at_zero_and_never_repeat(db):
    assert [db.generate_id() for _ in range(3)] == [0, 1, 2]
    assert db.reserve_ids(5) == range(3, 8)
    assert db.transaction(lambda tx: tx.generate_id()) == 8
    assert len(db.reserve_ids(0)) == 0
    assert db.generate_id() == 9


def test_the_ids_of_a_failed_transaction_are_not_given_out_again(db):
    taken = []

    def run(tx):
        taken.append(tx.generate_id())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.transaction(run)
    assert db.generate_id() not in taken


@pytest.mark.parametrize("total", [-1, 1.0, "1", None])
def test_a_bad_total_of_ids_is_refused(db, total):
    with pytest.raises(InvalidArgumentError):
        db.reserve_ids(total)
    assert db.generate_id() == 0


# Durability ---------------------------------------------------------------------------------------


def test_a_flush_makes_everything_durable(db):
    db.insert(b"a", b"1")
    assert db.flush() == db.sequence == db.durable_sequence
    db.insert(b"b", b"1")
    assert asyncio.run(db.flush_async()) == db.sequence == db.durable_sequence


def test_waiting_for_durability(db):
    db.insert(b"a", b"1")
    asyncio.run(db.wait_durable(db.sequence))
    assert db.durable_sequence == db.sequence


def test_waiting_for_a_commit_that_is_not_there_yet_is_refused(db):
    with pytest.raises(InvalidArgumentError):
        asyncio.run(db.wait_durable(db.sequence + 1))


def test_a_durable_commit_is_durable_when_it_returns(db):
    db.insert(b"before", b"1")
    db.transaction(lambda tx: tx.insert(b"a", b"1"), durability="commit")
    assert db.durable_sequence == db.sequence


def test_an_unknown_durability_is_refused(db):
    with pytest.raises(InvalidArgumentError):
        db.transaction(lambda tx: tx.insert(b"a", b"1"), durability="sometimes")
    assert db.sequence == 0


# Checksum -----------------------------------------------------------------------------------------


def test_the_checksum_has_one_meaning_on_every_engine(db):
    """CRC-32 of each non-empty tree's name, keys and values, all behind their lengths."""
    db.open_tree("empty")
    db.open_tree("tree").insert(b"key", b"value")
    db.insert(b"\xff", b"")
    assert db.checksum() == 0xFA36B950


def test_the_checksum_tells_contents_apart_not_histories(db, tree):
    seen = set()
    for key, value in ((b"a", b"bc"), (b"ab", b"c"), (b"abc", b"")):
        tree.clear()
        tree.insert(key, value)
        seen.add(db.checksum())
    tree.clear()
    db.insert(b"a", b"bc")
    seen.add(db.checksum())
    db.clear()
    assert db.checksum() == 0
    assert len(seen) == 4


# The end ------------------------------------------------------------------------------------------


def test_after_close_every_call_says_so(db, tree):
    tree.insert(b"a", b"1")
    view = db.snapshot()
    inner = view.open_tree("key_value")
    db.close()
    for call in (
        lambda: db.get(b"a"),
        lambda: db.insert(b"a", b"1"),
        lambda: db.open_tree("key_value"),
        lambda: db.open_tree("new"),
        lambda: db.drop_tree("key_value"),
        db.tree_names,
        db.current_count,
        lambda: db.transaction(lambda _: None),
        db.snapshot,
        db.generate_id,
        lambda: db.reserve_ids(2),
        db.flush,
        lambda: asyncio.run(db.flush_async()),
        db.checksum,
        lambda: tree.get(b"a"),
        lambda: tree.get_many([b"a"]),
        lambda: tree.ranges([(b"a", None)]),
        tree.range,
        lambda: len(tree),
        lambda: tree.remove(b"a"),
        lambda: tree.watch_prefix(b""),
        lambda: view.get(b"a"),
        lambda: inner.get(b"a"),
        inner.range,
    ):
        with pytest.raises(ClosedError):
            call()


def test_closing_twice_is_fine(db):
    db.close()
    db.close()


def test_with_closes(harness):
    with harness.open() as db:
        assert db.insert(b"a", b"1") is None
    with pytest.raises(ClosedError):
        db.get(b"a")


def test_a_tree_keeps_its_store_alive(harness):
    tree = harness.open().open_tree("key_value")
    gc.collect()
    tree.insert(b"a", b"1")
    assert tree.get(b"a") == b"1"
    db = tree._store
    db.close()
