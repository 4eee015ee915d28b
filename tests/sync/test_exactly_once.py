"""Clients that sync while others write: everything reaches them, once and in order.

A client keeps what it is told and its token. Where a timeline is limited it pages back to the token
it had, as clients do; answers get lost, and it asks again. Receipts and account data replace their
older value, so of those it must end with the newest, and none is told twice; of memberships, state,
typing and other users' keys it must end with what there is.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from clients import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from writers import DEVICES, KINDS, ROOMS, USERS, Written, settle, write

import conduitstore


def settled(open_store):
    store, written = open_store(), Written()
    store.transaction(lambda tx: settle(tx, written))
    return store, written


def clients_of(store):
    """One for each device; every other one loads members lazily."""
    devices = [(user, device) for user, named in DEVICES.items() for device in named]
    return [
        Client(store, user, device, lazy_members=number % 2 == 0, timeline_limit=1_000)
        for number, (user, device) in enumerate(devices)
    ]


CLIENTS_TOTAL = sum(map(len, DEVICES.values()))
WRITES = st.tuples(
    st.sampled_from(KINDS), st.sampled_from(USERS), st.sampled_from(ROOMS), st.integers(1, 4)
)
MOVES = st.tuples(
    st.just("move"), st.sampled_from(USERS), st.sampled_from(ROOMS), st.integers(1, 2)
)
TYPING = st.tuples(st.just("typing"), st.sampled_from(USERS), st.sampled_from(ROOMS), st.booleans())
SYNCS = st.tuples(
    st.sampled_from(["sync", "lost"]),
    st.integers(0, CLIENTS_TOTAL - 1),
    st.integers(1, 4),
    st.just(0),
)


# Long lives rather than many: what goes wrong takes a stay, a sync, a leaving and a return.
LIVES = st.lists(st.one_of(WRITES, MOVES, MOVES, TYPING, SYNCS, SYNCS), min_size=40, max_size=100)


@settings(max_examples=settings().max_examples // 3)
@given(LIVES)
def test_any_interleaving_of_commits_and_syncs_tells_everything_once(steps):
    live(partial(conduitstore.open, ":memory:"), steps)


@pytest.mark.slow
@settings(max_examples=settings().max_examples // 25)
@given(LIVES)
def test_so_does_postgresql(emptied_schema, steps):
    emptied_schema.empty()
    live(partial(conduitstore.open, emptied_schema.dsn, **emptied_schema.settings), steps)


def live(open_store, steps):
    store, written = settled(open_store)
    with store:
        clients, number = clients_of(store), 0
        for kind, who, where, size in steps:
            match kind:
                case "sync":
                    clients[who].sync(timeline_limit=where)
                case "lost":
                    clients[who].ask(timeline_limit=where)
                case "typing":
                    type_(store, who, where, size)
                case _:
                    numbers = range(number + 1, number + size + 1)
                    number += size

                    def commit(tx, numbers=numbers, kind=kind, who=who, where=where):
                        for n in numbers:
                            write(tx, written, kind, who, where, n)

                    store.transaction(commit)
        finish(clients, written)


def type_(store, user, room, begins):
    if begins:
        store.typing.add(user, room, 600_000)
    else:
        store.typing.remove(user, room)


def finish(clients, written):
    for client in clients:
        while client.sync():
            pass
        client.assert_was_told(written)


def test_clients_that_race_with_writers_are_told_everything_once(open_store):
    store, written = settled(open_store)
    writers_done = threading.Event()

    def writer(start):
        for n in range(start, start + 150):
            kind = KINDS[n * 7 % len(KINDS)]
            store.transaction(
                lambda tx, n=n, kind=kind: write(
                    tx, written, kind, USERS[n % 3], ROOMS[n // 3 % 2], n
                )
            )
            if n % 10 == 0:
                type_(store, USERS[n // 10 % 3], ROOMS[n // 30 % 2], n % 20 == 0)

    def reader(client):
        while not writers_done.is_set():
            client.ask(timeline_limit=1)  # Lost.
            client.sync(timeline_limit=2)

    with store, ThreadPoolExecutor(3 + CLIENTS_TOTAL) as pool:
        clients = clients_of(store)
        readers = [pool.submit(reader, client) for client in clients]
        writers = [pool.submit(writer, 1_000 * n) for n in range(1, 4)]
        for done in writers:
            done.result()
        writers_done.set()
        for done in readers:
            done.result()
        finish(clients, written)
