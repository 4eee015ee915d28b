"""Subscribers: whole commits in commit order, for threads and loops, in no writer's way."""

import asyncio
import gc
import threading

import pytest

from conduitstore.engine import Batch
from conduitstore.errors import InvalidArgumentError, LaggedError
from conduitstore.kv import Insert, Remove


def drain(subscriber):
    """What is queued now."""
    events = []
    while (event := subscriber.next(timeout=0)) is not None:
        events.append(event)
    return events


def test_inside_a_transaction_all_that_happened_before_is_queued(db):
    tree, numbers, told = db.open_tree("key_value"), range(200), []

    def write(thread):
        for number in numbers:
            tree.insert(b"%d %d" % (thread, number), b"")

    def look(tx):
        told.extend(event.key for event in drain(subscriber))
        assert len(told) == len(tx.open_tree("key_value"))

    with tree.watch_prefix(b"") as subscriber:
        threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            db.transaction(look)
        for thread in threads:
            thread.join()
        db.transaction(look)
    assert len(told) == len(set(told)) == 3 * len(numbers)


def test_events_of_single_writes(tree):
    tree.insert(b"before", b"")
    with tree.watch_prefix(b"") as subscriber:
        tree.insert(b"a", b"1")
        tree.insert(b"a", b"1")
        tree.remove(b"a")
        tree.remove(b"a")
        tree.increment(b"n")
        tree.compare_and_swap(b"a", b"0", b"2")
        tree.compare_and_swap(b"a", None, b"2")
        assert drain(subscriber) == [
            Insert(b"a", b"1"),
            Insert(b"a", b"1"),
            Remove(b"a"),
            Insert(b"n", bytes(7) + b"\x01"),
            Insert(b"a", b"2"),
        ]


@pytest.mark.parametrize("prefix", [b"", b"a", b"a\xff", b"\xff", b"absent"])
def test_only_keys_under_the_prefix(tree, prefix):
    keys = [b"a", b"a\xff", b"a\xff\x00", b"b", b"\xff", b"\xff\xff"]
    subscriber = tree.watch_prefix(prefix)
    for key in keys:
        tree.insert(key, b"")
    assert [event.key for event in drain(subscriber)] == [k for k in keys if k.startswith(prefix)]


def test_only_its_own_tree(db, tree):
    ours, default = tree.watch_prefix(b""), db.watch_prefix(b"")
    db.insert(b"a", b"0")
    tree.insert(b"b", b"1")
    db.open_tree("other").insert(b"c", b"2")
    assert drain(ours) == [Insert(b"b", b"1")]
    assert drain(default) == [Insert(b"a", b"0")]


def test_any_handle_of_the_tree_will_do(db, tree):
    subscriber = tree.watch_prefix(b"")
    db.open_tree("key_value").insert(b"a", b"1")
    db.transaction(lambda tx: tx.open_tree("key_value").insert(b"b", b"2"))
    db.apply_batch(Batch().insert("key_value", b"c", b"3"))
    assert [event.key for event in drain(subscriber)] == [b"a", b"b", b"c"]


def test_one_event_per_key_of_a_commit_in_the_order_of_first_writes(db, tree):
    tree.insert(b"old", b"")
    tree.insert(b"same", b"1")
    subscriber = tree.watch_prefix(b"")

    def run(tx):
        t = tx.open_tree("key_value")
        t.insert(b"z", b"1")
        t.insert(b"came and went", b"1")
        t.insert(b"a", b"1")
        t.remove(b"old")
        t.insert(b"z", b"2")
        t.remove(b"came and went")
        t.remove(b"same")
        t.insert(b"same", b"1")
        t.remove(b"never there")

    db.transaction(run)
    assert drain(subscriber) == [
        Insert(b"z", b"2"),
        Insert(b"a", b"1"),
        Remove(b"old"),
        Insert(b"same", b"1"),
    ]


def test_a_batch_tells_what_its_writes_would_one_by_one_in_a_transaction(db, tree):
    """Found by the state machine: a removal that did nothing had a place among the events."""
    tree.insert(b"there", b"")
    batch = Batch().remove(tree, b"a").insert(tree, b"b", b"1").insert(tree, b"a", b"2")
    batch.remove(tree, b"b").insert(tree, b"b", b"3").remove(tree, b"there")
    batch.insert(tree, b"gone", b"").remove(tree, b"gone")
    with tree.watch_prefix(b"") as subscriber:
        db.apply_batch(batch)
        expected = [Insert(b"b", b"3"), Insert(b"a", b"2"), Remove(b"there")]
        assert drain(subscriber) == expected


def test_clearing_and_merging_are_told(tree):
    tree.set_merge_operator(lambda _key, old, operand: (old or b"") + operand, name="append")
    subscriber = tree.watch_prefix(b"")
    tree.merge(b"a", b"1")
    tree.merge(b"a", b"2")
    tree.insert(b"b", b"")
    tree.clear()
    events = drain(subscriber)
    assert events[:3] == [Insert(b"a", b"1"), Insert(b"a", b"12"), Insert(b"b", b"")]
    assert sorted(events[3:]) == [Remove(b"a"), Remove(b"b")]


def test_what_was_undone_is_not_told(db, tree):
    subscriber = tree.watch_prefix(b"")

    def fail(tx):
        tx.open_tree("key_value").insert(b"a", b"1")
        raise ZeroDivisionError

    def run(tx):
        with pytest.raises(ZeroDivisionError):
            tx.transaction(fail)
        tx.open_tree("key_value").insert(b"b", b"1")

    with pytest.raises(ZeroDivisionError):
        db.transaction(fail)
    db.transaction(run)
    assert drain(subscriber) == [Insert(b"b", b"1")]


def test_an_event_is_told_after_its_commit_is_visible(db, tree):
    subscriber = tree.watch_prefix(b"")
    seen = []

    def read():
        seen.extend(tree.get(event.key) for event in subscriber)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100):
        tree.insert(bytes([number]), b"1")
    subscriber.close()
    reader.join()
    assert seen == [b"1"] * 100


def test_a_thread_gets_commits_in_order(db, tree):
    """Three writers; each event carries the count of its commit."""
    subscriber = tree.watch_prefix(b"")
    seen = []

    def write():
        for _ in range(50):
            db.transaction(
                lambda tx: tx.open_tree("key_value").insert(b"a", tx.next_count().to_bytes(8))
            )

    reader = threading.Thread(target=lambda: seen.extend(subscriber))
    writers = [threading.Thread(target=write) for _ in range(3)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    subscriber.close()
    reader.join()
    assert [int.from_bytes(event.value) for event in seen] == list(range(1, 151))


def test_an_event_loop_gets_events(tree):
    subscriber = tree.watch_prefix(b"")
    tree.insert(b"queued", b"")

    async def read():
        seen = [await anext(subscriber)]
        writer = asyncio.to_thread(lambda: [tree.insert(bytes([n]), b"") for n in range(3)])
        task = asyncio.create_task(writer)
        seen += [await anext(subscriber) for _ in range(3)]
        await task
        subscriber.close()
        return seen + [event async for event in subscriber]

    keys = [event.key for event in asyncio.run(read())]
    assert keys == [b"queued", b"\x00", b"\x01", b"\x02"]


def test_waiting_with_a_timeout(tree):
    subscriber = tree.watch_prefix(b"")
    assert subscriber.next(timeout=0) is None
    assert subscriber.next(timeout=0.001) is None
    tree.insert(b"a", b"1")
    assert subscriber.next(timeout=0) == Insert(b"a", b"1")


def test_a_wake_up_after_events_were_queued(tree):
    subscriber = tree.watch_prefix(b"a")
    wakes = []
    subscriber.on_ready(lambda: wakes.append(True))
    tree.insert(b"b", b"")
    assert wakes == []
    tree.insert(b"a", b"")
    assert len(wakes) == 1


def test_an_overflow_is_told_once_and_then_it_goes_on(tree):
    subscriber = tree.watch_prefix(b"", capacity=3)
    for number in range(4):
        tree.insert(bytes([number]), b"")
    with pytest.raises(LaggedError) as lagged:
        subscriber.next(timeout=0)
    assert lagged.value.missed_total == 4
    assert drain(subscriber) == []
    tree.insert(b"a", b"1")
    assert drain(subscriber) == [Insert(b"a", b"1")]


def test_a_commit_larger_than_the_queue_is_lost_whole(db, tree):
    subscriber = tree.watch_prefix(b"", capacity=2)
    batch = Batch()
    for number in range(3):
        batch.insert(tree, bytes([number]), b"")
    db.apply_batch(batch)
    with pytest.raises(LaggedError):
        subscriber.next(timeout=0)
    assert drain(subscriber) == []


def test_a_slow_subscriber_does_not_harm_another(tree):
    slow, quick = tree.watch_prefix(b"", capacity=1), tree.watch_prefix(b"")
    tree.insert(b"a", b"1")
    tree.insert(b"b", b"2")
    assert len(drain(quick)) == 2
    with pytest.raises(LaggedError):
        slow.next(timeout=0)


def test_closing_delivers_what_is_queued_then_ends(tree):
    subscriber = tree.watch_prefix(b"")
    tree.insert(b"a", b"1")
    subscriber.close()
    tree.insert(b"b", b"2")
    assert list(subscriber) == [Insert(b"a", b"1")]
    assert subscriber.next() is None


@pytest.mark.parametrize("end", ["drop", "close"])
def test_the_end_of_tree_or_store_ends_the_iteration(db, tree, end):
    subscriber = tree.watch_prefix(b"")
    tree.insert(b"a", b"1")
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(subscriber))
    reader.start()
    if end == "drop":
        db.drop_tree("key_value")
    else:
        db.close()
    reader.join()
    assert seen == [Insert(b"a", b"1")]


def test_a_new_tree_of_the_same_name_has_no_old_subscribers(db, tree):
    subscriber = tree.watch_prefix(b"")
    db.drop_tree("key_value")
    db.open_tree("key_value").insert(b"a", b"1")
    assert list(subscriber) == []


@pytest.mark.parametrize("capacity", [0, -1, 1.5, None])
def test_a_bad_capacity_is_refused(tree, capacity):
    with pytest.raises(InvalidArgumentError):
        tree.watch_prefix(b"", capacity=capacity)


@pytest.mark.parametrize("prefix", ["", None, 1])
def test_a_bad_prefix_is_refused(tree, prefix):
    with pytest.raises(InvalidArgumentError):
        tree.watch_prefix(prefix)


@pytest.mark.parametrize("end", ["closed", "not kept"])
def test_who_no_longer_reads_costs_no_commit_anything(db, tree, end):
    subscriber = tree.watch_prefix(b"")
    if end == "closed":
        subscriber.close()
    else:
        del subscriber
        gc.collect()
    db.insert(b"in another tree", b"1")
    assert not db.subscribers.watched
    with tree.watch_prefix(b"") as later:
        tree.insert(b"a", b"1")
        assert drain(later) == [Insert(b"a", b"1")]
