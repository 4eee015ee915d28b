"""Members: totals and servers are what the memberships imply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from conduitstore.kv import Keyspace
from conduitstore.schema import TREES

from .findings import Finding
from .rows import heads, rows, total_at

_BY_ROOM = TREES["roomuserid_joined"].key
_ROOM = TREES["roomid_joinedcount"].key
_SERVER = TREES["roomserverid_joinedcount"].key

MEMBERSHIPS = {
    "userroomid_joined": "roomuserid_joined",
    "userroomid_invitestate": "roomuserid_invitecount",
    "userroomid_knockstate": "roomuserid_knockcount",
    "userroomid_leftstate": "roomuserid_leftcount",
}
"""The trees of each membership, by user and by room."""

TOTALS = {
    "roomid_joinedcount": "roomuserid_joined",
    "roomid_invitedcount": "roomuserid_invitecount",
}
"""Trees of totals, and what each counts."""


def servers_of(view: Keyspace, room: bytes) -> Counter[bytes]:
    """How many of each server are in a room, counted. Memory: an entry for each server."""
    members = rows(view, "roomuserid_joined", _BY_ROOM.join(room))
    return Counter(row["user"].partition(b":")[2] for row in members)


def wrong_totals(view: Keyspace) -> Iterator[Finding]:
    """Totals that differ from a new count, and servers likewise."""
    for totals, counted in TOTALS.items():
        for room in _rooms(view, counted, totals):
            total = sum(1 for _ in rows(view, counted, TREES[counted].key.join(room)))
            yield from _differing(totals, _ROOM.join(room), total_at(view, totals, room), total)
    for room in _rooms(view, "roomuserid_joined", "roomserverid_joinedcount"):
        expected = servers_of(view, room)
        found = {
            row["server"]: int.from_bytes(row["value"])
            for row in rows(view, "roomserverid_joinedcount", _SERVER.join(room))
        }
        for server in sorted(expected.keys() | found.keys()):
            key, total = _SERVER.join(room, server), found.get(server, 0)
            yield from _differing("roomserverid_joinedcount", key, total, expected[server])


def _rooms(view: Keyspace, members: str, totals: str) -> Iterator[bytes]:
    """Rooms with members, then rooms that have nothing but totals."""
    tree, shape = view.open_tree(members), TREES[members].key
    for (room,) in heads(tree, shape):
        yield room
    for (room,) in heads(view.open_tree(totals), TREES[totals].key):
        if next(tree.keys(shape.join(room), limit=1), None) is None:
            yield room


def _differing(tree: str, key: bytes, found: int, expected: int) -> Iterator[Finding]:
    if found != expected:
        yield Finding(tree, key, f"it says {found}, there are {expected}")
