"""What a client calls a room by: its totals, and the members that stand for a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conduitstore.codec.events import membership_in
from conduitstore.parts.holder import Parts
from conduitstore.types import RoomId, ShortStateHash, StateKey, UserId

from .answer import Summary
from .request import Request
from .window import MEMBER, StateWindow

HEROES_MAX = 5
_NAMES: list[tuple[StateKey, str]] = [
    (("m.room.name", ""), "name"),
    (("m.room.canonical_alias", ""), "alias"),
]


def summaries_of(request: Request, windows: Mapping[RoomId, StateWindow]) -> dict[RoomId, Summary]:
    """The rooms' summaries; those that the client has already are left out.

    Cost: bulk reads, and of each room that has no name a scan of its members.
    """
    members = request.view.rooms.members
    rooms = [room for room, window in windows.items() if _is_asked_for(request, window)]
    joined, invited = members.joined_total_many(rooms), members.invited_total_many(rooms)
    totals = dict(zip(rooms, zip(joined, invited, strict=True), strict=True))
    heroes = _heroes(request, {room: windows[room].now for room in rooms}, totals)
    return {room: Summary(*totals[room], heroes.get(room)) for room in rooms}


def _is_asked_for(request: Request, window: StateWindow) -> bool:
    if window.is_new or request.options.full_state or window.moved:
        return True
    changed = window.keys
    return any(key in changed for key, _ in _NAMES)


def _heroes(
    request: Request,
    rooms: Mapping[RoomId, ShortStateHash | None],
    totals: Mapping[RoomId, tuple[int, int]],
) -> dict[RoomId, list[UserId]]:
    """For rooms without a name: the first to come of those in the room or invited.

    Where nobody is, of those who were.
    """
    members = request.view.rooms.members
    named = _named(request.view, [state for state in rooms.values() if state is not None])
    unnamed = [room for room, state in rooms.items() if state not in named]
    inviting = [room for room in unnamed if totals[room][1]]
    arrivals = dict(zip(unnamed, members.arrivals_many(unnamed, "join"), strict=True))
    for room, invited in zip(inviting, members.arrivals_many(inviting, "invite"), strict=True):
        arrivals[room] = sorted(arrivals[room] + invited)
    heroes = {
        room: [other for _, other in came if other != request.user]
        for room, came in arrivals.items()
    }
    alone = {room: state for room in unnamed if not heroes[room] and (state := rooms[room])}
    if alone:
        heroes |= zip(alone, _former_members(request, list(alone.values())), strict=True)
    return {room: others[:HEROES_MAX] for room, others in heroes.items()}


def _named(view: Parts, states: Sequence[ShortStateHash]) -> set[ShortStateHash]:
    """Those that have a name or an alias."""
    keys = [key for key, _ in _NAMES]
    ids = view.rooms.state_accessor.event_id_each([(state, keys) for state in states])
    found = {
        event_id: (state, field)
        for state, each in zip(states, ids, strict=True)
        for event_id, (_, field) in zip(each, _NAMES, strict=True)
        if event_id is not None
    }
    events = zip(found.values(), view.rooms.timeline.get_many(found), strict=True)
    return {
        state
        for (state, field), event in events
        if event is not None and event.pdu["content"].get(field)
    }


def _former_members(request: Request, states: Sequence[ShortStateHash]) -> list[list[UserId]]:
    """Who left or is banned, in the order of the timeline; also who forgot the room."""
    rooms = request.view.rooms
    members = rooms.state_accessor.full_ids_many([(state, _is_member) for state in states])
    ids = [event_id for each in members for event_id in each.values()]
    left = {
        event.event_id: event.position or 0
        for event in rooms.timeline.get_many(ids)
        if event is not None and membership_in(event.pdu) == "leave"
    }
    came = [
        sorted((left[event_id], user) for (_, user), event_id in each.items() if event_id in left)
        for each in members
    ]
    return [[UserId(user) for _, user in each if user != request.user] for each in came]


def _is_member(key: StateKey) -> bool:
    return key[0] == MEMBER
