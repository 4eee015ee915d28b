"""What a range costs inside a transaction that has written much: only what it visits."""

import gc
import tracemalloc

import pytest
from amid import before_each_row

from conduitstore.engine import embedded
from conduitstore.testing.disk import SimulatedDisk

TOTAL = 20_000


@pytest.fixture
def db():
    with embedded.open("store", files=SimulatedDisk(), flush_every_ms=None) as db:
        yield db


def peak_of(call):
    gc.collect()
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    "ask",
    [
        lambda tx: tx.first(),
        lambda tx: tx.last(),
        lambda tx: tx.get_lt((TOTAL // 2).to_bytes(4)),
        lambda tx: list(tx.range((TOTAL // 2).to_bytes(4), limit=10)),
        lambda tx: list(tx.scan_prefix((7).to_bytes(4))),
        lambda tx: next(tx.range()),
    ],
)
def test_a_range_copies_no_more_than_it_visits(db, ask):
    def run(tx):
        for number in range(TOTAL):
            tx.insert(number.to_bytes(4), b"v")
        assert tx.first() is not None  # Puts them in order, once.
        assert peak_of(lambda: ask(tx)) < 60_000
        tx.insert((TOTAL // 2).to_bytes(4), b"w")
        assert peak_of(lambda: ask(tx)) < 60_000

    db.transaction(run)


@pytest.mark.interpreted("it replaces a method of a class")
def test_an_interrupt_while_they_are_put_in_order_costs_only_time(db, monkeypatch):
    rows = []

    def interrupted():
        rows.append(1)
        if len(rows) == 3:
            raise KeyboardInterrupt

    def run(tx):
        for number in range(200):
            tx.insert(number.to_bytes(4), b"v")
        assert len(list(tx.keys())) == 200
        for number in range(200, 300):
            tx.insert(number.to_bytes(4), b"v")
        before_each_row(monkeypatch, interrupted)
        with pytest.raises(KeyboardInterrupt):
            tx.first()
        monkeypatch.undo()
        assert [int.from_bytes(key) for key in tx.keys()] == list(range(300))  # noqa: SIM118

    db.transaction(run)
