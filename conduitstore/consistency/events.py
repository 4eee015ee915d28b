"""Timelines: found by event id, and of rooms that there are."""

from __future__ import annotations

from collections.abc import Iterator

from conduitstore.codec.values import unpack_json_object
from conduitstore.errors import ConduitStoreError
from conduitstore.kv import Keyspace
from conduitstore.schema import TREES

from .findings import Finding
from .rows import heads, rows

_EVENT = TREES["eventid_pduid"].key


def event_id_in(value: bytes) -> bytes | None:
    """The id an event holds, as keys have it; None where it holds none that can be."""
    try:
        return _EVENT.pack(unpack_json_object("pduid_pdu", value, "event_id")["event_id"])
    except ConduitStoreError:
        return None


def not_indexed(view: Keyspace) -> Iterator[Finding]:
    """Ids that lead to another event or none, events that no id leads to, events twice."""
    pdus, pdu_ids = view.open_tree("pduid_pdu"), view.open_tree("eventid_pduid")
    outliers = view.open_tree("eventid_outlierpdu")
    for row in rows(view, "eventid_pduid"):
        key, stored = row["key"], pdus.get(row["value"])
        if stored is None:
            yield Finding("eventid_pduid", key, f"no event is at {row['value']!r}")
        elif event_id_in(stored) != key:
            yield Finding("eventid_pduid", key, f"another event is at {row['value']!r}")
        if outliers.contains_key(key):
            yield Finding("eventid_outlierpdu", key, "the event is in a timeline")
    for row in rows(view, "pduid_pdu"):
        event_id = event_id_in(row["value"])
        # What another row's id leads to was reported above.
        if event_id is None or not pdu_ids.contains_key(event_id):
            yield Finding("pduid_pdu", row["key"], f"eventid_pduid does not have {event_id!r}")
        elif pdu_ids.get(event_id) != row["key"]:
            yield Finding("pduid_pdu", row["key"], f"{event_id!r} is elsewhere too")


def of_no_room(view: Keyspace) -> Iterator[Finding]:
    """Numbers in keys that are no room's. Cost: a seek or two for each room and tree."""
    rooms = view.open_tree("shortroomid_room")
    for name, tree in TREES.items():
        if tree.key.fields[0] != "short_room" or name == "shortroomid_room":
            continue
        for (number,) in heads(view.open_tree(name), tree.key):
            if not rooms.contains_key(number):
                yield Finding(name, tree.key.join(number), "no room has this number")
