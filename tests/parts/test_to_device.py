"""To-device queues."""

import threading

import pytest

from conduitstore import InvalidArgumentError

A, B = "@a:one.test", "@b:one.test"


def event(number):
    return {"type": "t", "sender": B, "content": {"n": number}}


def queue(store, total, user=A, device="D"):
    return [store.to_device.queue(B, user, device, "t", {"n": n}) for n in range(total)]


def test_messages_come_in_order_once_acknowledged_never(store):
    counts = queue(store, 5)
    upto = store.globals.current_count()
    assert counts == sorted(counts)
    assert store.to_device.events_since(A, "D", 0, upto) == [
        (count, event(n)) for n, count in enumerate(counts)
    ]
    assert store.to_device.forget_until(A, "D", counts[2]) == 3
    assert [count for count, _ in store.to_device.events_since(A, "D", 0, upto)] == counts[3:]
    assert store.to_device.forget_until(A, "D", counts[2]) == 0
    assert store.to_device.forget_until(A, "D", upto) == 2
    assert store.to_device.events_since(A, "D", 0, upto) == []


def test_the_window_is_open_below_and_closed_above(store):
    counts = queue(store, 5)

    def seen(since, upto):
        return [count for count, _ in store.to_device.events_since(A, "D", since, upto)]

    assert seen(counts[0], counts[3]) == counts[1:4]
    assert seen(counts[3], counts[3]) == []
    assert seen(counts[3], counts[0]) == []
    limited = store.to_device.events_since(A, "D", 0, counts[4], limit=2)
    assert [count for count, _ in limited] == counts[:2]
    assert seen(limited[-1][0], counts[4]) == counts[2:]


@pytest.mark.parametrize(
    ("user", "device"), [("@a:one.tests", "D"), ("@a:one.tes", "D"), (A, "DD"), (A, "")]
)
def test_neighbours_are_left_alone(store, user, device):
    counts = queue(store, 2)
    queue(store, 2, user, device)
    upto = store.globals.current_count()
    assert [count for count, _ in store.to_device.events_since(A, "D", 0, upto)] == counts
    assert store.to_device.forget_all(A, "D") == 2
    assert len(store.to_device.events_since(user, device, 0, upto)) == 2


def test_counts_full_of_ff_bytes(store):
    def skip(tx):
        for _ in range(300):
            tx.globals.next_count()

    store.transaction(skip)
    counts = queue(store, 300)
    assert any(b"\xff" in count.to_bytes(8) for count in counts)
    upto = store.globals.current_count()
    assert [count for count, _ in store.to_device.events_since(A, "D", 0, upto)] == counts


def test_fan_out_is_one_commit(store):
    before = store.db.sequence
    messages = {A: {"D1": {"n": 1}, "D2": {"n": 2}}, B: {"D3": {"n": 3}}}
    counts = store.to_device.queue_many(B, "t", messages)
    assert store.db.sequence == before + 1
    upto = store.globals.current_count()
    found = [
        *store.to_device.events_since(A, "D1", 0, upto),
        *store.to_device.events_since(A, "D2", 0, upto),
        *store.to_device.events_since(B, "D3", 0, upto),
    ]
    assert found == [(count, event(n)) for n, count in enumerate(counts, 1)]


@pytest.mark.parametrize(
    "bad",
    [(B, A, "D", 5, {}), (None, A, "D", "t", {}), (B, A, "D", "t", []), (B, "", "D", "t", {})],
)
def test_bad_messages_change_nothing(store, bad, rows):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        store.to_device.queue(*bad)
    with pytest.raises(InvalidArgumentError):
        store.to_device.queue_many(B, "t", {A: {"D": {}, "D2": "no object"}})
    assert rows() == before


def test_a_polling_reader_misses_nothing(store):
    """Writers race; the reader walks (since, current] windows on snapshots, as syncs do."""
    writers_total, each = 3, 40
    start = threading.Barrier(writers_total + 1)

    def write(writer):
        start.wait()
        for n in range(each):
            store.to_device.queue(f"@{writer}:x", A, "D", "t", {"n": n})

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers_total)]
    for thread in threads:
        thread.start()
    start.wait()
    seen, since = [], 0
    while len(seen) < writers_total * each:
        with store.snapshot() as view:
            upto = view.globals.current_count()
            seen += view.to_device.events_since(A, "D", since, upto)
            since = upto
        if not any(thread.is_alive() for thread in threads):
            with store.snapshot() as view:
                upto = view.globals.current_count()
                seen += view.to_device.events_since(A, "D", since, upto)
            break
    for thread in threads:
        thread.join()
    assert [count for count, _ in seen] == sorted({count for count, _ in seen})
    sent = {(event["sender"], event["content"]["n"]) for _, event in seen}
    assert sent == {(f"@{w}:x", n) for w in range(writers_total) for n in range(each)}
