"""The public names as a user writes them. Type checkers read this file; nothing runs it.

Each ``assert_type`` is a promise: an id of one kind is no id of another, absence is ``None``, and
what a transaction returns is what its function returned. Each ``type: ignore`` below is a mistake
the checker must catch; where it no longer does, the comment is unused, and that is an error.
"""

from __future__ import annotations

from typing import assert_type

import conduitstore
from conduitstore import engine, kv
from conduitstore.types import (
    Count,
    DeviceId,
    EventId,
    JsonObject,
    PduCount,
    PduToken,
    RoomId,
    StoredEvent,
    UserId,
)

USER, DEVICE = UserId("@a:example.org"), DeviceId("PHONE")
ROOM, EVENT = RoomId("!r:example.org"), EventId("$e")


def send(tx: conduitstore.Parts) -> PduCount:
    """Several parts, one commit."""
    tx.to_device.queue(USER, USER, DEVICE, "m.test", {})
    return tx.rooms.timeline.append({}, EVENT, ROOM)


def parts(store: conduitstore.Store) -> None:
    """Parts on the store, in a transaction and on a snapshot."""
    assert_type(store.transaction(send), PduCount)
    assert_type(store.users.all(), list[UserId])
    assert_type(store.devices.find_from_token, object)  # type: ignore[assert-type]
    with store.snapshot() as view:
        assert_type(view, conduitstore.View)
        events, token = view.rooms.timeline.page(ROOM, None, "b", 10)
        assert_type(events, list[StoredEvent])
        assert_type(token, PduToken | None)
        messages = view.to_device.events_since(USER, DEVICE, Count(0), view.globals.current_count())
        assert_type(messages, list[tuple[Count, JsonObject]])


async def on_a_loop(store: conduitstore.Store) -> None:
    """The same, off the event loop."""
    assert_type(await store.run(send), PduCount)
    assert_type(await store.read(lambda view: view.users.all()), list[UserId])
    await store.changes.wait(USER, DEVICE, Count(0), timeout_ms=30_000)


def mistakes(store: conduitstore.Store) -> None:
    """Ids of the wrong kind."""
    store.rooms.members.mark_joined(ROOM, USER)  # type: ignore[arg-type]
    store.to_device.forget_until(USER, DEVICE, 5)  # type: ignore[arg-type]
    store.rooms.timeline.page(ROOM, None, "up", 10)  # type: ignore[arg-type]
    store.rooms.timeline.position(EVENT) + 1  # type: ignore[operator]


def engines() -> None:
    """Bytes in, bytes out, on any engine."""
    with engine.open(":memory:") as db:
        assert_type(db, kv.Database)
        tree = db.open_tree("key_value")
        assert_type(tree.get(b"key"), bytes | None)
        lost = tree.compare_and_swap(b"key", None, b"value")
        assert_type(lost, kv.CompareAndSwapFailure | None)
        for key, value in tree.scan_prefix(b"k", reverse=True, limit=10):
            assert_type((key, value), tuple[bytes, bytes])
        assert_type(tree.ranges([(b"k", None)], limit=1), list[list[tuple[bytes, bytes]]])
        assert_type(db.transaction(lambda tx: tx.next_count()), int)
        db.apply_batch(engine.Batch().insert(tree, b"key", b"value").remove("other_tree", b"key"))
        tree.get("key")  # type: ignore[arg-type]
