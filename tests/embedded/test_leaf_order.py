"""The keys of a leaf that came last are put in order when somebody asks, and by whoever does."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduitstore.engine.embedded.blob import BlobEntries
from conduitstore.engine.embedded.edits import insert_into, remove_from
from conduitstore.engine.embedded.leaf import FEW, Leaf, in_order

KEYS = st.integers(0, 40).map(lambda number: number.to_bytes(1))
STEPS = st.lists(st.tuples(KEYS, st.sampled_from(["insert", "insert", "remove", "ask"])))


@given(st.sets(KEYS), STEPS)
def test_keys_against_a_dict(begin, steps):
    model = dict.fromkeys(sorted(begin), b"0")
    leaf = Leaf(list(model), model.copy())
    for at, (key, step) in enumerate(steps):
        match step:
            case "insert":
                model[key] = value = b"%d" % at
                insert_into(leaf, key, value)
            case "remove":
                assert (remove_from(leaf, key) == 0) is (model.pop(key, None) is None)
            case "ask":
                assert in_order(leaf, leaf.keys, leaf.entries) == sorted(model)
        assert leaf.entries == model
        assert leaf.entries_total == len(model)
        assert leaf.keys == sorted(list(model)[: len(leaf.keys)])
    assert in_order(leaf, leaf.keys, leaf.entries) == sorted(model)


@pytest.mark.parametrize("came_last", [0, 1, FEW - 1, FEW, 100])
@pytest.mark.parametrize("stored", [dict, BlobEntries])
def test_keys_that_came_last_are_sorted_in(came_last, stored):
    first, last = (
        [bytes([2 * n]) for n in range(20)],
        [bytes([2 * n + 1]) for n in range(came_last)],
    )
    leaf = Leaf(first, stored(dict.fromkeys([*first, *last[::-1]], b"")))
    keys = in_order(leaf, leaf.keys, leaf.entries)
    assert keys == leaf.keys == sorted([*first, *last])
    assert in_order(leaf, keys, leaf.entries) is keys, "they are sorted once"
    assert len(first) == 20, "who had the keys of before has them still"


def test_two_who_ask_at_once_get_the_same():
    total, threads = 120, 8
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(200):
            entries = {bytes([n * 7 % total]): b"" for n in range(total)}
            leaf = Leaf(sorted(list(entries)[:60]), entries)
            keys = leaf.keys
            asked = [pool.submit(in_order, leaf, keys, entries) for _ in range(threads)]
            assert all(one.result() == sorted(entries) for one in asked)
            assert leaf.keys == sorted(entries)
