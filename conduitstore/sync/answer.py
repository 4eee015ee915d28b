"""What one sync tells a client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from conduitstore.codec.positions import token_of
from conduitstore.parts.presence import PresenceChange
from conduitstore.parts.rooms.receipts import PrivateRead
from conduitstore.parts.rooms.user_counters import RoomUnread
from conduitstore.types import (
    Count,
    JsonObject,
    PduCount,
    PduToken,
    Receipt,
    RoomChange,
    RoomId,
    StoredEvent,
    TimelineSlice,
    UserId,
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a client calls a room by, and how many are in it.

    Attributes:
        heroes: whom to name the room after; None where it has a name or an alias of its own.
    """

    joined_total: int
    invited_total: int
    heroes: list[UserId] | None


class JoinedRoom(NamedTuple):
    """What is new in a room the user is in.

    Attributes:
        is_new: whether the user came to the room meanwhile, so that the client is told all of it.
        timeline: the newest events.
        state: what changed besides the timeline's own events since the client's last state, and
            what they changed meanwhile; all of it where the room is new to the client.
        summary: None where nothing in it changed.
        receipts: public receipts that moved.
        private_reads: the user's own private markers that moved.
        account_data: the user's own, with the count of each.
        unread: all of it now, by thread; ``unread.total`` for clients that know none.
        has_been_read: whether a device of the user read the room meanwhile.
        typing: who types now; None where that is as it was.
        shown_members: whose member events the answer has, for :func:`conduitstore.sync.witness`.
    """

    is_new: bool
    timeline: TimelineSlice
    state: list[StoredEvent]
    summary: Summary | None
    receipts: list[Receipt]
    private_reads: list[PrivateRead]
    account_data: list[tuple[Count, JsonObject]]
    unread: RoomUnread
    has_been_read: bool
    typing: list[UserId] | None
    shown_members: list[UserId]

    @property
    def prev_batch(self) -> PduToken | None:
        """Where paging back goes on, see :mod:`conduitstore.sync.messages`; None: no event."""
        return _prev_batch(self.timeline)


@dataclass(frozen=True, slots=True)
class LeftRoom:
    """The last of a room: its events and state up to where the user left it.

    Attributes:
        count: when.
        timeline: of one who never was in the room, nothing but the event that ended it.
        events: what was kept with the leaving, at least the event that caused it.
        account_data: the user's own, with the count of each.
    """

    count: Count
    timeline: TimelineSlice
    state: list[StoredEvent]
    events: list[JsonObject]
    account_data: list[tuple[Count, JsonObject]]

    @property
    def prev_batch(self) -> PduToken | None:
        """Where paging back goes on, see :mod:`conduitstore.sync.messages`; None: no event."""
        return _prev_batch(self.timeline)


def _prev_batch(timeline: TimelineSlice) -> PduToken | None:
    position = timeline.events[0].position if timeline.events else None
    return None if position is None else token_of(PduCount(position - 1))


@dataclass(frozen=True, slots=True)
class DeviceLists:
    """Whose devices to ask for again, and whose to forget.

    Attributes:
        changed: users with new keys, or who share an encrypted room only now; the user's own too.
        left: users with whom no encrypted room is shared any more.
    """

    changed: set[UserId] = field(default_factory=set)
    left: set[UserId] = field(default_factory=set)

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.changed or self.left)


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
        presence: of users who share a room with this one.
        device_lists: for encrypted rooms.
        one_time_keys: how many are left of this device, by algorithm.
        unused_fallback_algorithms: of this device's fallback keys, those never given out.
        keys_were_used: whether a device of the user got or lost such keys meanwhile.
    """

    next_batch: Count
    joined: dict[RoomId, JoinedRoom] = field(default_factory=dict)
    invited: list[RoomChange] = field(default_factory=list)
    knocked: list[RoomChange] = field(default_factory=list)
    left: dict[RoomId, LeftRoom] = field(default_factory=dict)
    to_device: list[tuple[Count, JsonObject]] = field(default_factory=list)
    account_data: list[tuple[Count, JsonObject]] = field(default_factory=list)
    presence: list[PresenceChange] = field(default_factory=list)
    device_lists: DeviceLists = field(default_factory=DeviceLists)
    one_time_keys: dict[str, int] = field(default_factory=dict)
    unused_fallback_algorithms: list[str] = field(default_factory=list)
    keys_were_used: bool = False

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
                self.presence,
                self.device_lists,
                self.keys_were_used,
            )
        )
