"""Ranges and prefixes: every combination of bounds, from both ends, and unmoved by writes."""

import random
from collections import deque
from itertools import product

import pytest

from conduitstore.kv import Batch

ALPHABET = (b"\x00", b"a", b"\xff")
KEYS = [b"".join(parts) for size in (1, 2, 3) for parts in product(ALPHABET, repeat=size)]
ENTRIES = {key: str(number).encode() for number, key in enumerate(KEYS) if number % 5}
BOUNDS = [None, b"", *KEYS, b"a" * 3_000, b"\xff" * 3_000]
LIMITS = [None, 0, 1, 2, 7, 1_000]


def expected(lo=None, hi=None, *, prefix=b"", reverse=False, limit=None):
    """The plain definition of a range."""
    items = [
        (key, value)
        for key, value in sorted(ENTRIES.items())
        if (lo is None or key >= lo) and (hi is None or key < hi) and key.startswith(prefix)
    ]
    return (items[::-1] if reverse else items)[:limit]


@pytest.fixture(params=["store", "snapshot", "transaction", "own writes", "half own writes"])
def read(request, db, tree):
    """Runs a function on a tree that holds ``ENTRIES``, seen in one of five ways."""

    def fill(keys, into):
        for key in keys:
            into.insert(key, ENTRIES[key])

    def with_own_writes(fn, before):
        def run(tx):
            inner = tx.open_tree("key_value")
            fill(set(ENTRIES) - set(before), inner)
            inner.insert(b"a\x00a\x00", b"")
            inner.remove(b"a\x00a\x00")
            inner.remove(b"stale")
            return fn(inner)

        tree.insert(b"stale", b"")
        fill(before, tree)
        return db.transaction(run)

    def run(fn):
        if request.param == "own writes":
            return with_own_writes(fn, [])
        if request.param == "half own writes":
            return with_own_writes(fn, sorted(ENTRIES)[::2])
        fill(ENTRIES, tree)
        if request.param == "store":
            return fn(tree)
        if request.param == "transaction":
            return db.transaction(lambda tx: fn(tx.open_tree("key_value")))
        with db.snapshot() as view:
            return fn(view.open_tree("key_value"))

    return run


def test_every_pair_of_bounds_both_ways(read):
    def check(tree):
        for lo, hi in product(BOUNDS, BOUNDS):
            for reverse in (False, True):
                assert list(tree.range(lo, hi, reverse=reverse)) == expected(
                    lo, hi, reverse=reverse
                ), (lo, hi, reverse)

    read(check)


def test_limits_in_both_directions(read):
    def check(tree):
        for limit, reverse in product(LIMITS, (False, True)):
            for lo, hi in ((None, None), (b"a", None), (None, b"a\xff"), (b"\x00a", b"\xff")):
                assert list(tree.range(lo, hi, reverse=reverse, limit=limit)) == expected(
                    lo, hi, reverse=reverse, limit=limit
                ), (lo, hi, reverse, limit)

    read(check)


def test_many_ranges_at_once_are_those_ranges(read):
    def check(tree):
        pairs = list(product(BOUNDS, BOUNDS))
        for limit, reverse in product(LIMITS, (False, True)):
            options = {"limit": limit, "reverse": reverse}
            found = tree.ranges(iter(pairs), **options)
            for (lo, hi), rows in zip(pairs, found, strict=True):
                assert rows == expected(lo, hi, **options), (lo, hi, options)
        assert tree.ranges([]) == []

    read(check)


def test_many_ranges_are_read_however_large_they_are(db, tree):
    """More ranges, rows and bytes than an engine reads at a time."""
    batch = Batch()
    for number in range(2_500):
        batch.insert(tree, number.to_bytes(2), b"")
    for number in range(20):
        batch.insert(tree, b"large" + bytes([number]), bytes(300_000))
    db.apply_batch(batch)
    every = [(number.to_bytes(2), (number + 1).to_bytes(2)) for number in range(2_500)]
    large, wanted = (b"large", b"largf"), [(b"large" + bytes([n]), 300_000) for n in range(20)]

    def check(view):
        inner = view.open_tree("key_value")
        assert inner.ranges(every) == [[(lo, b"")] for lo, _ in every]
        found = inner.ranges([(None, b"large"), large, every[7], large], reverse=True)
        assert [key for key, _ in found[0]] == [lo for lo, _ in every[::-1]]
        assert found[2] == [(every[7][0], b"")]
        for rows in (found[1], found[3]):
            assert [(key, len(value)) for key, value in rows] == wanted[::-1]
        found = inner.ranges([large, large, (None, None)], limit=7)
        assert [[key for key, _ in rows] for rows in found] == [
            [key for key, _ in wanted[:7]],
            [key for key, _ in wanted[:7]],
            [lo for lo, _ in every[:7]],
        ]

    check(db)
    with db.snapshot() as view:
        check(view)
    db.transaction(check)


def test_every_prefix_start_direction_and_limit(read):
    """``start`` is inclusive in either direction: from it upwards, or from it downwards."""

    def check(tree):
        prefixes = [b"", *KEYS, b"b", b"\xff" * 4, b"a" * 3_000]
        starts = [None, b"", b"\x00", b"a", b"a\x00", b"a\xff\xff", b"b", b"\xff", b"\xff" * 3_000]
        for prefix, start, reverse in product(prefixes, starts, (False, True)):
            wanted = [
                item
                for item in expected(prefix=prefix, reverse=reverse)
                if start is None or (item[0] <= start if reverse else item[0] >= start)
            ]
            for limit in (None, 2):
                at = {"reverse": reverse, "start": start, "limit": limit}
                assert list(tree.scan_prefix(prefix, **at)) == wanted[:limit], (prefix, at)
                assert list(tree.keys(prefix, **at)) == [k for k, _ in wanted[:limit]], (prefix, at)

    read(check)


def test_both_ends_meet_once(read):
    """Any order of steps from both ends gives each item once, then nothing for ever."""

    def check(tree):
        dice = random.Random(7)
        for _ in range(200):
            lo, hi = dice.choice(BOUNDS), dice.choice(BOUNDS)
            reverse, limit = dice.random() < 0.5, dice.choice(LIMITS)
            wanted = deque(expected(lo, hi, reverse=reverse, limit=limit))
            items = tree.range(lo, hi, reverse=reverse, limit=limit)
            for _ in range(len(wanted)):
                if dice.random() < 0.5:
                    assert next(items) == wanted.popleft()
                else:
                    assert items.next_back() == wanted.pop()
            for _ in range(2):
                assert next(items, None) is None
                assert items.next_back() is None

    read(check)


def test_reversed_gives_what_is_left_from_the_far_end(read):
    def check(tree):
        for direction in (False, True):
            items = tree.range(reverse=direction)
            wanted = deque(expected(reverse=direction))
            assert next(items) == wanted.popleft()
            assert items.next_back() == wanted.pop()
            rest = reversed(items)
            assert next(rest) == wanted.pop()
            assert rest.next_back() == wanted.popleft()
            assert next(items, None) is None, "reversed uses the iterator up"
            assert list(rest) == list(wanted)[::-1]

    read(check)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [3, 20, 1_000])
def test_reversed_keeps_the_limit(read, limit, reverse):
    """A limit says which entries there are, so both ends are those of the same page."""

    def check(tree):
        wanted = expected(limit=limit, reverse=reverse)
        items = tree.range(limit=limit, reverse=reverse)
        assert next(items) == wanted[0]
        rest = reversed(items)
        assert rest.next_back() == wanted[1]
        assert list(reversed(rest)) == wanted[2:]

    read(check)


def test_reversing_twice_is_going_on(read):
    def check(tree):
        items = tree.range()
        next(items)
        assert list(reversed(reversed(items))) == expected()[1:]

    read(check)


def test_an_iterator_is_its_own_iterator(tree):
    items = tree.range()
    assert iter(items) is items


def test_an_iterator_walks_the_moment_it_was_made(tree):
    """Even before its first step, and whatever is written: in it, around it, or all removed."""
    for key, value in ENTRIES.items():
        tree.insert(key, value)
    untouched, stepped = tree.range(), tree.scan_prefix(b"a")
    wanted = expected(prefix=b"a")
    assert next(stepped) == wanted[0]
    for key in KEYS:
        tree.insert(key, b"new")
    for key in KEYS[::2]:
        tree.remove(key)
    later = tree.range()
    tree.clear()
    assert list(untouched) == expected()
    assert stepped.next_back() == wanted[-1]
    assert list(stepped) == wanted[1:-1]
    assert [key for key, _ in later] == sorted(KEYS[1::2])


def test_an_iterator_in_a_transaction_does_not_see_later_writes_of_it(db):
    def run(tx):
        inner = tx.open_tree("key_value")
        inner.insert(b"b", b"1")
        items = inner.range()
        inner.insert(b"a", b"0")
        inner.insert(b"b", b"2")
        inner.insert(b"c", b"3")
        return list(items), list(inner)

    before, after = db.transaction(run)
    assert before == [(b"b", b"1")]
    assert after == [(b"a", b"0"), (b"b", b"2"), (b"c", b"3")]


def test_removing_while_iterating_reaches_every_entry(db, tree):
    for number in range(50):
        tree.insert(bytes([number]), b"")
    for key in tree.keys(b""):
        tree.remove(key)
    assert len(tree) == 0


def test_an_iterator_outlives_the_transaction_that_made_it(db, tree):
    tree.insert(b"a", b"1")

    def run(tx):
        inner = tx.open_tree("key_value")
        inner.insert(b"b", b"2")
        return inner.range()

    items = db.transaction(run)
    tree.clear()
    assert list(items) == [(b"a", b"1"), (b"b", b"2")]


def test_an_iterator_outlives_its_tree(db, tree):
    tree.insert(b"a", b"1")
    items = tree.range()
    db.drop_tree("key_value")
    db.open_tree("key_value").insert(b"b", b"2")
    assert list(items) == [(b"a", b"1")]
