"""What a sync tells of rooms: of those the user is in, and of those that the user left."""

from __future__ import annotations

from collections.abc import Mapping

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
from .news import news_of
from .request import Request
from .state import Told, may_tell, state_sections
from .summary import summaries_of
from .window import MEMBER, StateWindow, state_window


def joined_rooms(
    request: Request, windows: Mapping[RoomId, StateWindow]
) -> dict[RoomId, JoinedRoom]:
    """The rooms the user is in and of which there is something to tell.

    Cost: bulk reads, as many for many rooms as for one; and some for each room that tells more
    than messages and markers.
    """
    since = {room: Count(0) if w.is_new else request.since for room, w in windows.items()}
    news = news_of(request, since)
    stirred = [room for room in windows if news[room].is_there or may_tell(request, windows[room])]
    if not stirred:  # As in most syncs: that spares the parts which say more.
        return {}
    unread = request.view.rooms.user_counters.unread_many(request.user, stirred)
    summaries = summaries_of(request, {room: windows[room] for room in stirred})
    heroes = {room: summary.heroes or [] for room, summary in summaries.items()}
    told = {room: Told(news[room].timeline, heroes.get(room, [])) for room in stirred}
    states = state_sections(request, windows, told)
    return {
        room: JoinedRoom(
            is_new=windows[room].is_new,
            state=states[room],
            summary=summaries.get(room),
            unread=counters,
            shown_members=_members_in([*states[room], *news[room].timeline.events]),
            **news[room]._asdict(),
        )
        for room, counters in zip(stirred, unread, strict=True)
        # A state may change and say the same.
        if windows[room].is_new or news[room].is_there or states[room] or room in summaries
    }


def _members_in(events: list[StoredEvent]) -> list[UserId]:
    pdus = [event.pdu for event in events if event.pdu["type"] == MEMBER]
    return [UserId(pdu["state_key"]) for pdu in pdus if "state_key" in pdu]


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
        state = state_sections(request, {room: window}, {room: Told(timeline)})[room]
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
