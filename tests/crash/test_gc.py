"""Crash gc, and the deletion of a room, in each of their calls: the next run finishes it.

Between two batches of gc the store is consistent; a room that is half deleted is not.
"""

from effort import EFFORT

from conduitstore.consistency import check
from conduitstore.engine import embedded
from conduitstore.parts.holder import Parts
from conduitstore.testing.crash import explore
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.types import FederationServer
from conduitstore.upkeep import GcOptions, batches, delete_room, gc

SETTINGS = {"leaf_entries_max": 3, "checkpoint_log_bytes": 1_500, "idgen_persist_interval": 4}
A, ROOM = "@a:one.test", "!r:one.test"
OPTIONS = GcOptions(answers_ms=0, backoff_ms=0, young_counts=0, messages_ms=0)


def event(number, **more):
    return {
        "content": {"body": f"message {number}"},
        "origin_server_ts": 1_000 + number,
        "prev_events": [f"${number - 1}"],
        "room_id": ROOM,
        "sender": A,
        "type": "m.room.message",
    } | more


def fill(db):
    def live(tx):
        parts = Parts(tx)
        parts.users.create(A, None)
        for number in range(4):
            fields = {} if number else {"type": "m.room.create", "state_key": ""}
            parts.rooms.append(event(number, **fields), f"${number}", ROOM)
            parts.transaction_ids.record(A, None, f"m{number}", "", 5)
            parts.backoff.record_failure(f"{number}.test", 5)
            parts.rooms.state_compressor.save({("t", str(number)): "$0"})
        place = parts.rooms.timeline.pdu_id("$1")
        parts.sending.queue_pdus([(FederationServer("two.test"), place)])

    db.transaction(live)


def collect(db):
    return gc(db, OPTIONS, now_ms=1 << 43)


def sizes(db):
    return {name: len(db.open_tree(name)) for name in db.tree_names()}


def expected(*steps):
    """Rows by tree, on a store that nothing ever happened to."""
    with embedded.open("store", files=SimulatedDisk()) as db:
        for step in steps:
            step(db)
        return sizes(db)


def violations(db):
    with db.snapshot() as view:
        return list(check(view))


def crash(monkeypatch, last, *, is_always_consistent):
    """Crash ``fill`` and then ``last``; gives how many sizes the store was found with."""
    monkeypatch.setattr(batches, "BATCH_ROWS", 2)
    monkeypatch.setattr("conduitstore.upkeep.messages.EVENTS_AT_ONCE", 2)
    monkeypatch.setattr("conduitstore.upkeep.rooms.BATCH_ROWS", 2)
    after, found = expected(fill, last), set()

    def look(disk, _history):
        with embedded.open("store", files=disk, flush_every_ms=None) as db:
            is_filled = db.open_tree("userid_password").contains_key(A.encode())
            found.add(sum(sizes(db).values()))
            assert not is_always_consistent or violations(db) == []
            last(db)
            assert violations(db) == []
            assert not is_filled or sizes(db) == after

    every = 2 if EFFORT == 1 else 1
    report = explore([fill, last], SETTINGS, check=look, seeds=(1,), every=every)
    assert report.calls_total > 20
    return found


def test_every_call_of_gc(monkeypatch):
    assert len(crash(monkeypatch, collect, is_always_consistent=True)) > 8


def test_every_call_of_deleting_a_room(monkeypatch):
    def delete(db):
        delete_room(db, ROOM)
        collect(db)  # The state before every room, where nothing names it any more.

    assert len(crash(monkeypatch, delete, is_always_consistent=False)) > 8
