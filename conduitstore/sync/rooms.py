"""What a sync tells of one room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conduitstore.codec.events import membership_in
from conduitstore.types import (
    Count,
    RoomChange,
    RoomId,
    ShortStateHash,
    StoredEvent,
    TimelineSlice,
    UserId,
)

from .answer import JoinedRoom, LeftRoom
from .request import Request
from .state import state_section
from .summary import summary_of
from .window import MEMBER, StateWindow, state_window


def joined_room(request: Request, room: RoomId, window: StateWindow) -> JoinedRoom | None:
    """A room the user is in; None where there is nothing to tell."""
    since = Count(0) if window.is_new else request.since
    view, user, upto, options = request.view, request.user, request.upto, request.options
    timeline = view.rooms.timeline.since(room, since, upto, options.timeline_limit)
    if window.is_new:
        timeline = _as_first(request, room, timeline)
    summary = summary_of(request, room, window)
    heroes = summary.heroes or [] if summary is not None else []
    state = state_section(request, room, window, timeline, heroes)
    counters = view.rooms.user_counters
    typing = _typing(request, room, since)
    told: dict[str, Any] = {
        "state": state,
        "summary": summary,
        "receipts": view.rooms.receipts.since(room, since, upto),
        "private_reads": view.rooms.receipts.private_since(user, room, since, upto),
        "account_data": view.account_data.changes_since(room, user, since, upto),
        "has_been_read": since < counters.last_read(user, room) <= upto,
    }
    if not (window.is_new or timeline.events or typing is not None or any(told.values())):
        return None
    return JoinedRoom(
        is_new=window.is_new,
        timeline=timeline,
        typing=typing,
        unread=counters.unread(user, room),
        shown_members=_members_in([*state, *timeline.events]),
        **told,
    )


def _as_first(request: Request, room: RoomId, timeline: TimelineSlice) -> TimelineSlice:
    """Of a room that is new to the client: limited too where there is more from before."""
    first = timeline.events[0].position if timeline.events else None
    if timeline.limited or first is None:
        return timeline
    older = request.view.rooms.timeline.neighbour(room, first, "b")
    return replace(timeline, limited=older is not None)


def _typing(request: Request, room: RoomId, since: Count) -> list[UserId] | None:
    """What changed after the instant is told too, and again with the next sync."""
    if request.typing is None or request.typing.last_update(room) <= since:
        return None
    users = request.typing.users(room)
    return users if users or since else None


def _members_in(events: list[StoredEvent]) -> list[UserId]:
    return [UserId(event.pdu["state_key"]) for event in events if _is_member(event)]


def _is_member(event: StoredEvent) -> bool:
    return event.pdu["type"] == MEMBER and "state_key" in event.pdu


def left_room(request: Request, change: RoomChange) -> LeftRoom:
    """A room the user left, up to the leaving."""
    view, user, room, upto = request.view, request.user, change.room, change.count
    now = view.rooms.state.at(room, upto)
    leaving = _own_event(request, now)
    was_known = _is_joined(request, room, request.since)
    since = request.since if was_known else Count(0)
    if was_known or (leaving is not None and _is_joined(request, room, _before(leaving))):
        window = state_window(view, room, since, upto, now)
        timeline = view.rooms.timeline.since(room, since, upto, request.options.timeline_limit)
        state = state_section(request, room, window, timeline)
    else:  # One who was invited, or knocked, and never was in.
        timeline, state = TimelineSlice([] if leaving is None else [leaving], limited=False), []
    account_data = view.account_data.changes_since(room, user, request.since, request.upto)
    return LeftRoom(upto, timeline, state, change.events, account_data)


def ended_stay(request: Request, change: RoomChange) -> RoomChange | None:
    """The leaving that an invite or a knock came after; None where the client knew of no stay."""
    if not _is_joined(request, change.room, request.since):
        return None
    state = request.view.rooms.state
    own = _own_event(request, state.at(change.room, change.count))
    if own is not None and membership_in(own.pdu) != "leave":
        own = _own_event(request, state.at(change.room, _before(own)))
    if own is None or own.position is None or membership_in(own.pdu) != "leave":
        return None
    return RoomChange(change.room, Count(own.position), [own.pdu])


def _before(event: StoredEvent) -> Count:
    """The count before an event; of one that is in no timeline, the first."""
    return Count(max((event.position or 0) - 1, 0))


def _is_joined(request: Request, room: RoomId, count: Count) -> bool:
    own = _own_event(request, request.view.rooms.state.at(room, count))
    return own is not None and membership_in(own.pdu) == "join"


def _own_event(request: Request, state: ShortStateHash | None) -> StoredEvent | None:
    """The user's member event in a state."""
    if state is None:
        return None
    return request.view.rooms.state_accessor.get(state, MEMBER, request.user)
