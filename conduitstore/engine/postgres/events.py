"""What a commit did, for subscribers, and its bytes in the row of that commit.

The bytes are msgpack: the tree that was dropped, or nil; then for each tree that was written to its
name and a flat list of keys and values, nil for a key that is gone.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import msgpack

from conduitstore.kv import Event, Insert, Remove

if TYPE_CHECKING:
    from .transaction import Transaction

EVENTS_BYTES_MAX = 64 << 20
"""A commit with more is not told to other processes: their subscribers lag."""


class Events(NamedTuple):
    """What one commit did."""

    by_tree: dict[str, list[Event]]
    dropped: str | None


def events_of(tx: Transaction) -> dict[str, list[Event]]:
    """By tree, one event for each key that changed, in the order of first writes.

    Where a key was removed and nobody asked whether it is there, this asks.
    """
    removed: dict[str, list[bytes]] = {}
    for name, key, before, value in tx.writes:
        if not before and (value is None or tx.drafts[name].over.entries[key] is None):
            removed.setdefault(name, []).append(key)
    there = {name: tx.drafts[name].is_there(dict.fromkeys(keys)) for name, keys in removed.items()}
    # The removal of what was not there did nothing, and has no place in the order.
    real = (
        (name, key)
        for name, key, before, value in tx.writes
        if value is not None or (before[0] is not None if before else key in there[name])
    )
    events: dict[str, list[Event]] = {}
    for name, key in dict.fromkeys(real):
        value = tx.drafts[name].over.entries[key]
        if value is not None:
            events.setdefault(name, []).append(Insert(key, value))
        elif key in there.get(name, ()):
            events.setdefault(name, []).append(Remove(key))
    return events


def encode(events: Events) -> bytes | None:
    """The bytes of the row; None where they would be too many."""
    by_tree, dropped = events
    if not by_tree and dropped is None:
        return b""
    size = sum(
        len(event.key) + len(event.value) if isinstance(event, Insert) else len(event.key)
        for event in chain.from_iterable(by_tree.values())
    )
    if size > EVENTS_BYTES_MAX:
        return None
    trees = [
        [name, [*chain.from_iterable((e.key, getattr(e, "value", None)) for e in happened)]]
        for name, happened in by_tree.items()
    ]
    packed: bytes = msgpack.packb([dropped, trees])
    return packed


def decode(payload: bytes) -> Events:
    """What :func:`encode` packed."""
    if not payload:
        return Events({}, None)
    dropped, trees = msgpack.unpackb(payload)
    return Events({name: _events(flat) for name, flat in trees}, dropped)


def _events(flat: list[bytes | None]) -> list[Event]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return [
        Remove(key) if value is None else Insert(key, value)
        for key, value in pairs
        if key is not None
    ]
