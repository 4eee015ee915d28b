"""Long polls of users with many rooms, on many loops, beside many writers."""

import asyncio
import threading
from functools import partial

import pytest
from polls import LONG_MS, A, B, assert_nothing_is_kept, now, on_a_loop, start_hub

from conduitstore import changes
from conduitstore.store import _rooms_joined


@on_a_loop
async def test_five_hundred_rooms(store, message):
    rooms = [f"!{n}:x" for n in range(500)]

    def fill(tx):
        for n, room in enumerate(rooms):
            tx.rooms.members.mark_joined(A, room)
            tx.rooms.timeline.append(message(0, room=room), f"${n}", room)

    store.transaction(fill)
    await start_hub(store)
    for room in (rooms[0], rooms[250], rooms[499]):
        waiting = store.changes.wait(A, "D", now(store), LONG_MS)
        store.rooms.timeline.append(message(1, room=room), f"$new{room}", room)
        assert await waiting is True
    assert_nothing_is_kept(store)


class Counting:
    """Something of an engine that notes what it is asked, and what it makes likewise."""

    def __init__(self, inner, calls):
        self._inner, self._calls = inner, calls

    def __getattr__(self, name):
        method = getattr(self._inner, name)

        def ask(*args, **kwargs):
            made = method(*args, **kwargs)
            if name in ("snapshot", "open_tree"):
                return Counting(made, self._calls)
            if name != "close":
                self._calls.append(name)
            return made

        return ask


@on_a_loop
@pytest.mark.parametrize("rooms_total", [1, 500])
async def test_waiting_asks_the_engine_no_more_for_many_rooms(store, message, rooms_total):
    def fill(tx):
        for n in range(rooms_total):
            tx.rooms.members.mark_joined(A, f"!{n}:x")
            tx.rooms.append(message(0, room=f"!{n}:x"), f"${n}", f"!{n}:x")

    store.transaction(fill)
    calls = []
    hub = changes.Changes(store.db, partial(_rooms_joined, Counting(store.db, calls)))
    await hub.wait(A, "D", now(store), 0)
    calls.clear()
    waiting = hub.wait(A, "D", now(store), LONG_MS)
    assert sorted(calls) == ["get_many", "keys"]
    store.rooms.append(message(1, room="!0:x"), "$new", "!0:x")
    assert await waiting is True
    assert len(calls) == 2
    hub.close()


def sync_until(store, user, total):
    """A client: long polls and reads its queue, until it has ``total`` messages."""

    async def client():
        since, seen = 0, []
        while len(seen) < total:
            changed = await store.changes.wait(user, "D", since, 5_000)
            assert changed, f"{user} was not woken, with {len(seen)} of {total} messages"
            with store.snapshot() as view:
                upto = view.globals.current_count()
                seen += [count for count, _ in view.to_device.events_since(user, "D", since, upto)]
            since = upto
        return seen

    return client()


def test_no_wake_up_is_lost_among_loops_writers_and_waiters(store):
    users, loops_total, writers_total, each = 6, 2, 2, 40
    clients = [[f"@{loop}-{n}:x" for n in range(users)] for loop in range(loops_total)]
    everyone = [user for group in clients for user in group]
    results = []

    def run_clients(group):
        async def main():
            return await asyncio.gather(
                *(sync_until(store, user, writers_total * each) for user in group)
            )

        results.append(asyncio.run(main()))

    def write():
        for n in range(each):
            for user in everyone:
                store.to_device.queue(B, user, "D", "t", {"n": n})

    threads = [threading.Thread(target=run_clients, args=(group,)) for group in clients]
    threads += [threading.Thread(target=write) for _ in range(writers_total)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == loops_total
    for seen in (seen for group in results for seen in group):
        assert len(seen) == len(set(seen)) == writers_total * each
    assert_nothing_is_kept(store)
