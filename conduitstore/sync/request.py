"""What a client asks one sync for, and the instant it is answered from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from conduitstore.parts.holder import Parts
from conduitstore.types import Count, DeviceId, RoomId, UserId


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """The client's filter, as far as it decides what is read.

    Attributes:
        timeline_limit: newest events of each room at most, 1 or more.
        lazy_members: of members, tell those whose events are shown and who name the room; the
            user's own where the room is new to the client; and whoever changed unseen.
        redundant_members: with ``lazy_members``, also those that the device was told before.
        full_state: each room's whole state, as if it were new to the client.
        state_after: tell the state after the timeline, not the one before (MSC4222).
        include_left: on a first sync, also rooms left long ago and not forgotten.
        presence: of whom the user shares a room with.
    """

    timeline_limit: int = 10
    lazy_members: bool = False
    redundant_members: bool = False
    full_state: bool = False
    state_after: bool = False
    include_left: bool = False
    presence: bool = True


class TypingNow(Protocol):
    """Who is typing: ``store.typing``."""

    def users(self, room: RoomId) -> list[UserId]: ...
    def last_update(self, room: RoomId) -> Count: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One sync: a device at a token, and the window (since, upto] it is told of."""

    view: Parts
    user: UserId
    device: DeviceId
    since: Count
    upto: Count
    options: SyncOptions
    typing: TypingNow | None
