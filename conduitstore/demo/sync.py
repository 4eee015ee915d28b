"""One sync, as a homeserver would answer it from the parts.

Everything is read from one snapshot, and its count is the next token: nothing can be missed, and
nothing is told twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from conduitstore.parts.holder import Parts
from conduitstore.types import (
    Count,
    DeviceId,
    JsonObject,
    Receipt,
    RoomChange,
    RoomId,
    TimelineSlice,
    UserId,
)


@dataclass(frozen=True, slots=True)
class RoomNews:
    """What is new in a room the user is joined to."""

    timeline: TimelineSlice
    receipts: list[Receipt]
    account_data: list[tuple[Count, JsonObject]]

    def __bool__(self) -> bool:
        return bool(self.timeline.events or self.receipts or self.account_data)


@dataclass(frozen=True, slots=True)
class SyncAnswer:
    """What a client is told; ``next_batch`` is its next since token."""

    next_batch: Count
    joined: dict[RoomId, RoomNews]
    invited: list[RoomChange]
    left: list[RoomChange]
    to_device: list[tuple[Count, JsonObject]]
    account_data: list[tuple[Count, JsonObject]]


def sync(
    view: Parts, user: UserId, device: DeviceId, since: Count, *, timeline_limit: int = 10
) -> SyncAnswer:
    """What is new for a device in (since, now]; ``view`` is a snapshot of all parts."""
    upto = view.globals.current_count()
    members = view.rooms.members
    news = {
        room: RoomNews(
            view.rooms.timeline.since(room, since, upto, timeline_limit),
            view.rooms.receipts.since(room, since, upto),
            view.account_data.changes_since(room, user, since, upto),
        )
        for room in members.rooms_joined(user)
    }
    return SyncAnswer(
        next_batch=upto,
        joined={room: room_news for room, room_news in news.items() if room_news},
        invited=members.changes_since(user, "invite", since, upto),
        left=members.changes_since(user, "leave", since, upto),
        to_device=view.to_device.events_since(user, device, since, upto),
        account_data=view.account_data.changes_since(None, user, since, upto),
    )
