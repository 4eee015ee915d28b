"""Rooms as wholes: a state that the members follow, and events for the next one to follow."""

from __future__ import annotations

from collections.abc import Iterator

from conduitstore.codec.positions import PDU_ID
from conduitstore.codec.values import unpack_json_object
from conduitstore.errors import CorruptedError
from conduitstore.kv import Keyspace
from conduitstore.schema import TREES

from .findings import Finding
from .rows import found_at, heads, rows
from .state import entries_of

_ROOM = TREES["roomid_shortstatehash"].key
_HISTORY = TREES["roomcount_shortstatehash"].key
_LEAF = TREES["roomid_pduleaves"].key
_MEMBER = TREES["roomuserid_joined"].key
_MEMBER_KEY = TREES["statekey_shortstatekey"].key.prefix("m.room.member")
_WORD = 8


def unfinished(view: Keyspace) -> Iterator[Finding]:
    """Rooms that have some of events, a state and extremities, and not all.

    Cost: some seeks for each room and extremity.
    """
    current, leaves = view.open_tree("roomid_shortstatehash"), view.open_tree("roomid_pduleaves")
    for row in rows(view, "roomid_shortstatehash"):
        if next(leaves.keys(_LEAF.join(row["room"]), limit=1), None) is None:
            yield Finding("roomid_shortstatehash", row["key"], "the room has no extremities")
    for (room,) in heads(leaves, _LEAF):
        if not current.contains_key(_ROOM.join(room)):
            yield Finding("roomid_pduleaves", _LEAF.join(room), "the room has no state")
    rooms = view.open_tree("shortroomid_room")
    for (number,) in heads(view.open_tree("pduid_pdu"), PDU_ID):
        has_room = rooms.get(number)
        if has_room is not None and not current.contains_key(_ROOM.join(has_room)):
            yield Finding("pduid_pdu", PDU_ID.join(number), "the room has events and no state")


def outdated(view: Keyspace) -> Iterator[Finding]:
    """Rooms with another state than their newest."""
    current, rooms = view.open_tree("roomid_shortstatehash"), view.open_tree("shortroomid_room")
    history = view.open_tree("roomcount_shortstatehash")
    for (number,) in heads(history, _HISTORY):
        newest = next(history.scan_prefix(_HISTORY.join(number), reverse=True, limit=1))
        room = rooms.get(number)
        if room and current.get(_ROOM.join(room)) != newest[1]:
            text = "the room's newest state, and not its current one"
            yield Finding("roomcount_shortstatehash", newest[0], text)


def misplaced_extremities(view: Keyspace) -> Iterator[Finding]:
    """Extremities that are no events of their room's timeline."""
    places, numbers = view.open_tree("eventid_pduid"), view.open_tree("roomid_shortroomid")
    for row in rows(view, "roomid_pduleaves"):
        place, number = found_at(places, row["event"]), numbers.get(row["room"])
        if number is not None and (place is None or not place.startswith(number)):
            text = "no event of the room's timeline"
            yield Finding("roomid_pduleaves", row["key"], text)


def disagreeing(view: Keyspace) -> Iterator[Finding]:
    """Who is joined and not by the room's state, or by the state and not joined.

    Memory: one room's state and members.
    """
    for row in rows(view, "roomid_shortstatehash"):
        entries = entries_of(view, row["value"])
        if entries is None:
            continue
        by_state = {user for entry in entries if (user := _joined_user(view, entry))}
        members = rows(view, "roomuserid_joined", _MEMBER.join(row["room"]))
        joined = {member["user"] for member in members}
        for user in sorted(by_state ^ joined):
            what = "in the state, no member" if user in by_state else "a member, not in the state"
            yield Finding("roomuserid_joined", _MEMBER.join(row["room"], user), what)


def _joined_user(view: Keyspace, entry: bytes) -> bytes | None:
    state_key = view.open_tree("shortstatekey_statekey").get(entry[:_WORD])
    if state_key is None or not state_key.startswith(_MEMBER_KEY):
        return None
    return state_key[len(_MEMBER_KEY) :] if _is_join(view, entry[_WORD:]) else None


def _is_join(view: Keyspace, short_event: bytes) -> bool:
    value = event_of(view, view.open_tree("shorteventid_eventid").get(short_event))
    if value is None:
        return False
    try:
        content = unpack_json_object("pduid_pdu", value, "content")["content"]
    except CorruptedError:
        return False
    return isinstance(content, dict) and content.get("membership") == "join"


def event_of(view: Keyspace, event_id: bytes | None) -> bytes | None:
    """An event by its id as keys have it, in a timeline or beside."""
    pdu_id = found_at(view.open_tree("eventid_pduid"), event_id)
    if pdu_id is not None:
        return found_at(view.open_tree("pduid_pdu"), pdu_id)
    return found_at(view.open_tree("eventid_outlierpdu"), event_id)
