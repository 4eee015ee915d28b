"""What a client calls a room by: its totals, and the members that stand for a name."""

from __future__ import annotations

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


def summary_of(request: Request, room: RoomId, window: StateWindow) -> Summary | None:
    """The room's summary; None where the client has it already.

    Cost: where it changed and the room has no name, a scan of its members.
    """
    is_asked_for = window.is_new or request.options.full_state
    has_changed = window.moved or any(key in window.keys for key, _ in _NAMES)
    if not (is_asked_for or has_changed):
        return None
    members = request.view.rooms.members
    return Summary(
        members.joined_total(room),
        members.invited_total(room),
        _heroes(request.view, request.user, room, window.now),
    )


def _heroes(
    view: Parts, user: UserId, room: RoomId, state: ShortStateHash | None
) -> list[UserId] | None:
    """The first to come of those in the room or invited; of those who were, where nobody is."""
    if state is not None and _has_name(view, state):
        return None
    members = view.rooms.members
    arrivals = members.arrivals(room, "join")
    if members.invited_total(room):
        arrivals += members.arrivals(room, "invite")
    heroes = [other for _, other in sorted(arrivals) if other != user]
    if not heroes and state is not None:
        heroes = [other for other in _former_members(view, state) if other != user]
    return heroes[:HEROES_MAX]


def _has_name(view: Parts, state: ShortStateHash) -> bool:
    found = view.rooms.state_accessor.get_many(state, [key for key, _ in _NAMES])
    return any(key in found and found[key].pdu["content"].get(field) for key, field in _NAMES)


def _former_members(view: Parts, state: ShortStateHash) -> list[UserId]:
    """Who left or is banned, in the order of the timeline; also who forgot the room."""
    ids = view.rooms.state_accessor.state_keys(state, MEMBER)
    events = zip(ids, view.rooms.timeline.get_many(ids.values()), strict=True)
    former = [
        (event.position or 0, UserId(user))
        for user, event in events
        if event is not None and membership_in(event.pdu) == "leave"
    ]
    return [user for _, user in sorted(former)]
