"""Single writes: what they give back, what they refuse, and that a failing one leaves nothing."""

import pytest

from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import IDS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX, CompareAndSwapFailure


@pytest.fixture(params=["store", "transaction"])
def write(request, db, tree):
    """Runs a function on the tree of the store, or on that of a transaction."""
    if request.param == "store":
        return lambda fn: fn(tree)
    return lambda fn: db.transaction(lambda tx: fn(tx.open_tree("key_value")))


def test_insert_and_remove_give_the_value_that_was(write, tree):
    def run(t):
        assert t.insert(b"a", b"1") is None
        assert t.insert(b"a", b"2") == b"1"
        assert t.remove(b"a") == b"2"
        assert t.remove(b"a") is None
        assert t.insert(b"a", b"") is None
        assert t.insert(b"a", b"3") == b""

    write(run)
    assert list(tree) == [(b"a", b"3")]


def test_put_sets_and_deletes_and_says_nothing(write, db, tree):
    def run(t):
        assert t.put(b"a", b"1") is None
        assert t.put(b"a", b"2") is None
        t.put(b"b", b"")
        t.put(b"c", b"3")
        t.put(b"c", None)
        t.put(b"absent", None)
        assert (t.get(b"a"), t.get(b"b"), t.get(b"c")) == (b"2", b"", None)
        assert len(t) == 2

    write(run)
    assert list(tree) == [(b"a", b"2"), (b"b", b"")]
    sequence = db.sequence
    write(lambda t: t.put(b"absent", None))
    assert db.sequence == sequence


def test_compare_and_swap(write, tree):
    def run(t):
        assert t.compare_and_swap(b"a", b"0", b"1") == CompareAndSwapFailure(None, b"1")
        assert t.compare_and_swap(b"a", None, b"1") is None
        assert t.compare_and_swap(b"a", None, b"2") == CompareAndSwapFailure(b"1", b"2")
        assert t.compare_and_swap(b"a", b"1", b"2") is None
        assert t.compare_and_swap(b"a", b"1", None) == CompareAndSwapFailure(b"2", None)
        assert t.get(b"a") == b"2"
        assert t.compare_and_swap(b"a", b"2", None) is None
        assert t.compare_and_swap(b"a", None, None) is None
        assert t.get(b"a") is None
        assert t.compare_and_swap(b"a", None, b"") is None
        assert t.compare_and_swap(b"a", None, b"3") == CompareAndSwapFailure(b"", b"3")

    write(run)
    assert list(tree) == [(b"a", b"")]


def test_update_gives_the_new_or_the_old_value(write, tree):
    def longer(old):
        return (old or b"") + b"x"

    def run(t):
        assert t.update_and_fetch(b"a", longer) == b"x"
        assert t.update_and_fetch(b"a", longer) == b"xx"
        assert t.fetch_and_update(b"a", longer) == b"xx"
        assert t.fetch_and_update(b"b", longer) is None
        assert t.get(b"a") == b"xxx"

    write(run)
    assert list(tree) == [(b"a", b"xxx"), (b"b", b"x")]


def test_an_update_to_none_deletes(write, tree):
    def run(t):
        t.insert(b"a", b"1")
        assert t.update_and_fetch(b"a", lambda _: None) is None
        t.insert(b"b", b"1")
        assert t.fetch_and_update(b"b", lambda _: None) == b"1"
        assert t.update_and_fetch(b"c", lambda _: None) is None

    write(run)
    assert list(tree) == []


def test_increment_counts_big_endian(write, tree):
    def run(t):
        assert [t.increment(b"a") for _ in range(3)] == [1, 2, 3]
        assert t.get(b"a") == bytes(7) + b"\x03"
        t.insert(b"a", bytes(7) + b"\xff")
        assert t.increment(b"a") == 256

    write(run)
    assert tree.get(b"a") == bytes(6) + b"\x01\x00"


@pytest.mark.parametrize("other_width", [b"", b"\x09", bytes(7), bytes(8) + b"\x09"])
def test_increment_takes_another_width_for_zero(write, other_width):
    def run(t):
        t.insert(b"a", other_width)
        assert t.increment(b"a") == 1
        assert t.get(b"a") == bytes(7) + b"\x01"

    write(run)


def test_increment_wraps_at_64_bits(write):
    def run(t):
        t.insert(b"a", b"\xff" * 8)
        assert t.increment(b"a") == 0
        assert t.get(b"a") == bytes(8)

    write(run)


def test_pops_take_from_the_ends(write, tree):
    def run(t):
        assert t.pop_min() is None
        assert t.pop_max() is None
        for key in (b"a", b"b", b"c"):
            t.insert(key, key)
        assert t.pop_max() == (b"c", b"c")
        assert t.pop_min() == (b"a", b"a")
        assert t.pop_min() == (b"b", b"b")
        assert t.pop_max() is None

    write(run)
    assert list(tree) == []


@pytest.mark.parametrize(
    ("prefix", "left"),
    [
        (b"", []),
        (b"a", [b"\x00", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x00"]),
        (b"\xff", [b"\x00", b"a", b"a\xff", b"a\xff\x00", b"b"]),
        (b"\xff\xff", [b"\x00", b"a", b"a\xff", b"a\xff\x00", b"b", b"\xff"]),
        (b"a\xff", [b"\x00", b"a", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x00"]),
    ],
)
def test_remove_prefix(write, tree, prefix, left):
    keys = [b"\x00", b"a", b"a\xff", b"a\xff\x00", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x00"]

    def run(t):
        for key in keys:
            t.insert(key, b"")
        assert t.remove_prefix(prefix) == len(keys) - len(left)
        assert t.remove_prefix(prefix) == 0

    write(run)
    assert [key for key, _ in tree] == left


def test_clear_empties_this_tree_only(write, db, tree):
    db.insert(b"a", b"default")
    for number in range(100):
        tree.insert(bytes([number]), b"")
    write(lambda t: t.clear())
    assert list(tree) == []
    assert len(tree) == 0
    assert db.get(b"a") == b"default"
    assert tree.insert(b"a", b"1") is None


@pytest.mark.parametrize("key", ["a", None, bytearray(b"a"), b"", bytes(KEY_BYTES_MAX + 1)])
def test_a_bad_key_is_refused_by_every_write(write, tree, key):
    tree.set_merge_operator(lambda _key, _old, operand: operand, name="last")
    calls = [
        lambda t: t.insert(key, b"1"),
        lambda t: t.remove(key),
        lambda t: t.put(key, b"1"),
        lambda t: t.put(key, None),
        lambda t: t.compare_and_swap(key, None, b"1"),
        lambda t: t.compare_and_swap(key, None, None),
        lambda t: t.update_and_fetch(key, lambda _: b"1"),
        lambda t: t.fetch_and_update(key, lambda _: None),
        lambda t: t.increment(key),
        lambda t: t.merge(key, b"1"),
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError):
            write(call)
    assert list(tree) == []


@pytest.mark.parametrize("value", ["1", 1, bytearray(b"1"), memoryview(b"1")])
def test_a_bad_value_is_refused_by_every_write(write, tree, value):
    tree.set_merge_operator(lambda _key, _old, operand: operand, name="last")
    calls = [
        lambda t: t.insert(b"a", value),
        lambda t: t.put(b"a", value),
        lambda t: t.compare_and_swap(b"a", None, value),
        lambda t: t.compare_and_swap(b"a", value, b"1"),
        lambda t: t.update_and_fetch(b"a", lambda _: value),
        lambda t: t.fetch_and_update(b"a", lambda _: value),
        lambda t: t.merge(b"a", value),
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError):
            write(call)
    with pytest.raises(InvalidArgumentError):
        write(lambda t: t.insert(b"a", None))
    assert list(tree) == []


def test_a_value_that_is_too_large_is_refused(write, tree):
    with pytest.raises(InvalidArgumentError):
        write(lambda t: t.insert(b"a", bytes(VALUE_BYTES_MAX + 1)))
    assert list(tree) == []


@pytest.mark.parametrize("update", ["update_and_fetch", "fetch_and_update"])
def test_a_failing_update_leaves_nothing(write, db, tree, update):
    tree.insert(b"a", b"1")
    sequence = db.sequence
    with pytest.raises(ZeroDivisionError):
        write(lambda t: getattr(t, update)(b"a", lambda _: bytes([1 // 0])))
    assert list(tree) == [(b"a", b"1")]
    assert db.sequence == sequence


def test_a_key_may_be_reused_after_removal_many_times(write, tree):
    def run(t):
        for number in range(50):
            t.insert(b"a", str(number).encode())
            t.remove(b"a")
        t.insert(b"a", b"end")

    write(run)
    assert list(tree) == [(b"a", b"end")]


def test_entries_come_and_go_in_bulk(write, tree):
    """Enough to split and merge leaves of any size under test, in both orders."""

    def run(t):
        for number in range(300):
            t.insert(number.to_bytes(2), number.to_bytes(2))
        for number in range(299, -1, -1):
            if number % 7:
                t.remove(number.to_bytes(2))
        assert len(t) == 43

    write(run)
    assert [int.from_bytes(key) for key, _ in tree] == list(range(0, 300, 7))


def test_there_is_an_end_to_ids(db):
    with pytest.raises(InvalidArgumentError):
        db.reserve_ids(IDS_MAX + 1)
    assert db.reserve_ids(3) == range(3)
    with pytest.raises(InvalidArgumentError):
        db.reserve_ids(IDS_MAX)
