"""Matrix and storage ids as distinct types, and the records that parts hand out.

A ``NewType`` costs nothing at run time and keeps a short room id from posing as a count. Ids are
text as Matrix writes them, sigil included; the caller has validated them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NewType

JsonObject = dict[str, Any]
"""A JSON object as ``json.loads`` gives it. Its values are unknown until somebody looks."""

UserId = NewType("UserId", str)
DeviceId = NewType("DeviceId", str)
RoomId = NewType("RoomId", str)
EventId = NewType("EventId", str)
ServerName = NewType("ServerName", str)
AccessToken = NewType("AccessToken", str)
PublicKey = NewType("PublicKey", str)
"""Ed25519, unpadded base64: 43 characters. The id of a cross-signing key."""
BackupVersion = NewType("BackupVersion", str)
"""Of a key backup: a count as decimal text."""
Etag = NewType("Etag", str)
SessionId = NewType("SessionId", str)
FilterId = NewType("FilterId", str)
LoginToken = NewType("LoginToken", str)
OpenIdToken = NewType("OpenIdToken", str)
RefreshToken = NewType("RefreshToken", str)
AppserviceId = NewType("AppserviceId", str)
MediaId = NewType("MediaId", str)

FileHash = NewType("FileHash", str)
"""The SHA-256 of a file's bytes as 64 lower-case hexadecimal digits: the file's name."""
RoomAlias = NewType("RoomAlias", str)
ThreadId = NewType("ThreadId", str)
"""The event id of a thread's root, or ``"main"`` for what is in no thread."""

Count = NewType("Count", int)
"""A value of the one global counter: the since token. 0 is before everything."""

PduCount = NewType("PduCount", int)
"""A place in a room's timeline: ``n`` is Normal(n), ``-n`` is Backfilled(n).

So the order of the numbers is the order of the events, and ``str`` of it is the token's text.
"""

PduToken = NewType("PduToken", str)
"""A :data:`PduCount` as a client sees it: ``"42"`` or ``"-42"``."""

ShortRoomId = NewType("ShortRoomId", int)
ShortEventId = NewType("ShortEventId", int)
ShortStateKey = NewType("ShortStateKey", int)
ShortStateHash = NewType("ShortStateHash", int)
"""The number of one complete room state."""

StateEntry = NewType("StateEntry", bytes)
"""One event's place in a room state, 16 bytes: short state key, short event id."""

StateKey = tuple[str, str]
"""An event type and a state key: what a room state has one event for."""


class PduId(NamedTuple):
    """An event's key in the timeline: its room's number and its place there."""

    short_room: ShortRoomId
    position: PduCount


class PlacedEvent(NamedTuple):
    """An event and its place: what the indexes over the timeline are made of."""

    room: RoomId
    id: PduId
    event_id: EventId
    pdu: JsonObject


class Mxc(NamedTuple):
    """The address of a piece of media; ``str`` of it is the ``mxc://`` URI."""

    server: ServerName
    media_id: MediaId

    def __str__(self) -> str:
        return f"mxc://{self.server}/{self.media_id}"


@dataclass(frozen=True, slots=True)
class Appservice:
    """An outgoing queue's destination: an application service."""

    id: AppserviceId


@dataclass(frozen=True, slots=True)
class PushGateway:
    """An outgoing queue's destination: the gateway of one of a user's pushers."""

    user: UserId
    pushkey: str


@dataclass(frozen=True, slots=True)
class FederationServer:
    """An outgoing queue's destination: another homeserver."""

    name: ServerName


Destination = Appservice | PushGateway | FederationServer

Direction = Literal["b", "f"]
"""As in the client API: backwards (newest first) or forwards (oldest first)."""

Membership = Literal["join", "invite", "knock", "leave"]


class StoredEvent(NamedTuple):
    """An event as the store holds it.

    Attributes:
        position: its place in the timeline; None for an outlier.
        event_id: also found in ``pdu["event_id"]``, in every room version.
        pdu: the event; for federation and hashing, versions 3 and later leave ``event_id`` out.
    """

    position: PduCount | None
    event_id: EventId
    pdu: JsonObject

    def seen_by(self, user: UserId, now_ms: int) -> JsonObject:
        """The event as a client is shown it: with its age; the transaction id is its sender's own.

        ``now_ms`` is Unix milliseconds. An event that says it is from later is of age 0.
        """
        noted = self.pdu.get("unsigned")
        unsigned = dict(noted) if isinstance(noted, dict) else {}
        if self.pdu["sender"] != user:
            unsigned.pop("transaction_id", None)
        unsigned["age"] = max(now_ms - self.pdu["origin_server_ts"], 0)
        return self.pdu | {"unsigned": unsigned}


@dataclass(frozen=True, slots=True)
class TimelineSlice:
    """The newest events of a room since a token, oldest first.

    Attributes:
        events: at most as many as were asked for.
        limited: whether older ones since the token were left out.
    """

    events: list[StoredEvent]
    limited: bool


@dataclass(frozen=True, slots=True)
class RoomChange:
    """A room that a user was invited to, knocked on or left.

    Attributes:
        count: when.
        events: the stripped state stored with it; of a left room, the leave event if it was given.
    """

    room: RoomId
    count: Count
    events: list[JsonObject]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The read receipt of one user in a room; ``event`` has no ``room_id``."""

    user: UserId
    count: Count
    event: JsonObject
