"""Threads, out of the relations to their roots: those have to be right before."""

from __future__ import annotations

from collections.abc import Iterator

from conduitstore.codec.mentions import relation_in
from conduitstore.codec.positions import PDU_ID
from conduitstore.codec.values import pack_ids, unpack_ids
from conduitstore.consistency.rows import found_at, under
from conduitstore.errors import CorruptedError
from conduitstore.kv import Keyspace
from conduitstore.schema import TREES
from conduitstore.types import PlacedEvent

from .derived import Derivation, Item, named_by_value, row_at
from .derived_events import event_at

_USERS = "threadid_userids"
_PDUS = "pduid_pdu"
_RELATION = TREES["tofrom_relation"].key


def _replies(view: Keyspace, root: PlacedEvent, key: bytes) -> Iterator[PlacedEvent]:
    number, position = PDU_ID.cut(key)
    for row in under(view.open_tree("tofrom_relation"), _RELATION, position):
        item = row_at(view, _PDUS, number + _RELATION.cut(row)[1])
        reply = None if item is None else event_at(view, item)
        relation = None if reply is None else relation_in(reply.pdu)
        if reply is not None and relation == ("m.thread", root.event_id):
            yield reply


def _thread(view: Keyspace, item: Item) -> tuple[PlacedEvent, list[PlacedEvent]] | None:
    """A root with its replies as they arrived; None where nobody replied."""
    root = event_at(view, item)
    replies = [] if root is None else list(_replies(view, root, item[0]))
    if root is None or not replies:
        return None
    return root, sorted(replies, key=lambda reply: abs(reply.id.position))


def _participants(view: Keyspace, item: Item) -> list[Item]:
    """As they are listed, where they are the right ones; otherwise in the order they arrived."""
    thread = _thread(view, item)
    if thread is None:
        return []
    root, replies = thread
    users = pack_ids(dict.fromkeys(event.pdu["sender"] for event in (root, *replies)))
    known = found_at(view.open_tree(_USERS), item[0])
    is_right = known is not None and _ids_in(known) == _ids_in(users)
    return [(item[0], known if known is not None and is_right else users)]


def _ids_in(value: bytes) -> list[str] | None:
    try:
        return sorted(unpack_ids(_USERS, value))
    except CorruptedError:
        return None


def _latest(view: Keyspace, item: Item) -> bytes | None:
    """Where the latest reply is."""
    thread = _thread(view, item)
    if thread is None:
        return None
    root, replies = thread
    return PDU_ID.pack(root.id.short_room, max(reply.id.position for reply in replies))


def _latest_position(view: Keyspace, item: Item) -> list[Item]:
    latest = _latest(view, item)
    return [] if latest is None else [(item[0], PDU_ID.cut(latest)[1])]


def _activity(view: Keyspace, item: Item) -> list[Item]:
    latest = _latest(view, item)
    return [] if latest is None else [(latest, item[0])]


def _root(view: Keyspace, item: Item) -> Item | None:
    return row_at(view, _PDUS, item[0])


THREADS = [
    Derivation(_USERS, _PDUS, _participants, _root),
    Derivation("threadrootid_latestcount", _PDUS, _latest_position, _root),
    Derivation("threadactivityid_rootid", _PDUS, _activity, named_by_value(_PDUS)),
]
