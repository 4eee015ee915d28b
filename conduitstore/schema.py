"""Every tree once: what its keys and values look like, who owns it, and what it means.

Names and layouts are Conduit's, so that its readers feel at home; a tree of our own says so. Parts
take their key shapes from here, the inspector decodes with them, and a tree that appears in no part
appears in no release. Names that existed once stay as tombstones: a directory that still has one
is explained, and nobody gives the name a second meaning.

A value is one of the words in ``VALUE_KINDS``, or a key shape of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conduitstore.codec.keys import KeyShape
from conduitstore.codec.positions import PDU_ID
from conduitstore.codec.values import unpack_json, unpack_text, unpack_u64
from conduitstore.errors import CorruptedError, InvalidArgumentError


def _unpack_empty(tree: str, value: bytes) -> str:
    if value:
        raise CorruptedError(tree, 0, f"a set member has no value, this one has {value!r}")
    return ""


def _unpack_global(tree: str, value: bytes) -> int | str:
    return unpack_u64(tree, value) if len(value) == 8 else unpack_text(tree, value)


VALUE_KINDS: dict[str, Callable[[str, bytes], Any]] = {
    "empty": _unpack_empty,
    "u64": unpack_u64,
    "text": unpack_text,
    "json": unpack_json,
    "pdu": unpack_json,  # Written as canonical JSON.
    "u64 or text": _unpack_global,
}


@dataclass(frozen=True, slots=True)
class TreeSchema:
    """One tree.

    Attributes:
        value: the notation of the value, for people.
        owner: the part that opens it; no other does.
        room_scoped: whether each row belongs to one room and goes when the room is purged.
        value_shape: set where the value is built like a key.
    """

    name: str
    key: KeyShape
    value: str
    owner: str
    meaning: str
    room_scoped: bool
    value_shape: KeyShape | None


def _tree(name: str, key: str, value: str, owner: str, meaning: str) -> TreeSchema:
    fields = KeyShape(name, key)
    shape = None if value in VALUE_KINDS else KeyShape(name, value)
    room_scoped = not {"room", "short_room"}.isdisjoint(fields.fields)
    return TreeSchema(name, fields, value, owner, meaning, room_scoped, shape)


_DEVICE = "user ff device:any"
_ACCOUNT_DATA = "room:text ff user ff count:u64 ff type:any"

_ALL = [
    _tree("global", "name", "u64 or text", "globals",
          "single rows: c = newest count, version = schema version, lineage = whose schema"),

    _tree("userid_password", "user", "text", "users",
          "the accounts; password hash, empty = nobody can log in"),
    _tree("userid_displayname", "user", "text", "users", "display names"),
    _tree("userid_avatarurl", "user", "text", "users", "avatars as mxc:// addresses"),
    _tree("userid_blurhash", "user", "text", "users", "what shows while the avatar loads"),

    _tree("userdeviceid_metadata", _DEVICE, "json", "devices", "the devices, as users see them"),
    _tree("userdeviceid_token", _DEVICE, "text", "devices", "the access token of a device"),
    _tree("token_userdeviceid", "token:any", _DEVICE, "devices", "whose access token it is"),
    _tree("userid_devicelistversion", "user", "u64", "devices",
          "goes up with each change of a user's devices"),

    _tree("todeviceid_events", f"{_DEVICE} ff count:u64", "json", "to_device",
          "messages waiting for a device: type, sender, content"),

    _tree("roomuserdataid_accountdata", _ACCOUNT_DATA, "json", "account_data",
          "account data by count; no room = global"),
    _tree("roomusertype_roomuserdataid", "room:text ff user ff type:any", _ACCOUNT_DATA,
          "account_data", "where the live row of a type is"),

    _tree("roomid_shortroomid", "room", "u64", "short", "a room's number"),
    _tree("eventid_shorteventid", "event", "u64", "short", "an event's number"),
    _tree("shorteventid_eventid", "short_event:u64", "text", "short", "and back"),
    _tree("statekey_shortstatekey", "type:text ff state_key:text", "u64", "short",
          "the number of an event type with a state key"),
    _tree("shortstatekey_statekey", "short_state_key:u64", "type:text ff state_key:text", "short",
          "and back"),

    _tree("pduid_pdu", PDU_ID.notation, "pdu", "timeline",
          "events by room and position; negative positions are backfilled"),
    _tree("eventid_pduid", "event", PDU_ID.notation, "timeline",
          "where in the timeline an event is"),
    _tree("eventid_outlierpdu", "event", "pdu", "timeline",
          "events known but in no timeline: needed for state or authorisation only"),

    _tree("userroomid_joined", "user ff room", "u64", "members",
          "rooms a user is in, and the count of the join"),
    _tree("roomuserid_joined", "room ff user", "u64", "members", "the same by room"),
    _tree("userroomid_invitestate", "user ff room", "json", "members",
          "open invites, with the stripped state shown to the user"),
    _tree("roomuserid_invitecount", "room ff user", "u64", "members", "when each invite came"),
    _tree("userroomid_knockstate", "user ff room", "json", "members",
          "open knocks, with the stripped state shown to the user"),
    _tree("roomuserid_knockcount", "room ff user", "u64", "members", "when each knock was made"),
    _tree("userroomid_leftstate", "user ff room", "json", "members",
          "rooms left and not forgotten, with the events that show why"),
    _tree("roomuserid_leftcount", "room ff user", "u64", "members", "when each was left"),
    _tree("roomuseroncejoinedids", "room ff user", "empty", "members",
          "who was ever in a room; here room first, as the name says"),
    _tree("roomid_joinedcount", "room", "u64", "members", "how many are in the room"),
    _tree("roomid_invitedcount", "room", "u64", "members", "how many invites are open"),
    _tree("roomserverids", "room ff server", "empty", "members", "servers with someone in a room"),
    _tree("serverroomids", "server ff room", "empty", "members", "the same by server"),
    _tree("roomserverid_joinedcount", "room ff server", "u64", "members",
          "how many of a server are in a room; ours, so that a leave scans no members"),

    _tree("readreceiptid_readreceipt", "room ff count:u64 ff user", "json", "receipts",
          "public read receipts by count, one per user and room"),
    _tree("roomuserid_readreceiptcount", "room ff user", "u64", "receipts",
          "the count of a user's receipt; ours, so that the old one is a point read"),
    _tree("roomuserid_privateread", "room ff user", "u64", "receipts",
          "the count of the event a user read up to, unseen by others"),
    _tree("roomuserid_lastprivatereadupdate", "room ff user", "u64", "receipts",
          "when that marker moved"),
]  # fmt: skip

TREES: dict[str, TreeSchema] = {tree.name: tree for tree in _ALL}
assert len(TREES) == len(_ALL)

# What became of the names that Conduit's databases once had, by reason.
_TOMBSTONES = {
    "users, their profiles, devices and tokens moved to trees of other names":
        "users username_password profile_displayname profile_avatar_url userid_avatar_url "
        "userid_deviceids userdeviceid userdeviceids deviceid_token token_userid "
        "userdeviceid_devicekeys devicekeychangeid_userid userid_presenceupdate "
        "backupkeyid_backupmetadata servertimeout_signingkey",
    "interactive authentication no longer keeps requests, which held passwords":
        "userdeviceid_uiaainfo userdevicesessionid_uiaarequest",
    "membership moved to userroomid_ and roomuserid_ trees":
        "roomid_userids userid_roomids roomid_joinuserids userid_joinroomids roomid_inviteuserids "
        "userid_inviteroomids userid_leftroomids userroomid_invited roomuserid_invited "
        "userroomid_left",
    "events are kept by PduId, outliers by event id":
        "roomid_eventid_event pduid_pdus pduid_outlierpdu roomeventid_outlierpdu "
        "roomeventid_outlierpducount pduid_backfillpdu eventid_backfillpduid prevevent_parent "
        "fromto_relation",
    "room state is kept as differences between numbered states":
        "roomstateid_pdu roomstateid_pduid stateid_pduid pduid_statehash roomid_statehash "
        "eventid_shortstatehash statekey_short shortroomid_roomid stateid_shorteventid",
    "receipts moved, typing lives in memory":
        "globalallid_globalall globallatestid_globallatest roomlatestid_roomlatest "
        "timeofremoval_roomrelevants roomactiveid_roomactive roomactiveid_userid "
        "roomid_lastroomactiveupdate typingid_userid roomid_lasttypingupdate roomuserid_lastread "
        "roomid_lastprivatereadupdate roomuserid_presence roomuserid_presenceevent",
    "outgoing queues hold events of every kind now":
        "serverpduids servernamepduids servercurrentpdus servercurrentevents "
        "server_currenttransaction",
    "grew with every sync; the state at a token is read from the timeline instead":
        "roomsynctoken_shortstatehash",
    "media are found by the hash of their content":
        "mediaid_file",
}  # fmt: skip

RETIRED: dict[str, str] = {
    name: reason for reason, names in _TOMBSTONES.items() for name in names.split()
}
"""Tree names without a use, and why: left alone where they are met."""


def tree_schema(name: str) -> TreeSchema:
    """The schema of a tree.

    Raises:
        InvalidArgumentError: no part has this tree; of a retired one, says what became of it.
    """
    found = TREES.get(name)
    if found is None:
        raise InvalidArgumentError(f"no such tree: {name} ({RETIRED.get(name, 'never heard of')})")
    return found


def decode_key(tree: str, key: bytes) -> dict[str, Any]:
    """A key's fields by name, for display."""
    shape = tree_schema(tree).key
    return dict(zip(shape.fields, shape.unpack(key), strict=True))


def decode_value(tree: str, value: bytes) -> Any:
    """A value for display: a number, text, JSON, or fields by name."""
    schema = tree_schema(tree)
    if schema.value_shape is None:
        return VALUE_KINDS[schema.value](tree, value)
    shape = schema.value_shape
    return dict(zip(shape.fields, shape.unpack(value), strict=True))
