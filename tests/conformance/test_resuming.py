"""Subscribers that go on from a commit, and those that wait until commits are durable."""

import asyncio
import threading

import pytest

from conduitstore.engine import Batch
from conduitstore.errors import InvalidArgumentError, LaggedError
from conduitstore.kv import Insert, Remove


def drain(subscriber):
    return [*iter(lambda: subscriber.next(timeout=0), None)]


def test_what_happened_comes_first_then_what_happens(db, tree):
    tree.insert(b"a", b"1")
    since = db.sequence
    tree.insert(b"b", b"2")
    db.open_tree("other").insert(b"b", b"not ours")
    tree.remove(b"a")
    subscriber = tree.watch_prefix(b"", since=since)
    assert subscriber.sequence == since
    tree.insert(b"c", b"3")
    assert drain(subscriber) == [Insert(b"b", b"2"), Remove(b"a"), Insert(b"c", b"3")]
    assert subscriber.sequence == db.sequence


def test_since_now_and_since_ever(db, tree):
    tree.insert(b"a", b"1")
    assert drain(tree.watch_prefix(b"", since=db.sequence)) == []
    assert drain(tree.watch_prefix(b"", since=0)) == [Insert(b"a", b"1")]
    assert drain(tree.watch_prefix(b"b", since=0)) == []


def test_a_sequence_is_passed_when_its_last_event_is_taken(db, tree):
    subscriber, before = tree.watch_prefix(b""), db.sequence
    batch = Batch()
    for number in range(3):
        batch.insert(tree, bytes([number]), b"")
    db.apply_batch(batch)
    seen = []
    while subscriber.next(timeout=0) is not None:
        seen.append(subscriber.sequence)
    assert seen == [before, before, before + 1]
    assert len(drain(tree.watch_prefix(b"", since=seen[1]))) == 3, "a commit is told whole"


@pytest.mark.parametrize("end", ["reopen", "kill", "power_loss"])
def test_it_goes_on_after_a_restart(harness, end):
    db = harness.open()
    tree = db.open_tree("t")
    tree.insert(b"a", b"1")
    subscriber = tree.watch_prefix(b"", since=0, only_durable=True)
    db.flush()
    assert drain(subscriber) == [Insert(b"a", b"1")]
    since = subscriber.sequence
    for number in range(20):
        tree.insert(bytes([number]), b"2")
    db.flush()
    db = getattr(harness, end)(db)
    tree = db.open_tree("t")
    tree.insert(b"z", b"3")
    events = drain(tree.watch_prefix(b"", since=since))
    assert events == [*(Insert(bytes([n]), b"2") for n in range(20)), Insert(b"z", b"3")]
    db.close()


def test_what_is_no_longer_remembered_is_told_clearly(harness):
    db = harness.open(log_keep_bytes=0)
    for number in range(1_200):
        db.insert(bytes([number % 7]), b"x")
        if number % 300 == 0:
            harness.checkpoint(db)
    with pytest.raises(LaggedError, match="read the tree again") as lagged:
        db.watch_prefix(b"", since=1)
    assert lagged.value.missed_total is None
    db.close()


def test_a_commit_that_never_was_is_no_place_to_go_on_from(db):
    with pytest.raises(LaggedError):
        db.watch_prefix(b"", since=db.sequence + 1)


@pytest.mark.parametrize("since", [-1, 1.5, "1", True])
def test_a_bad_since_is_refused(db, since):
    with pytest.raises(InvalidArgumentError):
        db.watch_prefix(b"", since=since)


def test_a_new_tree_of_the_same_name_has_its_own_history(db):
    db.open_tree("t").insert(b"a", b"old")
    db.drop_tree("t")
    db.open_tree("t").insert(b"a", b"new")
    assert drain(db.open_tree("t").watch_prefix(b"", since=0)) == [Insert(b"a", b"new")]


def test_what_was_is_not_bounded_by_the_capacity_what_comes_is(tree):
    for number in range(5):
        tree.insert(bytes([number]), b"")
    subscriber = tree.watch_prefix(b"", since=0, capacity=2)
    for number in range(3):
        tree.insert(bytes([number]), b"")
    for number in range(5):
        assert subscriber.next(timeout=0) == Insert(bytes([number]), b"")
    with pytest.raises(LaggedError) as lagged:
        subscriber.next(timeout=0)
    assert lagged.value.missed_total == 3


def test_inside_a_transaction_its_own_commit_is_still_to_come(db, tree):
    def run(tx):
        inner = tx.open_tree("key_value")
        inner.insert(b"b", b"2")
        return inner.watch_prefix(b"", since=0)

    tree.insert(b"a", b"1")
    assert drain(db.transaction(run)) == [Insert(b"a", b"1"), Insert(b"b", b"2")]


def test_no_gap_and_no_doublet_beside_writers(db, tree):
    """Subscribers are made in the middle of everything, each from where the one before ended."""
    stop, told = threading.Event(), []

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            tree.insert(b"n", number.to_bytes(8))

    writer = threading.Thread(target=write)
    writer.start()
    since = 0
    try:
        for _ in range(100):
            with tree.watch_prefix(b"", since=since, capacity=1 << 20) as subscriber:
                told += [int.from_bytes(subscriber.next(timeout=20).value)]
                told += [int.from_bytes(event.value) for event in drain(subscriber)]
                since = subscriber.sequence
            if len(told) > 500:
                break
    finally:
        stop.set()
        writer.join()
    assert told == list(range(1, len(told) + 1))


def test_only_what_is_durable_is_told(harness):
    db = harness.open(flush_every_ms=None)
    subscriber = db.watch_prefix(b"", only_durable=True)
    wakes = []
    subscriber.on_ready(lambda: wakes.append(db.durable_sequence))
    db.insert(b"a", b"1")
    db.insert(b"b", b"1")
    early = drain(subscriber)
    assert early == ([] if harness.is_persistent else [Insert(b"a", b"1"), Insert(b"b", b"1")])
    assert all(durable >= 1 for durable in wakes)
    db.flush()
    assert early + drain(subscriber) == [Insert(b"a", b"1"), Insert(b"b", b"1")]
    assert wakes
    db.insert(b"c", b"1")
    db.close()
    assert list(subscriber) == [Insert(b"c", b"1")], "a close makes everything durable"


def test_an_event_loop_waits_for_the_durable(harness):
    db = harness.open()
    subscriber = db.watch_prefix(b"", only_durable=True)

    async def read():
        db.insert(b"a", b"1")
        waiting = asyncio.ensure_future(anext(subscriber))
        await asyncio.sleep(0)
        await db.flush_async()
        event = await asyncio.wait_for(waiting, 20)
        assert db.durable_sequence == subscriber.sequence == db.sequence
        return event

    assert asyncio.run(read()) == Insert(b"a", b"1")
    db.close()


@pytest.mark.parametrize("call", ["get", "insert", "next"])
def test_a_callback_that_uses_the_store_or_its_subscriber_hangs_nobody(db, tree, call, caplog):
    subscriber = tree.watch_prefix(b"")
    calls = {
        "get": tree.range,
        "insert": lambda: tree.insert(b"b", b"2"),
        "next": lambda: got.append(subscriber.next(timeout=0)),
    }
    got = []
    subscriber.on_ready(calls[call])
    writer = threading.Thread(target=tree.insert, args=(b"a", b"1"), daemon=True)
    writer.start()
    writer.join(20)
    assert not writer.is_alive()
    assert tree.get(b"a") == b"1"
    if call == "next":
        assert got == [Insert(b"a", b"1")]
