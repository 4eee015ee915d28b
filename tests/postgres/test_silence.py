"""A network that takes every byte and delivers none: each call ends in bounded time, and says so.

The server is asked for at most ``statement_timeout_ms``, and then waited for as long as for a new
connection. One more attempt may be made on such a one.
"""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest
from patience import eventually, in_the_end

import conduitstore
from conduitstore.engine import Batch
from conduitstore.engine.postgres import connections, faults, instant, silence
from conduitstore.errors import UnavailableError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
BOUNDS = {
    "statement_timeout_ms": 300,
    "connect_timeout_ms": 400,
    "lock_timeout_ms": 300,
    "flush_every_ms": None,
}
ROOMY = BOUNDS | {
    "statement_timeout_ms": 3_000,
    "connect_timeout_ms": 1_000,
    "lock_timeout_ms": 30_000,
    "idle_timeout_ms": 30_000,
}
"""Where a call must not fail: a server that merely gets no processor for a while is not silent."""
SILENCE_S = 0.7
ROOMY_SILENCE_S = 4.0
CONNECT_S = 2.0  # The least that libpq waits for a connection.
MARGIN_S = 12.0  # This machine does other things too; ten attempts in vain would take longer.


@pytest.fixture
def remote(mortal, opened, proxy):
    """The store through a network that fails."""
    yield from distant(mortal, opened, proxy, BOUNDS)


@pytest.fixture
def roomy(mortal, opened, proxy):
    """The same, which waits for longer."""
    yield from distant(mortal, opened, proxy, ROOMY)


def distant(mortal, opened, proxy, bounds):
    opened(flush_every_ms=None).open_tree("t").insert(b"k", b"old")
    yield in_the_end(lambda: opened(mortal.dsn_over(proxy.port), **bounds))
    proxy.judge = lambda *_: "pass"
    proxy.resume()


def unavailable(call, at_most_s=SILENCE_S + CONNECT_S):
    """What the call raises, in time."""
    begun = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        call()
    assert time.monotonic() - begun < at_most_s + MARGIN_S
    return caught.value


def in_batch(db):
    batch = Batch()
    for number in range(100):
        batch.insert("t", bytes([number]), b"new")
    db.apply_batch(batch)


CALLS = {
    "get": lambda db: db.open_tree("t").get(b"k"),
    "get_many": lambda db: db.open_tree("t").get_many([b"k", b"l"]),
    "scan": lambda db: list(db.open_tree("t")),
    "snapshot": lambda db: db.snapshot(),
    "current_count": lambda db: db.current_count(),
    "insert": lambda db: db.open_tree("t").insert(b"k", b"new"),
    "put": lambda db: db.open_tree("t").put(b"k", b"new"),
    "transaction": lambda db: db.transaction(lambda tx: tx.next_count(), durability="commit"),
    "batch": in_batch,
    "new tree": lambda db: db.open_tree("another"),
    "drop": lambda db: db.drop_tree("t"),
    "flush": lambda db: db.flush(),
    "ids": lambda db: db.reserve_ids(1_000),
    "watch": lambda db: db.watch_prefix(b""),
    "stats": lambda db: db.stats(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_into_silence_ends(remote, proxy, call, faults):
    proxy.stall()
    proxy.refuse()  # To wait for new connections too takes longer; one test of each kind does.
    unavailable(lambda: CALLS[call](remote))
    faults["stalled"] += 1
    proxy.accept()
    proxy.resume()
    assert in_the_end(lambda: remote.open_tree("t").get(b"k")) in (b"old", b"new")
    in_the_end(lambda: CALLS[call](remote))


@pytest.mark.parametrize("is_from_client", [True, False])
def test_reads_that_have_begun_end_too(remote, proxy, is_from_client, faults):
    """A snapshot, an iterator in its middle: on the way there and on the way back."""
    with in_the_end(remote.snapshot) as view:
        proxy.judge = stalling(is_from_client)
        unavailable(lambda: view.get(b"k"))
        faults["stalled"] += 1


def stalling(is_from_client, holds=b"", times=1):
    """Stalls at the first piece of one side that holds these bytes."""
    left = [times]

    def judge(piece, from_client):
        if from_client is not is_from_client or holds not in piece or not left[0]:
            return "pass"
        left[0] -= 1
        return "stall"

    return judge


def test_an_iterator_in_its_middle_ends(remote, proxy, monkeypatch, faults):
    monkeypatch.setattr(instant, "FIRST_ROWS", 2)
    tree = remote.open_tree("t")
    for number in range(10):
        in_the_end(lambda number=number: tree.insert(bytes([number]), b""))

    def begun():
        items = tree.range()
        assert next(items) == (b"\0", b"")
        return items

    items = in_the_end(begun)
    proxy.stall()
    unavailable(lambda: list(items))
    faults["stalled"] += 1


def test_a_transaction_that_has_begun_ends_and_changes_nothing(remote, proxy, faults):
    attempts = []

    def run(tx):
        attempts.append(tx.next_count())
        tx.open_tree("t").insert(b"k", b"half")
        if len(attempts) == 1:
            proxy.stall()
        tx.open_tree("t").get(b"another")

    in_the_end(remote.flush)  # A connection is there to begin it on.
    unavailable(lambda: remote.transaction(run))
    faults["stalled"] += 1
    proxy.resume()
    assert in_the_end(lambda: remote.open_tree("t").get(b"k")) == b"old"
    in_the_end(lambda: remote.transaction(run))
    assert in_the_end(lambda: remote.open_tree("t").get(b"k")) == b"half"
    assert len(set(attempts)) == len(attempts), "a count came again"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_commit_into_silence_is_looked_up(roomy, opened, proxy, moment, faults):
    """The network comes back: it is known whether it was made, and it is made once."""
    told = roomy.open_tree("t").watch_prefix(b"")
    lookups = threading.Event()
    judge = stalling(moment == "before", b"COMMIT\0")

    def judged(piece, from_client):
        answer = judge(piece, from_client)
        if answer == "stall":
            lookups.set()
        return answer

    def come_back():
        lookups.wait(30)
        time.sleep(SILENCE_S / 2)
        proxy.cut()  # What was held back reaches nobody any more.
        proxy.resume()

    proxy.judge = judged
    thread = threading.Thread(target=come_back)
    thread.start()
    assert roomy.open_tree("t").increment(b"n") == 1
    thread.join()
    assert lookups.is_set()
    faults["commit stalled"] += 1
    assert int.from_bytes(opened().open_tree("t").get(b"n")) == 1
    assert [event.key for event in iter(lambda: told.next(timeout=0), None)] == [b"n"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_nobody_can_say_whether_a_commit_was_made(roomy, opened, proxy, moment, faults):
    proxy.judge = stalling(moment == "before", b"COMMIT\0")
    error = unavailable(
        lambda: roomy.open_tree("t").insert(b"k", b"new"), ROOMY_SILENCE_S + CONNECT_S
    )
    assert error.is_commit_unknown
    faults["commit stalled"] += 1
    proxy.cut()
    proxy.resume()
    there = opened(lock_timeout_ms=30_000).open_tree("t")
    eventually(lambda: there.get(b"k") == (b"new" if moment == "after" else b"old"))


def test_a_durable_commit_whose_sync_is_silent_says_what_is_unknown(roomy, opened, proxy, faults):
    """It was made; only how durable it is, nobody can say."""
    roomy.flush()
    proxy.judge = stalling(True, b"logical_emit_message")
    error = unavailable(
        lambda: roomy.transaction(
            lambda tx: tx.open_tree("t").insert(b"k", b"new"), durability="commit"
        ),
        at_most_s=2 * ROOMY_SILENCE_S + CONNECT_S,
    )
    assert error.is_commit_unknown
    faults["sync stalled"] += 1
    assert opened().open_tree("t").get(b"k") == b"new"


def test_idle_connections_of_a_silent_network_are_not_tried_one_by_one(
    remote, proxy, monkeypatch, faults
):
    views = [in_the_end(remote.snapshot) for _ in range(8)]
    for view in views:
        view.close()
    del views, view
    waits = []

    class CountedError(silence.SilentServerError):
        def __init__(self, *args):
            waits.append(args)
            super().__init__(*args)

    monkeypatch.setattr(silence, "SilentServerError", CountedError)
    proxy.stall()
    unavailable(lambda: remote.get(b"k"))
    assert len(waits) == 1
    faults["stalled"] += 1
    proxy.resume()
    assert in_the_end(lambda: remote.get(b"k")) is None


def test_a_connection_that_alone_is_silent_is_replaced(roomy, proxy, faults):
    """As behind a firewall that has forgotten it: reading, and what was not begun, goes on."""
    over = threading.Event()

    def judge(_piece, from_client):
        if from_client and silent:
            silent.pop()
            over.wait()  # In the thread of this connection, which no other one has.
            return "drop"
        return "pass"

    for call in (
        lambda: roomy.open_tree("t").get(b"k"),
        lambda: roomy.open_tree("t").insert(b"k", b"old"),
        lambda: list(roomy.open_tree("t")),
    ):
        silent = ["the next piece"]
        before = proxy.connections_total
        proxy.judge = judge
        call()
        assert not silent
        assert proxy.connections_total > before
        faults["replaced"] += 1
    over.set()


def test_a_long_poll_goes_on_when_the_network_is_back(mortal, proxy, schema, faults):
    """It ends when it was to end, and what came meanwhile is told by the next one."""
    user, settings = "@a:one.test", {**ROOMY, "schema": schema, "poll_ms": 50}

    async def poll(store, since, timeout_ms):
        return await store.changes.wait(user, "D", since, timeout_ms=timeout_ms)

    with (
        conduitstore.open(mortal.dsn, **settings) as there,
        conduitstore.open(mortal.dsn_over(proxy.port), **settings) as here,
    ):
        there.users.create(user, None)
        there.devices.create(user, "D", "token")
        since = here.globals.current_count()
        assert asyncio.run(poll(here, since, 10)) in (True, False)
        proxy.stall()
        begun = time.monotonic()
        with pytest.raises(UnavailableError):
            asyncio.run(poll(here, since, 100))
        assert time.monotonic() - begun < ROOMY_SILENCE_S + CONNECT_S + MARGIN_S
        faults["stalled"] += 1
        there.to_device.queue(user, user, "D", "t", {})
        proxy.resume()
        assert eventually(lambda: in_the_end(lambda: asyncio.run(poll(here, since, 5_000))))


def test_a_long_poll_that_waits_is_woken_when_the_network_is_back(mortal, proxy, schema, faults):
    user, settings = "@a:one.test", {**ROOMY, "schema": schema, "poll_ms": 50}

    async def poll(here, there):
        since = here.globals.current_count()
        waiting = here.changes.wait(user, "D", since, timeout_ms=60_000)
        proxy.stall()
        await asyncio.to_thread(there.to_device.queue, user, user, "D", "t", {})
        done, _ = await asyncio.wait([waiting], timeout=SILENCE_S)
        assert not done, "nobody can have told it"
        proxy.resume()
        return await waiting

    with (
        conduitstore.open(mortal.dsn, **settings) as there,
        conduitstore.open(mortal.dsn_over(proxy.port), **settings) as here,
    ):
        there.users.create(user, None)
        there.devices.create(user, "D", "token")
        assert asyncio.run(asyncio.wait_for(poll(here, there), 60))
        faults["stalled"] += 1


def test_opening_into_silence_ends(mortal, opened, proxy, faults):
    proxy.stall()
    unavailable(lambda: opened(mortal.dsn_over(proxy.port), **BOUNDS))
    faults["stalled"] += 1


def test_closing_into_silence_ends(mortal, opened, proxy, schema, faults):
    db = in_the_end(lambda: opened(mortal.dsn_over(proxy.port), **BOUNDS))
    in_the_end(lambda: db.insert(b"k", b"v"))
    proxy.stall()
    unavailable(db.close, at_most_s=3 * (SILENCE_S + CONNECT_S))
    faults["stalled"] += 1
    db.close()


def test_what_takes_long_and_says_so_is_no_silence(roomy, monkeypatch):
    """Many statements in one pipeline, each of them quick enough."""
    monkeypatch.setattr(connections, "FLUSHED_FROM", 4)
    with roomy.pool.session() as session:
        slow = [(b"SELECT pg_sleep(0.5)", ())] * 10
        begun = time.monotonic()
        assert len(session.run(slow)) == 10
        assert time.monotonic() - begun > ROOMY_SILENCE_S
        with pytest.raises(UnavailableError):
            session.run([*slow[:1], (b"SELECT pg_sleep(60)", ())])


def test_what_may_take_its_time_does(remote):
    """It asks the server to wait, and waits itself; the next one does not."""

    def take_time():
        with remote.snapshot() as view:
            moment = view.instant()
            moment.take_time()
            moment.rows(b"SELECT pg_sleep(%b)", [2 * SILENCE_S])

    def next_one():
        with remote.snapshot() as view:
            assert view.instant().rows(b"SHOW statement_timeout") == [("300ms",)]
            with pytest.raises(UnavailableError):
                view.instant().rows(b"SELECT pg_sleep(60)")

    in_the_end(take_time)
    in_the_end(next_one)


def test_an_interrupt_amid_the_beginning_of_a_read_is_none_of_a_connection(remote, monkeypatch):
    """Once it was swallowed, and the read begun again on another connection."""

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(silence.BoundedConnection, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            remote.snapshot()
    assert remote.open_tree("t").get(b"k") == b"old"


def test_an_answer_that_came_while_this_process_was_stopped_is_taken(monkeypatch):
    clock = SimpleNamespace(now_s=5.0, monotonic=lambda: clock.now_s)
    monkeypatch.setattr(silence, "time", clock)

    def exchange():
        while not (ready := (yield "asks")):
            pass
        return ready

    bounded = silence.BoundedConnection._bounded(None, exchange(), 1_000)
    assert next(bounded) == "asks"
    clock.now_s += 600  # Between a look in vain and the next line.
    assert bounded.send(0) == "asks"
    with pytest.raises(StopIteration) as end:
        bounded.send("the answer")
    assert end.value.value == "the answer"


def test_silence_is_a_lost_connection():
    assert issubclass(faults.SilentError, UnavailableError)
