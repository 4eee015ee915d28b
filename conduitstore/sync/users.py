"""What a sync tells of other users: whose devices to ask for again or forget, who is online."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conduitstore.parts.presence import PresenceChange
from conduitstore.types import RoomChange, RoomId, ShortStateHash, StateKey, UserId

from .answer import DeviceLists
from .request import Request
from .window import StateWindow, state_window

_ENCRYPTION: StateKey = ("m.room.encryption", "")


def device_lists(
    request: Request, windows: Mapping[RoomId, StateWindow], left: Sequence[RoomChange]
) -> DeviceLists:
    """Who shares an encrypted room with the user newly or no more, and who has new keys.

    A first sync tells nobody: the client asks for everybody's devices anyway. Nobody is in both.

    Args:
        request: what is asked.
        windows: of the rooms the user is in; new to the client where the user came
            meanwhile.
        left: the rooms that the user left.

    Cost: a range for each room; more where members of encrypted rooms came or went.
    """
    if not request.since:
        return DeviceLists()
    changes = request.view.key_changes
    changed = changes.since_many([request.user, *windows], request.since, request.upto)
    gone = set[UserId]()
    for room, window in windows.items():
        if (window.is_new or window.keys) and _is_encrypted(request, window.now):
            came, went = _came_and_went(request, room, window)
            changed |= came
            gone |= went
    for change in left:
        gone |= _left_behind(request, change)
    gone = {user for user in gone - {request.user} if not _shares(request, user, windows)}
    return DeviceLists(changed - gone, gone)


def _came_and_went(
    request: Request, room: RoomId, window: StateWindow
) -> tuple[set[UserId], set[UserId]]:
    is_new = window.is_new
    if is_new:
        window = state_window(request.view, room, request.since, request.upto, window.now)
    came = {user for user, membership in window.moved.items() if membership == "join"}
    went = window.moved.keys() - came
    if is_new or _ENCRYPTION in window.keys:
        came = set(request.view.rooms.members.joined_members(room))
    return came - {request.user}, went


def _left_behind(request: Request, change: RoomChange) -> set[UserId]:
    """Who was in an encrypted room with the user."""
    rooms = request.view.rooms
    now = rooms.state.current(change.room)
    if not _is_encrypted(request, now):
        return set()
    window = state_window(request.view, change.room, request.since, request.upto, now)
    return {*rooms.members.joined_members(change.room), *window.moved}


def _is_encrypted(request: Request, state: ShortStateHash | None) -> bool:
    return state is not None and request.view.rooms.state_accessor.contains(state, *_ENCRYPTION)


def _shares(request: Request, other: UserId, windows: Mapping[RoomId, StateWindow]) -> bool:
    """Whether an encrypted room has them both."""
    members = request.view.rooms.members
    shared = members.joined_among(other, list(windows))
    return any(_is_encrypted(request, windows[room].now) for room in shared)


def presence_of(request: Request, joined: Sequence[RoomId]) -> list[PresenceChange]:
    """What changed of users who share a room with this one, or are this one.

    Cost: what changed of everybody, and for each a scan of the user's rooms.
    """
    if not request.options.presence:
        return []
    mine = set(joined)
    rooms_joined = request.view.rooms.members.rooms_joined
    changes = request.view.presence.since(request.since, request.upto)
    return [
        change
        for change in changes
        if change.user == request.user or not mine.isdisjoint(rooms_joined(change.user))
    ]
