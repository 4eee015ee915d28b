"""Typing: in memory, with a clock that the test turns."""

import asyncio
import threading

import pytest

from conduitstore import InvalidArgumentError
from conduitstore.typing_state import TIMEOUT_MS_MAX, Typing

A, B, ROOM, OTHER = "@a:one.test", "@b:one.test", "!r:one.test", "!o:one.test"


class Clock:
    now_ms = 1_000_000.0

    def __call__(self):
        return self.now_ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def touched():
    return []


@pytest.fixture
def typing(store, clock, touched):
    return Typing(store.transaction, touched.append, clock)


def test_who_types(store, typing, touched):
    assert typing.users(ROOM) == []
    assert typing.last_update(ROOM) == 0
    assert typing.add(A, ROOM, 5_000)
    first = typing.last_update(ROOM)
    assert first == store.globals.current_count() == 1
    assert typing.add(B, ROOM, 5_000)
    assert typing.users(ROOM) == [A, B]
    assert typing.users(OTHER) == []
    assert typing.remove(A, ROOM)
    assert typing.users(ROOM) == [B]
    assert typing.last_update(ROOM) == store.globals.current_count() == 3
    assert typing.last_update(OTHER) == 0
    assert touched == [ROOM] * 3


def test_what_is_no_news_draws_nothing_and_wakes_nobody(store, typing, touched, clock):
    typing.add(A, ROOM, 5_000)
    clock.now_ms += 4_000
    assert not typing.add(A, ROOM, 5_000)
    assert not typing.remove(B, ROOM)
    assert not typing.remove(A, OTHER)
    clock.now_ms += 4_000
    assert typing.users(ROOM) == [A]
    assert store.globals.current_count() == 1
    assert touched == [ROOM]


def test_time_runs_out(typing, touched, clock):
    typing.add(A, ROOM, 5_000)
    typing.add(B, ROOM, 9_000)
    typing.add(B, OTHER, 9_000)
    before = typing.last_update(ROOM)
    assert typing.next_expiry_ms() == 5_000
    assert typing.expire() == []
    clock.now_ms += 5_000
    assert typing.users(ROOM) == [B]
    assert typing.next_expiry_ms() == 0
    assert typing.expire() == [ROOM]
    assert touched[3:] == [ROOM]
    assert typing.last_update(ROOM) > before
    assert typing.next_expiry_ms() == 4_000
    clock.now_ms += 5_000
    assert not typing.remove(B, ROOM)
    assert sorted(typing.expire()) == [OTHER, ROOM]
    assert typing.next_expiry_ms() is None
    assert typing.expire() == []
    assert typing._until_ms == {}


def test_nobody_types_for_ever(typing, clock):
    typing.add(A, ROOM, float("inf"))
    clock.now_ms += TIMEOUT_MS_MAX
    assert typing.users(ROOM) == []


@pytest.mark.parametrize("timeout_ms", [0, -1, float("nan"), True, None, "5"])
def test_no_timeouts(store, typing, timeout_ms):
    with pytest.raises(InvalidArgumentError):
        typing.add(A, ROOM, timeout_ms)
    assert store.globals.current_count() == 0


@pytest.mark.parametrize("bad", ["", None, 5, [], "\ud800", "x" * 256])
def test_no_ids(store, typing, bad):
    for user, room in ((bad, ROOM), (A, bad)):
        with pytest.raises(InvalidArgumentError):
            typing.add(user, room, 5_000)
    assert store.globals.current_count() == 0


def test_a_change_is_noted_before_its_count_is_seen(store, clock):
    """A sync that reads the count first and the room's typing then misses nothing."""
    seen = []

    def touch(room):
        raise AssertionError("not yet")

    typing = Typing(store.transaction, touch, clock)

    def look_before_the_commit(fn):
        def run(tx):
            fn(tx)
            seen.append(typing.last_update(ROOM))
            raise ZeroDivisionError

        store.transaction(run)

    typing._transaction = look_before_the_commit
    with pytest.raises(ZeroDivisionError):
        typing.add(A, ROOM, 5_000)
    assert seen == [1]
    assert store.globals.current_count() == 0


def test_nothing_is_lost_between_threads(store, typing):
    start = threading.Barrier(4)

    def come_and_go(number):
        start.wait()
        for n in range(30):
            typing.add(f"@{number}:x", ROOM, 5_000)
            if n < 29:
                typing.remove(f"@{number}:x", ROOM)

    threads = [threading.Thread(target=come_and_go, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(typing.users(ROOM)) == [f"@{n}:x" for n in range(4)]
    assert typing.last_update(ROOM) == store.globals.current_count() == 4 * 59


def test_the_stores_own_wakes_who_is_in_the_room(store):
    store.rooms.members.mark_joined(A, ROOM)

    async def wait():
        now = store.globals.current_count()
        await store.changes.wait(A, "D", now, 0)
        waiting = store.changes.wait(A, "D", now, 60_000)
        await asyncio.to_thread(store.typing.add, B, ROOM, TIMEOUT_MS_MAX)
        assert await waiting is True
        assert await store.changes.wait(A, "D", now, 60_000) is True  # Also who comes later.
        now = store.globals.current_count()
        assert await store.changes.wait(A, "D", now, 0) is False

    asyncio.run(asyncio.wait_for(wait(), 60))
