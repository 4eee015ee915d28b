"""The checks and the batch that every engine shares."""

from itertools import product
from types import SimpleNamespace

import pytest

from conduitstore import engine
from conduitstore.engine.memory import MemoryDatabase
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import (
    KEY_BYTES_MAX,
    Batch,
    check_bound,
    check_durability,
    check_key,
    check_limit,
    check_tree_name,
    check_value,
    name_of,
    prefix_end,
)

ALPHABET = (b"\x00", b"\xfe", b"\xff")
KEYS = [b"".join(parts) for size in range(4) for parts in product(ALPHABET, repeat=size)]


@pytest.mark.parametrize("prefix", KEYS)
def test_the_end_of_a_prefix_parts_what_begins_with_it_from_what_comes_after(prefix):
    end = prefix_end(prefix)
    for key in KEYS:
        inside = key >= prefix and (end is None or key < end)
        assert inside == key.startswith(prefix)


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (check_key, [b"a", bytes(KEY_BYTES_MAX)]),
        (check_value, [b"", b"a", bytes(KEY_BYTES_MAX + 1)]),
        (check_bound, [None, b"", bytes(KEY_BYTES_MAX + 1)]),
        (check_limit, [None, 0, 1, 10**12]),
        (check_tree_name, ["a", "é" * 127, "__default__", "a b"]),
        (check_durability, [None, "interval", "commit", "none"]),
    ],
)
def test_what_is_good_passes_as_it_is(check, good):
    for thing in good:
        assert check(thing) is thing


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (check_key, [b"", bytes(KEY_BYTES_MAX + 1), "a", None, bytearray(b"a"), memoryview(b"a")]),
        (check_value, ["a", None, bytearray(b"a"), memoryview(b"a"), 1]),
        (check_bound, ["a", 1, bytearray(b"a")]),
        (check_limit, [-1, 1.0, "1", True]),
        (check_tree_name, ["", "a" * 256, "é" * 128, "\0", "\ud800", b"a", None]),
        (check_durability, ["", "always", 1, b"commit"]),
    ],
)
def test_what_is_bad_is_refused(check, bad):
    for thing in bad:
        with pytest.raises(InvalidArgumentError):
            check(thing)


def test_an_error_names_the_fault():
    with pytest.raises(InvalidArgumentError, match="not str"):
        check_key("a")
    with pytest.raises(InvalidArgumentError, match="2049"):
        check_key(bytes(2_049))


def test_a_batch_collects_writes_in_order():
    tree = SimpleNamespace(name="t")
    batch = Batch().insert(tree, b"a", b"1").remove("u", b"b").insert("t", b"a", b"")
    assert batch.writes == [("t", b"a", b"1"), ("u", b"b", None), ("t", b"a", b"")]
    assert len(batch) == 3
    assert len(Batch()) == 0


def test_a_batch_refuses_a_bad_write_at_once_and_keeps_the_others():
    batch = Batch().insert("t", b"a", b"1")
    for call in (
        lambda: batch.insert("", b"a", b"1"),
        lambda: batch.insert("t", b"", b"1"),
        lambda: batch.insert("t", b"a", None),
        lambda: batch.remove("t", "a"),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert len(batch) == 1


def test_a_tree_is_named_by_its_handle_or_its_name():
    assert name_of("t") == name_of(SimpleNamespace(name="t")) == "t"


def test_opening_in_memory():
    with engine.open(":memory:") as one, engine.open(":memory:") as two:
        assert isinstance(one, MemoryDatabase)
        one.insert(b"a", b"1")
        assert two.get(b"a") is None


def test_in_memory_there_are_no_settings():
    with pytest.raises(InvalidArgumentError, match="flush_every_ms"):
        engine.open(":memory:", flush_every_ms=500)
