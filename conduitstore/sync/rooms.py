"""What a sync tells of one room."""

from __future__ import annotations

from conduitstore.parts.holder import Parts
from conduitstore.types import Count, RoomChange, RoomId, UserId

from .answer import JoinedRoom, LeftRoom, SyncOptions


def joined_room(
    view: Parts, user: UserId, room: RoomId, since: Count, upto: Count, options: SyncOptions
) -> JoinedRoom:
    """A room the user is in; ``since`` is 0 where it is new to the client."""
    receipts = view.rooms.receipts
    private_moved = since < receipts.last_private_read_update(user, room) <= upto
    return JoinedRoom(
        timeline=view.rooms.timeline.since(room, since, upto, options.timeline_limit),
        state=[],
        receipts=receipts.since(room, since, upto),
        private_read=receipts.private_read(user, room) if private_moved else None,
        account_data=view.account_data.changes_since(room, user, since, upto),
    )


def left_room(view: Parts, change: RoomChange, since: Count, options: SyncOptions) -> LeftRoom:
    """A room the user left, up to the leaving."""
    timeline = view.rooms.timeline.since(change.room, since, change.count, options.timeline_limit)
    return LeftRoom(change.count, timeline, [], change.events)
