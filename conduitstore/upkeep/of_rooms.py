"""Derived trees that follow from all rows of a room: totals, servers, forward extremities.

Each room is one commit. Memory: what one room has of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from conduitstore.codec.events import previous_events
from conduitstore.codec.values import EMPTY, pack_u64, unpack_json_object
from conduitstore.consistency.events import event_id_in
from conduitstore.consistency.members import TOTALS, servers_of
from conduitstore.consistency.rows import found_at, heads, row_of, rows
from conduitstore.kv import Keyspace, Transaction
from conduitstore.schema import TREES

from .batches import each_row

Expected = dict[bytes, bytes]
"""The rows that a room should have in a tree."""


def by_room(db: Keyspace, tree: str, source: str, expect: Callable[..., Expected]) -> int:
    """Make a tree right, room by room; gives how many rows were not."""
    shapeless = each_row(db, tree, partial(_drop_shapeless, tree))
    rooms = db.transaction(partial(_rooms, tree=tree, source=source), read_only=True)
    return shapeless + sum(db.transaction(partial(_mend, tree, expect, room)) for room in rooms)


def _drop_shapeless(tree: str, tx: Transaction, key: bytes, value: bytes) -> int:
    if row_of(TREES[tree], key, value) is not None:
        return 0
    tx.open_tree(tree).remove(key)
    return 1


def _rooms(view: Keyspace, tree: str, source: str) -> list[bytes]:
    names = (source, tree)
    return sorted({r for name in names for (r,) in heads(view.open_tree(name), TREES[name].key)})


def _mend(tree: str, expect: Callable[..., Expected], room: bytes, tx: Transaction) -> int:
    target, shape = tx.open_tree(tree), TREES[tree].key
    expected = expect(tx, room)
    found = dict(iter(target.scan_prefix(shape.join(room))))
    wrong = 0
    for key in found.keys() - expected.keys():
        wrong += target.remove(key) is not None
    for key, value in expected.items():
        if found.get(key) != value:
            target.insert(key, value)
            wrong += 1
    return wrong


def totals(tree: str) -> Callable[..., Expected]:
    """How many there are, or no row where there is nobody."""
    counted = TOTALS[tree]

    def expect(view: Keyspace, room: bytes) -> Expected:
        total = sum(1 for _ in rows(view, counted, TREES[counted].key.join(room)))
        return {room: pack_u64(total)} if total else {}

    return expect


def server_totals(view: Keyspace, room: bytes) -> Expected:
    """How many of each server are in the room."""
    shape = TREES["roomserverid_joinedcount"].key
    counted = servers_of(view, room).items()
    return {shape.join(room, server): pack_u64(total) for server, total in counted}


def servers(view: Keyspace, room: bytes) -> Expected:
    """The servers with someone in the room."""
    shape = TREES["roomserverids"].key
    return {shape.join(room, server): EMPTY for server in servers_of(view, room)}


def extremities(view: Keyspace, room: bytes) -> Expected:
    """Events of a room with a state that no other names as previous.

    Backfilled ones are behind a gap, unless there is nothing else. Memory: the room's event ids.
    """
    if not view.open_tree("roomid_shortstatehash").contains_key(room):
        return {}
    number = found_at(view.open_tree("roomid_shortroomid"), room)
    events: dict[bool, list[bytes]] = {True: [], False: []}
    named: set[bytes] = set()
    for row in rows(view, "pduid_pdu", number) if number else ():
        event_id = event_id_in(row["value"])
        if event_id is not None:
            events[len(row["position"]) == 8].append(event_id)
            pdu = unpack_json_object("pduid_pdu", row["value"])
            named.update(event.encode(errors="replace") for event in previous_events(pdu))
    shape = TREES["roomid_pduleaves"].key
    last = [event for event in events[True] or events[False] if event not in named]
    return {shape.join(room, event): event for event in last}
