"""How often an operation waits for the server, once its trees are there."""

import pytest
from stores import PostgresHarness

import conduitstore
from conduitstore.engine import Batch
from conduitstore.sync import sync

A, B, ROOM = "@a:one.test", "@b:one.test", "!r:one.test"


def trips(pool, call):
    """Waits for the server in one call."""
    before = pool.trips_total
    call()
    return pool.trips_total - before


def next_to_last(tree):
    items = tree.range()
    next(items)
    items.next_back()


OF_TREES = {
    "get": (1, lambda tree: tree.get(b"a")),
    "contains_key": (1, lambda tree: tree.contains_key(b"a")),
    "get_many of 100": (1, lambda tree: tree.get_many([bytes([n]) for n in range(100)])),
    "len": (1, len),
    "first": (1, lambda tree: tree.first()),
    "get_lt": (1, lambda tree: tree.get_lt(b"b")),
    "ranges, 100 of them": (1, lambda tree: tree.ranges([(b"a", b"b"), (None, b"b")] * 50)),
    "range of 10": (1, lambda tree: list(tree.range(limit=10))),
    "range of a page": (1, lambda tree: list(tree.range())),
    "range from both ends": (1, next_to_last),
    "keys of a page": (1, lambda tree: list(tree.keys(b""))),
    "put": (2, lambda tree: tree.put(b"p", b"1")),
    "insert": (3, lambda tree: tree.insert(b"i", b"1")),
    "remove": (3, lambda tree: tree.remove(b"i")),
    "increment": (3, lambda tree: tree.increment(b"n")),
    "compare_and_swap": (3, lambda tree: tree.compare_and_swap(b"c", None, b"1")),
    "pop_min": (3, lambda tree: tree.pop_min()),
    "a removal nobody asked about": (3, lambda tree: tree.put(b"p", None)),
    "remove_prefix of 500": (3, lambda tree: tree.remove_prefix(b"batch")),
}


OF_STORES = {
    "current_count": (1, lambda db: db.current_count()),
    "tree_names": (1, lambda db: db.tree_names()),
    "open_tree that is there": (0, lambda db: db.open_tree("t")),
    "generate_id": (0, lambda db: db.generate_id()),
    "snapshot": (1, lambda db: db.snapshot().close()),
    "flush": (1, lambda db: db.flush()),
    "batch of 500 in 2 trees": (2, lambda db: db.apply_batch(large_batch())),
    "durable batch": (3, lambda db: db.apply_batch(small_batch(), durability="commit")),
    "transaction that only draws": (2, lambda db: db.transaction(lambda tx: tx.next_count())),
    "transaction that does nothing": (1, lambda db: db.transaction(lambda _: None)),
    "transaction that reads a key 9 times": (
        2,
        lambda db: db.transaction(lambda tx: [tx.get(b"x") for _ in range(9)]),
    ),
}


def small_batch():
    return Batch().insert("t", b"small", b"1")


def large_batch():
    batch = Batch()
    for number in range(500):
        batch.insert("tu"[number % 2], b"batch %d" % number, bytes(100))
    return batch


@pytest.fixture(scope="module")
def db(postgres_server):
    harness = PostgresHarness(postgres_server.dsn)
    with harness.open() as db:
        db.open_tree("u")
        for number in range(20):
            db.open_tree("t").put(bytes([number]), b"value")
        db.generate_id()
        yield db
    harness.dispose()


@pytest.mark.parametrize("name", OF_TREES)
def test_trips_of_trees(db, name):
    most, call = OF_TREES[name]
    tree = db.open_tree("t")
    assert trips(db.pool, lambda: call(tree)) <= most


@pytest.mark.parametrize("name", OF_STORES)
def test_trips_of_stores(db, name):
    most, call = OF_STORES[name]
    assert trips(db.pool, lambda: call(db)) <= most


def test_a_large_range_takes_a_trip_for_each_page(db):
    tree = db.open_tree("large")
    batch = Batch()
    for number in range(9_000):
        batch.insert(tree, number.to_bytes(2), b"")
    db.apply_batch(batch)
    assert trips(db.pool, lambda: list(tree.range())) <= 4
    assert trips(db.pool, lambda: list(tree.keys(b""))) <= 4
    assert trips(db.pool, tree.clear) <= 6


def test_many_ranges_take_a_trip_for_each_thousand(db):
    tree = db.open_tree("t")
    assert trips(db.pool, lambda: tree.ranges([(b"x", b"y")] * 2_500)) <= 3
    with db.snapshot() as view:
        assert trips(db.pool, lambda: view.open_tree("t").ranges([(b"x", b"y")] * 2_500)) <= 3


# Parts --------------------------------------------------------------------------------------------


def event(number, kind="m.room.message", **more):
    return {
        "type": kind,
        "sender": A,
        "room_id": ROOM,
        "origin_server_ts": number,
        "content": {"body": f"message {number}"},
        **more,
    }


def claim(store):
    store.one_time_keys.claim(A, "PHONE", "signed_curve25519")


def sync_with_nothing_new(store):
    with store.snapshot() as view:
        sync(view, A, "PHONE", since=view.globals.current_count())


PARTS = {
    "timeline append": (8, lambda s: s.rooms.append(event(7), "$7:one.test", ROOM)),
    "to_device queue": (2, lambda s: s.to_device.queue(B, A, "PHONE", "m.t", {"a": 1})),
    "to_device queue_many of 50": (
        2,
        lambda s: s.to_device.queue_many(B, "m.t", {A: {f"D{n}": {} for n in range(50)}}),
    ),
    "to_device events_since": (1, lambda s: s.to_device.events_since(A, "PHONE", 0, 1 << 40)),
    "to_device drain": (3, lambda s: s.to_device.forget_until(A, "PHONE", 1 << 40)),
    "claim": (5, claim),
    "devices of a user": (1, lambda s: s.devices.all_metadata(A)),
    "devices create": (10, lambda s: s.devices.create(A, "TABLET", "other-token", "Tablet")),
    "user of a token": (2, lambda s: s.devices.find_from_token("token")),
    "sync with nothing new": (15, sync_with_nothing_new),
    "last 10 events": (3, lambda s: s.rooms.timeline.page(ROOM, None, "b", 10)),
}


def filled(store):
    store.users.create(A, "hash")
    store.users.create(B, "hash")
    store.devices.create(A, "PHONE", "token", "Phone")
    keys = {f"signed_curve25519:K{n}": {"key": str(n)} for n in range(9)}
    store.one_time_keys.add(A, "PHONE", keys)
    joined = {"content": {"membership": "join"}, "state_key": A}
    store.rooms.append(event(1, "m.room.create", state_key=""), "$1:one.test", ROOM)
    store.rooms.append(event(2, "m.room.member", **joined), "$2:one.test", ROOM)
    for number in range(3, 6):
        store.rooms.append(event(number), f"${number}:one.test", ROOM)


@pytest.fixture
def store(emptied_schema):
    emptied_schema.empty()
    with conduitstore.open(emptied_schema.dsn, **emptied_schema.settings) as store:
        filled(store)
        for _, call in PARTS.values():  # Each tree and handle is there.
            if call is not PARTS["timeline append"][1]:
                call(store)
        store.devices.remove(A, "TABLET")
        yield store


@pytest.mark.parametrize("name", PARTS)
def test_trips_of_parts(store, name):
    most, call = PARTS[name]
    store.to_device.queue(B, A, "PHONE", "m.t", {})  # There is something to drain.
    assert trips(store.db.pool, lambda: call(store)) == most


# A sync in many rooms -----------------------------------------------------------------------------
NOTHING_NEW, EVENT_IN_A_ROOM, FIRST_SYNC = 22, 26, 43


def join_rooms(store, rooms):
    def fill(tx):
        for room in rooms:
            more = {"room_id": room}
            join = event(2, "m.room.member", content={"membership": "join"}, state_key=A)
            tx.rooms.append(event(1, "m.room.create", state_key="") | more, f"$c{room}", room)
            tx.rooms.append(join | more, f"$j{room}", room)
            for at in range(3):
                tx.rooms.append(event(at) | more, f"${at}{room}", room)

    store.transaction(fill)


def sync_from(store, since):
    with store.snapshot() as view:
        return sync(view, A, "PHONE", since=since)


@pytest.mark.parametrize("total", [20, 200])
def test_a_sync_takes_as_many_trips_in_many_rooms_as_in_a_few(store, total):
    """There is something new elsewhere, so that each range has to be looked into."""
    rooms = [f"!room{number}of{total}:one.test" for number in range(total)]
    join_rooms(store, rooms)
    since = store.globals.current_count()
    store.to_device.queue(A, B, "PHONE", "m.t", {})
    found = []
    pool = store.db.pool
    assert trips(pool, lambda: found.append(sync_from(store, since))) == NOTHING_NEW
    store.rooms.append(event(9) | {"room_id": rooms[7]}, f"$new{total}", rooms[7])
    assert trips(pool, lambda: found.append(sync_from(store, since))) == EVENT_IN_A_ROOM
    assert [list(answer.joined) for answer in found] == [[], [rooms[7]]]
    assert trips(pool, lambda: found.append(sync_from(store, 0))) == FIRST_SYNC
    assert found[-1].joined.keys() >= set(rooms)


def test_opening_waits_for_no_writer(emptied_schema):
    emptied_schema.empty()
    dsn, settings = emptied_schema.dsn, emptied_schema.settings
    with conduitstore.open(dsn, **settings) as store:

        def run(tx):
            tx.users.create("@a:one.test", None)
            with conduitstore.open(dsn, lock_timeout_ms=50, retries_max=0, **settings) as other:
                assert other.users.all() == []

        store.transaction(run)
        assert store.users.all() == ["@a:one.test"]
