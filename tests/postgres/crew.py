"""Writers, readers and listeners at work together, while something breaks."""

import os
import threading
from contextlib import contextmanager, suppress

from ledger import Listener, Reader, Writer
from patience import PATIENCE_SECONDS, eventually

from conduitstore.errors import ConduitStoreError

EFFORT = int(os.environ.get("SERVER_FAULTS", "1"))
"""How many times as much as `make test` does."""


@contextmanager
def at_work(*workers):
    """Threads that do ``until(stop)``; what one of them raises is raised at the end."""
    stop, failed = threading.Event(), []

    def run(worker):
        try:
            worker.until(stop)
        except BaseException as error:  # noqa: BLE001 - told at the end
            failed.append(error)

    threads = [threading.Thread(target=run, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in threads), "a call never returned"
    if failed:
        raise failed[0]


def recovers(db):
    """Wait until a store works again by itself."""

    def works():
        with suppress(ConduitStoreError):
            db.transaction(lambda tx: tx.open_tree("recovered").insert(b"k", b"v"))
            return True
        return False

    eventually(works)


def crew(opened, ledger, **settings):
    """Two stores, as two processes have them; two writers on each, and who looks and listens."""
    one, other = opened(**settings), opened(**settings)
    writers = [
        Writer(one, ledger, "a"),
        Writer(one, ledger, "b", "interval"),
        Writer(other, ledger, "c"),
        Writer(other, ledger, "d", "none"),
    ]
    return one, [*writers, Reader(other, ledger), Listener(one, ledger)]


def finish(db, workers, ledger):
    """Hold the store to everything, and the listener to every commit."""
    recovers(db)
    db.flush()
    ledger.check(db)
    listener = workers[-1]
    with at_work(listener), db.snapshot() as view:
        there = set(map(int.from_bytes, view.open_tree("count_writer").keys()))
        eventually(lambda: listener.lagged_total or there <= set(listener.told))
    with db.snapshot() as view:
        listener.check(view)
    assert workers[-2].reads_total
    assert all(ledger.acknowledged[name] for name in "abcd")


def grows(ledger, by=12):
    """Wait until so much more was acknowledged: whatever failed has recovered."""
    wanted = sum(ledger.acknowledged.values()) + by
    eventually(lambda: ledger.broken or sum(ledger.acknowledged.values()) >= wanted)
    assert ledger.broken == []
