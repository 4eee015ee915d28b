"""Derived trees that follow from many rows at once: totals, servers, forward extremities.

Each room, or backup, is one commit. Memory: what one has of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from conduitstore.codec.events import ids_in
from conduitstore.codec.values import EMPTY, pack_u64, unpack_json_object
from conduitstore.consistency.events import event_id_in
from conduitstore.consistency.members import TOTALS, servers_of
from conduitstore.consistency.rows import found_at, heads, row_of, rows, under
from conduitstore.kv import Keyspace, Transaction
from conduitstore.schema import TREES

from .batches import each_row

_BACKUP = TREES["backupid_keystotal"].key
_BACKED_UP = TREES["backupkeyid_backup"].key

Expected = dict[bytes, bytes]
"""The rows that a room, or a backup, should have in a tree."""


def by_head(
    db: Keyspace, tree: str, source: str, expect: Callable[..., Expected], width: int = 1
) -> int:
    """Make a tree right, one after the other of what its first ``width`` fields name.

    Gives how many rows were not.
    """
    shapeless = each_row(db, tree, partial(drop_shapeless, tree))
    named = db.transaction(partial(_heads, names=(source, tree), width=width), read_only=True)
    return shapeless + sum(db.transaction(partial(_mend, tree, expect, head)) for head in named)


def drop_shapeless(tree: str, tx: Transaction, key: bytes, value: bytes) -> int:
    """Remove a row that has not its tree's shape."""
    if row_of(TREES[tree], key, value) is not None:
        return 0
    tx.open_tree(tree).remove(key)
    return 1


def _heads(view: Keyspace, names: tuple[str, ...], width: int) -> list[tuple[bytes, ...]]:
    return sorted(
        {head for name in names for head in heads(view.open_tree(name), TREES[name].key, width)}
    )


def _mend(
    tree: str, expect: Callable[..., Expected], head: tuple[bytes, ...], tx: Transaction
) -> int:
    target = tx.open_tree(tree)
    expected, found = expect(tx, *head), under(target, TREES[tree].key, *head)
    for key in found.keys() - expected.keys():
        target.remove(key)
    wrong = {key: value for key, value in expected.items() if found.get(key) != value}
    for key, value in wrong.items():
        target.insert(key, value)
    return len(found.keys() - expected.keys()) + len(wrong)


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
    """Events of a room with a state that no other names as previous, nor one that is gone did.

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
            named.update(event.encode(errors="replace") for event in ids_in(pdu, "prev_events"))
    shape = TREES["roomid_pduleaves"].key
    last = [event for event in events[True] or events[False] if event not in named]
    referenced = view.open_tree("referencedevents")
    ends = [event for event in last if shape.join(room, event) not in referenced]
    return {shape.join(room, event): event for event in ends or last}


def backup_totals(view: Keyspace, user: bytes, version: bytes) -> Expected:
    """How many keys a backup holds; no row for one that is gone."""
    key = _BACKUP.join(user, version)
    if not view.open_tree("backupid_algorithm").contains_key(key):
        return {}
    keys = rows(view, "backupkeyid_backup", _BACKED_UP.join(user, version))
    return {key: pack_u64(sum(1 for _ in keys))}
