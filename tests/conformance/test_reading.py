"""Point reads, neighbours, and what a key may be."""

import pytest

from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import KEY_BYTES_MAX

LONGEST = b"\xff" * KEY_BYTES_MAX


def test_an_absent_key_is_none(tree):
    assert tree.get(b"a") is None
    assert not tree.contains_key(b"a")
    assert b"a" not in tree


def test_what_was_inserted_is_read(tree):
    tree.insert(b"a", b"1")
    assert tree.get(b"a") == b"1"
    assert tree.contains_key(b"a")
    assert b"a" in tree


def test_an_empty_value_is_there(tree):
    tree.insert(b"a", b"")
    assert tree.get(b"a") == b""
    assert b"a" in tree
    assert list(tree) == [(b"a", b"")]


def test_the_longest_key(tree):
    tree.insert(LONGEST, b"1")
    tree.insert(LONGEST[:-1], b"0")
    assert tree.get(LONGEST) == b"1"
    assert tree.last() == (LONGEST, b"1")
    assert tree.get_lt(LONGEST) == (LONGEST[:-1], b"0")
    assert tree.get_gt(LONGEST[:-1]) == (LONGEST, b"1")
    assert tree.get_gt(LONGEST) is None
    assert tree.remove(LONGEST) == b"1"


def test_reading_twice_copies_nothing_that_is_in_the_process(tree, harness):
    tree.insert(b"a", bytes(1_000))
    assert (tree.get(b"a") is tree.get(b"a")) == harness.keeps_in_process


def test_get_many_sees_what_was_written_while_its_keys_were_made(db):
    def run(tx):
        def keys():
            tx.insert(b"a", b"1")
            yield b"a"

        assert tx.get_many(keys()) == [b"1"]

    db.transaction(run)


def test_get_many_keeps_order_and_repeats(tree):
    tree.insert(b"a", b"1")
    tree.insert(b"b", b"2")
    assert tree.get_many([b"b", b"x", b"a", b"b"]) == [b"2", None, b"1", b"2"]
    assert tree.get_many(iter([b"a"])) == [b"1"]
    assert tree.get_many([]) == []


def test_first_and_last(tree):
    assert tree.first() is None
    assert tree.last() is None
    for key in (b"m", b"\x00", b"\xff\xff"):
        tree.insert(key, key)
    assert tree.first() == (b"\x00", b"\x00")
    assert tree.last() == (b"\xff\xff", b"\xff\xff")


def test_neighbours_are_strict(tree):
    for key in (b"a", b"b", b"b\x00"):
        tree.insert(key, key)
    assert tree.get_lt(b"a") is None
    assert tree.get_lt(b"b") == (b"a", b"a")
    assert tree.get_lt(b"b\x00") == (b"b", b"b")
    assert tree.get_lt(b"\xff" * 3_000) == (b"b\x00", b"b\x00")
    assert tree.get_gt(b"") == (b"a", b"a")
    assert tree.get_gt(b"a") == (b"b", b"b")
    assert tree.get_gt(b"b") == (b"b\x00", b"b\x00")
    assert tree.get_gt(b"b\x00") is None
    assert tree.get_lt(b"") is None


def test_len_counts_entries(tree):
    assert len(tree) == 0
    for number in range(20):
        tree.insert(bytes([number]), b"")
    tree.insert(b"\x00", b"again")
    tree.remove(b"\x01")
    tree.remove(b"absent")
    assert len(tree) == 19


def test_an_empty_tree_is_still_true(tree, db):
    assert tree
    assert db
    with db.snapshot() as view:
        assert view.open_tree("key_value")
    assert db.transaction(bool)


def test_iterating_a_tree_gives_its_items_in_order(tree):
    for key in (b"b", b"\xff", b"a", b"\x00"):
        tree.insert(key, b"")
    assert [key for key, _ in tree] == [b"\x00", b"a", b"b", b"\xff"]


@pytest.mark.parametrize("key", ["a", None, 1, bytearray(b"a"), b"", bytes(KEY_BYTES_MAX + 1)])
@pytest.mark.parametrize("where", ["store", "transaction", "snapshot"])
def test_a_bad_key_is_refused_by_every_read(db, key, where):
    def read(view):
        tree = view.open_tree("key_value")
        with pytest.raises(InvalidArgumentError):
            tree.get(key)
        with pytest.raises(InvalidArgumentError):
            tree.contains_key(key)
        with pytest.raises(InvalidArgumentError):
            _ = key in tree
        with pytest.raises(InvalidArgumentError):
            tree.get_many([b"fine", key])

    if where == "store":
        read(db)
    elif where == "transaction":
        db.transaction(read)
    else:
        with db.snapshot() as view:
            read(view)


@pytest.mark.parametrize("bound", ["a", 1, bytearray(b"a")])
def test_a_bound_must_be_bytes(tree, bound):
    for call in (
        lambda: tree.range(bound),
        lambda: tree.ranges([(b"fine", None), (None, bound)]),
        lambda: tree.ranges([(bound, None)]),
        lambda: tree.range(None, bound),
        lambda: tree.scan_prefix(bound),
        lambda: tree.scan_prefix(b"", start=bound),
        lambda: tree.keys(bound),
        lambda: tree.get_lt(bound),
        lambda: tree.get_gt(bound),
    ):
        with pytest.raises(InvalidArgumentError):
            call()


@pytest.mark.parametrize("limit", [-1, 1.5, "1", True])
def test_a_limit_must_be_a_whole_number(tree, limit):
    calls = (
        tree.range,
        lambda **at: tree.ranges([], **at),
        lambda **at: tree.scan_prefix(b"", **at),
        tree.keys,
    )
    for call in calls:
        with pytest.raises(InvalidArgumentError):
            call(limit=limit)


@pytest.mark.parametrize("pair", [(b"a",), (b"a", b"b", b"c"), b"ab", [b"a", b"b"], None])
def test_a_range_among_many_is_a_pair(tree, pair):
    with pytest.raises(InvalidArgumentError, match=r"\(lo, hi\)"):
        tree.ranges([pair])


def test_neighbours_need_a_key(tree):
    for call in (tree.get_lt, tree.get_gt):
        with pytest.raises(InvalidArgumentError):
            call(None)


def test_a_dict_of_a_tree_is_made_of_its_items(db, tree):
    tree.insert(b"a", b"1")

    with db.snapshot() as view:
        handles = [tree, view.open_tree("key_value")]
        assert [dict(iter(one)) for one in handles] == [{b"a": b"1"}] * 2
        for one in handles:
            with pytest.raises(InvalidArgumentError, match=r"dict\(iter\(tree\)\)"):
                dict(one)

    def inside(tx):
        assert dict(iter(tx.open_tree("key_value"))) == {b"a": b"1"}
        with pytest.raises(InvalidArgumentError, match=r"get\(key\)"):
            tx.open_tree("key_value")[b"a"]

    db.transaction(inside)
