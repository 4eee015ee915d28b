"""Every name of the waist is on every handle that should have it, and answers inside as outside."""

import inspect

import pytest

from conduitstore import kv
from conduitstore.engine import Batch
from conduitstore.operations import Operations

NEW_IN_OBJECT = {"__init__", "__subclasshook__", "__class_getitem__", "__init_subclass__"}


def names_of(protocol):
    """What a protocol asks for, with what it inherits from other protocols."""
    return {
        name
        for base in inspect.getmro(protocol)
        if base.__module__.startswith("conduitstore")
        for name in vars(base)
        if callable(vars(base)[name]) or isinstance(vars(base)[name], property)
        if not name.startswith("_abc_") and name not in NEW_IN_OBJECT
    }


def test_the_protocols_are_read_right():
    assert {"get", "pop_min", "__contains__", "watch_prefix"} <= names_of(kv.Tree)
    assert {"get", "next_count", "open_tree"} <= names_of(kv.Transaction)
    assert {"backup", "export", "flush_async", "recovery_report"} <= names_of(kv.Database)
    assert names_of(Operations) <= names_of(kv.Database)


def test_every_name_is_on_every_handle(db, tree):
    def missing(handle, protocol):
        return {name for name in names_of(protocol) if not hasattr(handle, name)}

    def look(tx):
        return [
            missing(tx, kv.Transaction),
            missing(tx.open_tree("key_value"), kv.Tree),
            tx.transaction(lambda inner: missing(inner, kv.Transaction), read_only=True),
        ]

    with db.snapshot() as view, tree.watch_prefix(b"") as subscriber:
        found = [
            missing(db, kv.Database),
            missing(tree, kv.Tree),
            missing(view, kv.Snapshot),
            missing(view.open_tree("key_value"), kv.Tree),
            missing(subscriber, kv.Subscriber),
            missing(tree.range(), kv.Items),
            db.transaction(lambda tx: missing(tx, kv.Transaction), read_only=True),
            *db.transaction(look),
        ]
    assert found == [set()] * len(found)


OUTSIDE_ONLY = {
    # Of a whole store, or of its durability:
    *("drop_tree", "flush", "flush_async", "wait_durable", "refresh", "close", "snapshot"),
    *("checksum", "sequence", "durable_sequence", "was_recovered", "__enter__", "__exit__"),
    "reserve_ids",
    *names_of(Operations),
}


def test_all_but_what_is_about_the_whole_store_works_inside_a_transaction():
    assert names_of(kv.Database) - names_of(kv.Transaction) == OUTSIDE_ONLY
    assert names_of(kv.Transaction) - names_of(kv.Database) == {"next_count"}


INSIDE = {
    "get": lambda t: t.get(b"b"),
    "contains_key": lambda t: (t.contains_key(b"b"), b"z" in t),
    "get_many": lambda t: t.get_many([b"c", b"z"]),
    "range": lambda t: list(t.range(b"a", b"c")),
    "range, backwards": lambda t: list(t.range(reverse=True, limit=2)),
    "ranges": lambda t: t.ranges([(b"a", b"c"), (None, None), (b"y", b"z")], limit=2),
    "ranges, backwards": lambda t: t.ranges([(b"a", b"c"), (b"b", None)], reverse=True),
    "scan_prefix": lambda t: list(t.scan_prefix(b"b")),
    "keys": lambda t: list(t.keys(start=b"b")),
    "ends": lambda t: (t.first(), t.last(), t.get_lt(b"b"), t.get_gt(b"b")),
    "len": lambda t: (len(t), list(t)),
    "insert": lambda t: (t.insert(b"b", b"new"), t.get(b"b")),
    "put": lambda t: (t.put(b"b", b"new"), t.put(b"a", None), t.put(b"z", None), list(t)),
    "remove": lambda t: (t.remove(b"b"), t.get(b"b"), list(t)),
    "compare_and_swap": lambda t: (t.compare_and_swap(b"b", b"2", b"new"), t.get(b"b")),
    "update_and_fetch": lambda t: t.update_and_fetch(b"b", lambda old: old + b"!"),
    "fetch_and_update": lambda t: (t.fetch_and_update(b"b", lambda _: None), list(t)),
    "increment": lambda t: (t.increment(b"n"), t.increment(b"n"), t.last()),
    "merge": lambda t: (t.merge(b"b", b"+"), t.merge(b"m", b"+"), list(t)),
    "pops": lambda t: (t.pop_min(), t.pop_max(), t.pop_min(), t.pop_max(), list(t)),
    "remove_prefix": lambda t: (t.remove_prefix(b"b"), list(t)),
    "clear": lambda t: (t.clear(), list(t), t.insert(b"z", b"26"), list(t)),
}


def append(_key, old, operand):
    return (old or b"") + operand


@pytest.mark.parametrize("name", INSIDE)
def test_a_call_answers_inside_as_it_does_outside_and_leaves_the_same(harness_class, name):
    """Inside, the entries are the transaction's own writes: no commit has them yet."""

    def fill(t):
        t.set_merge_operator(append, name="append")
        for key, value in ((b"c", b"3"), (b"a", b"1"), (b"b", b"2"), (b"x", b"")):
            t.insert(key, value)
        t.remove(b"x")
        return INSIDE[name](t)

    with harness_class().open() as outside, harness_class().open() as inside:
        wanted = fill(outside.open_tree("t"))
        assert inside.transaction(lambda tx: fill(tx.open_tree("t"))) == wanted
        assert list(inside.open_tree("t")) == list(outside.open_tree("t"))


def test_batches_counts_and_ids_answer_inside(db):
    def run(tx):
        tx.apply_batch(Batch().insert("t", b"a", b"1"))
        first = tx.generate_id()
        assert (tx.next_count(), tx.current_count(), tx.generate_id()) == (1, 1, first + 1)
        return tx.tree_names(), tx.open_tree("t").get(b"a")

    assert db.transaction(run) == (["__default__", "t"], b"1")
