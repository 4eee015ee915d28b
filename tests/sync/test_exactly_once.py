"""Clients that sync while others write: everything reaches them, once and in order.

The client keeps nothing but its token. Where a timeline is limited it pages back to the token it
had, as clients do. Receipts and account data replace their older value, so of those the client
must end with the newest, must never be told an older one after it, and none twice.
"""

import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore.sync import SyncOptions, acknowledge, sync

USERS = ["@a:one.test", "@b:one.test", "@c:two.test"]
ROOMS = ["!r:one.test", "!s:one.test"]
DEVICE = "D"


class Client:
    """One device, and all it was ever told."""

    def __init__(self, user, rooms):
        self.user, self.rooms = user, rooms
        self.since = 0
        self.events = defaultdict(list)
        self.to_device, self.account_data, self.receipts = [], [], []

    def sync(self, store, limit=3):
        """One request and its answer; gives whether there was anything."""
        acknowledge(store, self.user, DEVICE, self.since)
        with store.snapshot() as view:
            answer = sync(view, self.user, DEVICE, self.since, SyncOptions(timeline_limit=limit))
        for room, news in answer.joined.items():
            told = [event.event_id for event in news.timeline.events]
            if news.timeline.limited:
                told = self._gap(store, room, news.timeline) + told
            self.events[room] += told
            self.receipts += [
                (r.count, room, r.user, next(iter(r.event["content"]))) for r in news.receipts
            ]
            self.account_data += [(c, room, e["type"], e["content"]) for c, e in news.account_data]
        self.account_data += [(c, None, e["type"], e["content"]) for c, e in answer.account_data]
        self.to_device += [event["content"]["n"] for _, event in answer.to_device]
        assert answer.next_batch >= self.since
        self.since, was = answer.next_batch, self.since
        return bool(answer) or self.since != was

    def _gap(self, store, room, timeline):
        """What lies between the client's token and a limited timeline, oldest first."""
        found, token = [], timeline.prev_batch
        while token is not None:
            events, token = store.rooms.timeline.page(room, token, "b", 2)
            fresh = [event for event in events if event.position > self.since]
            found += [event.event_id for event in fresh]
            if len(fresh) < len(events):
                break
        return found[::-1]

    def assert_was_told(self, written):
        for room in self.rooms:
            assert self.events[room] == written.events[room]
        assert self.to_device == written.to_device[self.user]
        assert_newest_once(self.receipts, written.receipts)
        mine = written.account_data.items()
        own = {(room, kind): n for (user, room, kind), n in mine if user == self.user}
        assert_newest_once(self.account_data, own)


def assert_newest_once(told, newest):
    """In the order of counts, none twice, and of each the last one is the newest."""
    counts = [count for count, *_ in told]
    last = {}
    for _, *key, value in told:
        last[tuple(key)] = value
    assert len(set(counts)) == len(counts)
    assert last == newest


class Written:
    """What everybody wrote, in the order of their commits."""

    def __init__(self):
        self.events, self.to_device = defaultdict(list), defaultdict(list)
        self.receipts, self.account_data = {}, {}


def write(parts, written, kind, user, room, n):
    """One operation; ``written`` is told as if it had been committed."""
    match kind:
        case "event":
            parts.rooms.timeline.append(pdu(room, user, n), f"${n}", room)
            written.events[room].append(f"${n}")
        case "to_device":
            parts.to_device.queue(USERS[0], user, DEVICE, "t", {"n": n})
            written.to_device[user].append(n)
        case "receipt":
            parts.rooms.receipts.update(user, room, receipt(user, n))
            written.receipts[room, user] = f"$later{n}"
        case "account_data":
            parts.account_data.update(None, user, "t", {"n": n})
            written.account_data[user, None, "t"] = {"n": n}
        case "room_account_data":
            parts.account_data.update(room, user, "t", {"n": n})
            written.account_data[user, room, "t"] = {"n": n}


KINDS = ["event", "to_device", "receipt", "account_data", "room_account_data"]


def receipt(user, n):
    """For an event that is in no timeline here, so that the later call wins."""
    return {"type": "m.receipt", "content": {f"$later{n}": {"m.read": {user: {"ts": n}}}}}


def pdu(room, sender, n):
    return {
        "type": "m.room.message",
        "room_id": room,
        "sender": sender,
        "content": {"n": n},
        "origin_server_ts": n,
        "depth": n,
        "prev_events": [],
        "auth_events": [],
        "hashes": {},
        "signatures": {},
    }


def joined_store(path, **settings):
    store = conduitstore.open(path, **settings)
    for user in USERS:
        for room in ROOMS:
            store.rooms.members.mark_joined(user, room)
    return store


WRITES = st.tuples(
    st.sampled_from(KINDS), st.sampled_from(USERS), st.sampled_from(ROOMS), st.integers(1, 4)
)
SYNCS = st.tuples(st.just("sync"), st.integers(0, 2), st.integers(1, 4), st.just(0))


@given(st.lists(st.one_of(WRITES, SYNCS), max_size=60))
def test_any_interleaving_of_commits_and_syncs_tells_everything_once(steps):
    written, clients, number = Written(), [Client(user, ROOMS) for user in USERS], 0
    with joined_store(":memory:") as store:
        for kind, who, where, size in steps:
            if kind == "sync":
                clients[who].sync(store, limit=where)
                continue
            numbers = range(number, number + size)
            number += size

            def commit(tx, numbers=numbers, kind=kind, who=who, where=where):
                for n in numbers:
                    write(tx, written, kind, who, where, n)

            store.transaction(commit)
        for client in clients:
            while client.sync(store):
                pass
            client.assert_was_told(written)


@pytest.mark.parametrize("engine", ["memory", "embedded"])
def test_clients_that_race_with_writers_are_told_everything_once(tmp_path, engine):
    written = Written()
    clients = [Client(user, ROOMS) for user in USERS]
    writers_done = threading.Event()
    path = ":memory:" if engine == "memory" else tmp_path / "store"

    def writer(start):
        for n in range(start, start + 250):
            # Noted inside the transaction: in the order of the commits.
            store.transaction(
                lambda tx, n=n: write(tx, written, KINDS[n % 5], USERS[n % 3], ROOMS[n % 2], n)
            )

    def reader(client):
        while not writers_done.is_set():
            client.sync(store)
        while client.sync(store):
            pass

    with joined_store(path) as store, ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(reader, client) for client in clients]
        writers = [pool.submit(writer, 1_000 * n) for n in range(3)]
        for done in writers:
            done.result()
        writers_done.set()
        for done in readers:
            done.result()
    for client in clients:
        client.assert_was_told(written)
