"""What one sync tells a client, and what the client asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from conduitstore.parts.rooms.user_counters import Unread
from conduitstore.types import (
    Count,
    JsonObject,
    Receipt,
    RoomChange,
    RoomId,
    StoredEvent,
    TimelineSlice,
    UserId,
)


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """The client's filter, as far as it decides what is read.

    Attributes:
        timeline_limit: newest events of each room at most, 1 or more.
        lazy_members: of members, tell only those whose events are shown, and the user's own.
        full_state: each room's whole state, as if it were new to the client.
        include_left: on a first sync, also rooms left long ago and not forgotten.
    """

    timeline_limit: int = 10
    lazy_members: bool = False
    full_state: bool = False
    include_left: bool = False


@dataclass(frozen=True, slots=True)
class JoinedRoom:
    """What is new in a room the user is in.

    Attributes:
        timeline: the newest events.
        state: what changed between the client's last state and the timeline's first event; all of
            it where the room is new to the client.
        receipts: public receipts that moved.
        private_read: the position of the user's own private marker, where it moved.
        account_data: the user's own, with the count of each.
        unread: all of it now, threads included.
        has_been_read: whether a device of the user read the room meanwhile.
    """

    timeline: TimelineSlice
    state: list[StoredEvent]
    receipts: list[Receipt]
    private_read: Count | None
    account_data: list[tuple[Count, JsonObject]]
    unread: Unread
    has_been_read: bool

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(
            self.timeline.events
            or self.state
            or self.receipts
            or self.private_read is not None
            or self.account_data
            or self.has_been_read
        )


@dataclass(frozen=True, slots=True)
class LeftRoom:
    """The last of a room: its events and state up to where the user left it.

    Attributes:
        events: what was kept with the leaving, at least the event that caused it.
    """

    count: Count
    timeline: TimelineSlice
    state: list[StoredEvent]
    events: list[JsonObject]


@dataclass(frozen=True, slots=True)
class SyncAnswer:
    """Everything a device has to be told of (since, next_batch], read at one instant.

    Attributes:
        next_batch: the token to sync from next.
        joined: rooms with something new.
        invited: invites that came, with the stripped state to show.
        knocked: knocks made.
        left: rooms left.
        to_device: messages to this device; they are kept until acknowledged.
        account_data: the user's own that belongs to no room.
        keys_changed: users whose keys to ask for again, as far as they share an encrypted room or
            are the user; see ``key_changes``.
        one_time_keys: how many are left of this device, by algorithm.
        unused_fallback_algorithms: of this device's fallback keys, those never given out.
    """

    next_batch: Count
    joined: dict[RoomId, JoinedRoom] = field(default_factory=dict)
    invited: list[RoomChange] = field(default_factory=list)
    knocked: list[RoomChange] = field(default_factory=list)
    left: dict[RoomId, LeftRoom] = field(default_factory=dict)
    to_device: list[tuple[Count, JsonObject]] = field(default_factory=list)
    account_data: list[tuple[Count, JsonObject]] = field(default_factory=list)
    keys_changed: set[UserId] = field(default_factory=set)
    one_time_keys: dict[str, int] = field(default_factory=dict)
    unused_fallback_algorithms: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to tell; if not, a long poll goes on waiting."""
        return any(
            (
                self.joined,
                self.invited,
                self.knocked,
                self.left,
                self.to_device,
                self.account_data,
                self.keys_changed,
            )
        )
