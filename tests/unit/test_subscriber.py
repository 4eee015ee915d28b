"""The queue between a committing thread and whoever reads its events."""

import asyncio
import gc
import threading
from datetime import timedelta
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduitstore.engine.subscriber import Subscriber, Subscribers
from conduitstore.errors import InvalidArgumentError, LaggedError
from conduitstore.kv import Insert, Remove

A, B, C = Insert(b"a", b"1"), Remove(b"b"), Insert(b"c", b"3")
LONG_SECONDS = timedelta(minutes=1).total_seconds()


def added(subscribers, tree, prefix=b""):
    subscriber = Subscriber(prefix, 10)
    subscribers.add(tree, subscriber)
    return subscriber


@given(
    st.lists(
        st.one_of(
            st.lists(st.sampled_from([b"a", b"ab", b"b"]), max_size=4),  # a commit's keys
            st.none(),  # a read
        )
    ),
    st.integers(1, 5),
)
def test_against_a_plain_list(steps, capacity):
    """Whole commits or none of them, and every event either read or counted as missed."""
    subscriber = Subscriber(b"a", capacity)
    queue, missed = [], 0
    for step in steps:
        if step is not None:
            wanted = [Insert(key, b"") for key in step if key.startswith(b"a")]
            subscriber.push([Insert(key, b"") for key in step])
            if wanted and len(queue) + len(wanted) > capacity:
                missed += len(queue) + len(wanted)
                queue = []
            else:
                queue += wanted
        elif missed:
            with pytest.raises(LaggedError) as lagged:
                subscriber.next(timeout=0)
            assert lagged.value.missed_total == missed
            missed = 0
        else:
            assert subscriber.next(timeout=0) == (queue.pop(0) if queue else None)


def test_next_wakes_as_soon_as_there_is_something():
    subscriber = Subscriber(b"", 10)
    began = monotonic()
    threading.Timer(0.001, subscriber.push, [[A]]).start()
    assert subscriber.next(timeout=LONG_SECONDS) == A
    assert monotonic() - began < LONG_SECONDS / 2


def test_closing_wakes_every_waiting_thread():
    subscriber = Subscriber(b"", 10)
    got = []
    threads = [threading.Thread(target=lambda: got.append(subscriber.next())) for _ in range(3)]
    for thread in threads:
        thread.start()
    subscriber.close()
    for thread in threads:
        thread.join()
    assert got == [None] * 3


def test_a_closed_queue_takes_nothing_more():
    with Subscriber(b"", 10) as subscriber:
        subscriber.push([A])
    subscriber.push([B])
    assert list(subscriber) == [A]


def test_a_lag_is_told_even_after_closing():
    subscriber = Subscriber(b"", 1)
    subscriber.push([A, B])
    subscriber.close()
    with pytest.raises(LaggedError):
        subscriber.next()
    assert subscriber.next() is None


def test_wakes_are_called_once_per_commit_that_concerns_them():
    subscriber = Subscriber(b"a", 10)
    calls = []
    subscriber.on_ready(lambda: calls.append(1))
    subscriber.push([A, C])
    subscriber.push([B])
    subscriber.close()
    assert len(calls) == 2


def test_two_tasks_share_the_events():
    subscriber = Subscriber(b"", 10)

    async def read():
        readers = [asyncio.ensure_future(anext(subscriber)) for _ in range(2)]
        await asyncio.sleep(0)
        subscriber.push([A, B])
        return await asyncio.gather(*readers)

    assert sorted(asyncio.run(read())) == sorted([A, B])


def test_events_reach_a_loop_from_another_thread():
    subscriber = Subscriber(b"", 10)

    async def read():
        waiting = asyncio.ensure_future(anext(subscriber))
        await asyncio.sleep(0)
        await asyncio.to_thread(subscriber.push, [C])
        return await waiting

    assert asyncio.run(read()) == C


def test_closing_ends_a_loop_that_waits():
    subscriber = Subscriber(b"", 10)

    async def read():
        waiting = asyncio.ensure_future(_collect(subscriber))
        await asyncio.sleep(0)
        await asyncio.to_thread(subscriber.close)
        return await waiting

    assert asyncio.run(read()) == []


async def _collect(subscriber):
    return [event async for event in subscriber]


def test_a_cancelled_reader_loses_no_event():
    subscriber = Subscriber(b"", 10)

    async def read():
        waiting = asyncio.ensure_future(anext(subscriber))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        subscriber.push([A])
        return await anext(subscriber)

    assert asyncio.run(read()) == A
    assert subscriber._wakes == []


def test_a_lag_reaches_a_loop():
    subscriber = Subscriber(b"", 1)
    subscriber.push([A, B])
    with pytest.raises(LaggedError):
        asyncio.run(_collect(subscriber))


@pytest.mark.parametrize(("prefix", "capacity"), [("a", 1), (None, 1), (b"", 0), (b"", 1.0)])
def test_bad_arguments_are_refused(prefix, capacity):
    with pytest.raises(InvalidArgumentError):
        Subscriber(prefix, capacity)


# The registry -------------------------------------------------------------------------------------


def test_the_registry_tells_those_who_watch_the_tree():
    subscribers = Subscribers()
    one, two = added(subscribers, "t", b""), added(subscribers, "t", b"b")
    other = added(subscribers, "u")
    subscribers.publish("t", [A, B], 1)
    subscribers.publish("nobody", [C], 1)
    assert [one.next(0), one.next(0)] == [A, B]
    assert [two.next(0), two.next(0)] == [B, None]
    assert other.next(0) is None


def test_the_registry_forgets_whom_nobody_keeps():
    subscribers = Subscribers()
    added(subscribers, "t")
    gc.collect()
    subscribers.publish("t", [A], 1)
    kept = added(subscribers, "t")
    assert [ref() for ref in subscribers.watched["t"]] == [kept]


@pytest.mark.parametrize("end", ["closed", "not kept"])
def test_the_registry_is_empty_once_nobody_reads(end):
    subscribers = Subscribers()
    kept = [added(subscribers, tree) for tree in ("t", "t", "u")]
    if end == "closed":
        for one in kept:
            one.close()
    else:
        kept.clear()
        gc.collect()
    subscribers.forget_gone()
    assert not subscribers.watched


def test_the_registry_keeps_who_was_closed_with_events_that_are_not_durable_yet():
    subscribers = Subscribers()
    one = Subscriber(b"", 10, only_durable=True)
    subscribers.add("t", one)
    subscribers.publish("t", [A], 1)
    one.close()
    subscribers.forget_gone()
    subscribers.reached(1)
    assert list(one) == [A]


def test_the_registry_closes_one_tree_or_all():
    subscribers = Subscribers()
    one, other = added(subscribers, "t"), added(subscribers, "u")
    subscribers.close("t")
    subscribers.publish("t", [A], 1)
    subscribers.publish("u", [B], 1)
    assert list(one) == []
    assert other.next(0) == B
    subscribers.close()
    assert list(other) == []


def test_the_registry_passes_over_whom_a_callback_let_go_of():
    subscribers = Subscribers()
    one, kept = added(subscribers, "t"), [added(subscribers, "t")]
    last = added(subscribers, "t")
    one.on_ready(kept.clear)
    subscribers.publish("t", [A], 1)
    assert (kept, one.next(0), last.next(0)) == ([], A, A)


def test_what_can_be_told_no_more_is_a_lag():
    subscribers, woken = Subscribers(), []
    one, closed, gone = (added(subscribers, "t") for _ in range(3))
    one.on_ready(lambda: woken.append("one"))
    subscribers.publish("t", [A, B], 1)
    closed.close()
    del gone  # It is still among them: the next commit forgets it.
    subscribers.lose(4)
    with pytest.raises(LaggedError, match="2"):
        one.next(0)
    assert (one.sequence, woken) == (4, ["one"] * 2)
    assert list(closed) == [A, B]
    subscribers.publish("t", [C], 5)
    assert one.next(0) == C
    subscribers.lose(6)
    with pytest.raises(LaggedError):
        one.next(0)
