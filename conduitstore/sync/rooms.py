"""What a sync tells of one room."""

from __future__ import annotations

from conduitstore.parts.holder import Parts
from conduitstore.types import (
    Count,
    RoomChange,
    RoomId,
    StateKey,
    StoredEvent,
    TimelineSlice,
    UserId,
)

from .answer import JoinedRoom, LeftRoom, SyncOptions

_MEMBER = "m.room.member"


def joined_room(
    view: Parts, user: UserId, room: RoomId, since: Count, upto: Count, options: SyncOptions
) -> JoinedRoom:
    """A room the user is in; ``since`` is 0 where it is new to the client."""
    receipts = view.rooms.receipts
    private_moved = since < receipts.last_private_read_update(user, room) <= upto
    timeline = view.rooms.timeline.since(room, since, upto, options.timeline_limit)
    counters = view.rooms.user_counters
    return JoinedRoom(
        timeline=timeline,
        state=_state(view, user, room, since, upto, timeline, options),
        receipts=receipts.since(room, since, upto),
        private_read=receipts.private_read(user, room) if private_moved else None,
        account_data=view.account_data.changes_since(room, user, since, upto),
        unread=counters.unread(user, room).total,
        has_been_read=since < counters.last_read(user, room) <= upto,
    )


def left_room(
    view: Parts, user: UserId, change: RoomChange, since: Count, options: SyncOptions
) -> LeftRoom:
    """A room the user left, up to the leaving."""
    room, upto = change.room, change.count
    timeline = view.rooms.timeline.since(room, since, upto, options.timeline_limit)
    state = _state(view, user, room, since, upto, timeline, options)
    return LeftRoom(upto, timeline, state, change.events)


def _state(
    view: Parts,
    user: UserId,
    room: RoomId,
    since: Count,
    upto: Count,
    timeline: TimelineSlice,
    options: SyncOptions,
) -> list[StoredEvent]:
    """What changed from the client's state to the one just before its timeline."""
    state = view.rooms.state
    first = timeline.events[0].position if timeline.events else None
    before = upto if first is None else Count(first - 1)
    old = None if options.full_state or not since else state.at(room, since)
    changes = view.rooms.state_accessor.changes(old, state.at(room, before)).changed
    if options.lazy_members:
        shown = {event.pdu["sender"] for event in timeline.events} | {user}
        changes = {key: event for key, event in changes.items() if _is_wanted(key, shown)}
    events = view.rooms.timeline.get_many(changes.values())
    return [event for event in events if event is not None]


def _is_wanted(key: StateKey, shown: set[UserId]) -> bool:
    return key[0] != _MEMBER or key[1] in shown
