"""A long poll costs as little in many rooms as in one."""

import asyncio
from functools import partial

import pytest
from polls import LONG_MS, A

from conduitstore.changes import Changes
from conduitstore.store import _rooms_joined


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


def join_many(store, message, rooms):
    def fill(tx):
        for number, room in enumerate(rooms):
            tx.rooms.members.mark_joined(A, room)
            tx.rooms.append(message(0, room=room), f"${number}", room)

    store.transaction(fill)


@pytest.mark.parametrize("rooms_total", [1, 500])
def test_waiting_asks_the_engine_no_more_for_many_rooms(store, message, rooms_total):
    join_many(store, message, [f"!{n}:x" for n in range(rooms_total)])
    calls = []
    hub = Changes(store.db, partial(_rooms_joined, Counting(store.db, calls)))

    async def wait():
        await hub.wait(A, "D", store.globals.current_count(), 0)
        calls.clear()
        waiting = hub.wait(A, "D", store.globals.current_count(), LONG_MS)
        assert sorted(calls) == ["get_many", "keys"]
        store.rooms.append(message(1, room="!0:x"), "$new", "!0:x")
        assert await asyncio.wait_for(waiting, 60) is True
        assert len(calls) == 2

    asyncio.run(wait())
    hub.close()


def test_an_event_in_any_of_many_rooms_wakes(store, message):
    rooms = [f"!{n}:x" for n in range(500)]
    join_many(store, message, rooms)

    async def wait():
        await store.changes.wait(A, "D", store.globals.current_count(), 0)
        for room in (rooms[0], rooms[250], rooms[499]):
            waiting = store.changes.wait(A, "D", store.globals.current_count(), LONG_MS)
            store.rooms.append(message(1, room=room), f"$new{room}", room)
            assert await asyncio.wait_for(waiting, 60) is True
        assert (store.changes._waiters, store.changes._loops) == ({}, {})

    asyncio.run(wait())
