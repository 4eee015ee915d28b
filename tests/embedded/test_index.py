"""The index against a sorted list, and its invariants after every change."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduitstore.engine.embedded import index
from conduitstore.engine.embedded.cache import Cache
from conduitstore.engine.embedded.forest import DEFAULT_TREE_ID, Forest
from conduitstore.engine.embedded.frozen import Hold
from conduitstore.engine.embedded.items import Items, slices_of
from conduitstore.engine.embedded.leaf import Leaf, payload_bytes

KEYS = st.binary(min_size=1, max_size=3)


@pytest.fixture(autouse=True)
def narrow_nodes(monkeypatch):
    monkeypatch.setattr(index, "FANOUT", 4)


def check(root, *, is_root=True, lo=b"", hi=None, leaf_max=4):
    """Every invariant of ``index`` and ``leaf``; gives the depth."""
    if isinstance(root, Leaf):
        came_first = list(root.entries)[: len(root.keys)]
        assert root.keys == sorted(came_first)
        assert root.size_bytes == payload_bytes(root.entries)
        assert all(lo <= key and (hi is None or key < hi) for key in root.entries)
        assert len(root.entries) <= leaf_max
        assert is_root or root.entries
        return 0
    assert len(root.lows) + 1 == len(root.children) <= index.FANOUT
    assert not is_root or len(root.children) > 1
    bounds = [lo, *root.lows, hi]
    assert all(a < b for a, b in pairwise(bounds) if b is not None)
    depths = {
        check(child, is_root=False, lo=bounds[i], hi=bounds[i + 1], leaf_max=leaf_max)
        for i, child in enumerate(root.children)
    }
    assert len(depths) == 1
    return depths.pop() + 1


def forest_of():
    return Forest(Cache(1 << 20), leaf_entries_max=4, leaf_bytes_max=64, blob_bytes_min=8)


def write(forest, key, value):
    ops = [DEFAULT_TREE_ID, key, value]
    forest.apply(ops, forest.prepare(ops), 0, forest.sequence + 1)


def commit(forest, values):
    ops, places = [], []
    forest.place(DEFAULT_TREE_ID, values, ops, places)
    forest.apply(ops, places, 0, forest.sequence + 1)


def entries(root, forest):
    return list(
        Items.over(slices_of(root, Hold(None, forest.cache)), None, None, None, reverse=False)
    )


@given(st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=30)), max_size=120), st.data())
def test_writes_and_frozen_roots_against_a_dict(writes, data):
    forest, model, frozen = forest_of(), {}, []
    for key, value in writes:
        if value is None:
            model.pop(key, None)
        else:
            model[key] = value
        write(forest, key, value)
        check(forest.roots[DEFAULT_TREE_ID])
        if data.draw(st.integers(0, 9)) == 0:
            frozen.append((*forest.freeze_tree(DEFAULT_TREE_ID, None), sorted(model.items())))
    assert entries(forest.roots[DEFAULT_TREE_ID], forest) == sorted(model.items())
    for root, _hold, then in frozen:
        check(root)
        assert entries(root, forest) == then


@given(st.lists(st.dictionaries(KEYS, st.none() | st.binary(max_size=7), max_size=40), max_size=12))
def test_commits_of_many_writes_against_a_dict(commits):
    forest = Forest(Cache(1 << 20), leaf_entries_max=16, leaf_bytes_max=40, blob_bytes_min=8)
    model = {}
    for values in commits:
        commit(forest, values)
        model = {key: value for key, value in (model | values).items() if value is not None}
        check(forest.roots[DEFAULT_TREE_ID], leaf_max=16)
    assert entries(forest.roots[DEFAULT_TREE_ID], forest) == sorted(model.items())


def test_a_leaf_that_is_cut_between_its_first_removal_and_its_last_goes():
    """What it was noted by when it got small is a key of the leaf that was cut off."""
    forest = Forest(Cache(1 << 20), leaf_entries_max=16, leaf_bytes_max=40, blob_bytes_min=99)
    commit(forest, {b"%c" % key: bytes(18) for key in b"abdegh"} | {b"e9": b""})
    root = forest.roots[DEFAULT_TREE_ID]
    assert list(list(index.leaves(root))[1][1].entries) == [b"d", b"e", b"e9"]
    commit(forest, {b"e9": None, b"e5": bytes(18), b"d": None, b"e": None})
    check(forest.roots[DEFAULT_TREE_ID], leaf_max=16)


def test_a_thousand_keys_in_order_and_out_again():
    forest = forest_of()
    keys = [number.to_bytes(2) for number in range(1000)]
    for key in keys:
        write(forest, key, key)
    root = forest.roots[DEFAULT_TREE_ID]
    assert check(root) >= 4
    leaves = [leaf for _, leaf in index.leaves(root)]
    assert len(leaves) == 250, "keys that arrive in order must leave full leaves behind"
    for key in keys[::2] + keys[1::2]:
        write(forest, key, None)
        check(forest.roots[DEFAULT_TREE_ID])
    assert entries(forest.roots[DEFAULT_TREE_ID], forest) == []


@pytest.mark.parametrize("total", [120, 121, 122])
def test_keys_that_arrive_in_order_under_a_prefix_leave_full_leaves(total):
    forest = forest_of()
    for number in range(total):
        # The rooms' newest events come in turn, each amid the tree but for the last room's.
        write(forest, bytes([number % 5, number // 5]), b"")
    root = forest.roots[DEFAULT_TREE_ID]
    check(root)
    leaves = [leaf for _, leaf in index.leaves(root)]
    assert len(leaves) <= total // 4 + 5, "a room has one leaf that is not full"


@pytest.mark.parametrize("at", range(5))
def test_a_key_that_overfills_a_leaf_from_anywhere_halves_it(at):
    forest, keys = forest_of(), [bytes([n]) for n in range(5)]
    for key in (*keys[:at][::-1], *keys[at + 1 :][::-1], keys[at]):
        write(forest, key, b"")
    totals = [leaf.entries_total for _, leaf in index.leaves(forest.roots[DEFAULT_TREE_ID])]
    assert totals == ([4, 1] if at == 4 else [2, 3])


@given(st.sets(KEYS, max_size=60))
def test_an_index_built_at_once_finds_every_key(keys):
    ordered = sorted(keys)
    runs = [ordered[at : at + 3] for at in range(0, len(ordered), 3)]
    leaves = [
        (run[0], Leaf(run, {k: k for k in run}, size_bytes=2 * sum(map(len, run)))) for run in runs
    ]
    root = index.build(leaves)
    check(root)
    assert all(key in index.find(root, key).entries for key in ordered)
    assert [leaf for _, leaf in index.leaves(root) if leaf.keys] == [leaf for _, leaf in leaves]


def test_small_leaves_join_their_neighbours_in_a_deep_tree():
    forest = Forest(Cache(1 << 20), leaf_entries_max=8, leaf_bytes_max=4_000, blob_bytes_min=99)
    keys = [number.to_bytes(2) for number in range(1000)]
    for key in keys:
        write(forest, key, key)
    for at, key in enumerate(keys):
        if at % 8:
            write(forest, key, None)
    root = forest.roots[DEFAULT_TREE_ID]
    assert check(root, leaf_max=8) >= 3
    assert len(list(index.leaves(root))) < 64, "of 125"
    assert entries(root, forest) == [(key, key) for key in keys[::8]]


def test_leaves_that_are_large_together_stay_apart():
    forest = Forest(Cache(1 << 20), leaf_entries_max=8, leaf_bytes_max=200, blob_bytes_min=99)
    keys = [number.to_bytes(2) for number in range(40)]
    for key in keys:
        write(forest, key, key * 30)
    before = len(list(index.leaves(forest.roots[DEFAULT_TREE_ID])))
    for key in keys[1::3]:
        write(forest, key, None)
    for key in keys[2::3]:
        write(forest, key, None)
    root = forest.roots[DEFAULT_TREE_ID]
    check(root, leaf_max=8)
    assert len(list(index.leaves(root))) == before, "two of them would be more than half full"
    assert entries(root, forest) == [(key, key * 30) for key in keys[::3]]


def test_a_leaf_alone_under_its_node_has_no_neighbour():
    one, two = Leaf([b"a"], {b"a": b""}), Leaf([b"n"], {b"n": b""})
    root = index.Node((b"m",), (index.Node((), (one,)), index.Node((), (two,))))
    assert index.neighbours(root, b"a") is index.neighbours(root, b"n") is None


def test_the_last_key_that_outgrows_its_leaf_gets_one_of_its_own():
    forest, keys = forest_of(), [bytes([n]) for n in range(3)]
    for key in keys:
        write(forest, key, b"")
    forest.leaf_bytes_max = 8
    write(forest, keys[-1], b"1234567")
    root = forest.roots[DEFAULT_TREE_ID]
    assert [list(leaf.entries) for _, leaf in index.leaves(root)] == [keys[:2], keys[2:]]
    assert entries(root, forest) == [(keys[0], b""), (keys[1], b""), (keys[2], b"1234567")]


def test_a_small_leaf_alone_under_its_node_stays():
    forest = Forest(Cache(1 << 20), leaf_entries_max=16, leaf_bytes_max=99, blob_bytes_min=99)
    one = Leaf([b"a", b"b"], {b"a": b"", b"b": b""}, size_bytes=2, epoch=1)
    two = Leaf([b"n"], {b"n": b""}, size_bytes=1, epoch=1)
    root = index.Node((b"m",), (index.Node((), (one,)), index.Node((), (two,))))
    forest.roots[DEFAULT_TREE_ID] = root
    write(forest, b"a", None)
    assert forest.roots[DEFAULT_TREE_ID] is root
    assert entries(root, forest) == [(b"b", b""), (b"n", b"")]
