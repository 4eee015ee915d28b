"""A room's state over the window of one sync: what the client has, what there is, who moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from conduitstore.parts.holder import Parts
from conduitstore.parts.rooms.state_accessor import StateChanges
from conduitstore.types import Count, Membership, RoomId, ShortStateHash, StateKey, UserId

MEMBER = "m.room.member"
_NOTHING = StateChanges({}, {})
_MEMBERSHIPS: tuple[Membership, ...] = ("join", "invite", "knock", "leave")


class StateWindow(NamedTuple):
    """What became of a room's state.

    Attributes:
        is_new: whether the room is new to the client.
        known: the client's; None where it has none.
        now: the newest; None for a room without a state.
        changes: from the one to the other; nothing where the room is new to the client.
        moved: users whose membership changed, and what it is now: None where they forgot the room.
    """

    is_new: bool
    known: ShortStateHash | None
    now: ShortStateHash | None
    changes: StateChanges
    moved: dict[UserId, Membership | None]

    @property
    def keys(self) -> set[StateKey]:
        """What changed or went."""
        return self.changes.changed.keys() | self.changes.removed.keys()


def state_window(
    view: Parts, room: RoomId, since: Count, upto: Count, now: ShortStateHash | None
) -> StateWindow:
    """The window (since, upto] of a room that has state ``now`` at its end; since 0: it is new.

    Cost: a seek where nothing changed, else what changed.
    """
    known = view.rooms.state.at(room, since) if since else None
    return _window(view, room, (since, upto), (known, now))


def state_windows(
    view: Parts, rooms: Mapping[RoomId, Count], upto: Count
) -> dict[RoomId, StateWindow]:
    """Those of many rooms, each from a count of its own; ``upto`` is now.

    Cost: three bulk reads, and what changed.
    """
    states = view.rooms.state
    now = dict(zip(rooms, states.current_many(list(rooms)), strict=True))
    known = states.at_many({room: since for room, since in rooms.items() if since})
    return {
        room: _window(view, room, (since, upto), (known.get(room), now[room]))
        for room, since in rooms.items()
    }


def _window(
    view: Parts,
    room: RoomId,
    counts: tuple[Count, Count],
    states: tuple[ShortStateHash | None, ShortStateHash | None],
) -> StateWindow:
    (since, upto), (known, now) = counts, states
    if not since or known == now:
        return StateWindow(not since, known, now, _NOTHING, {})
    changes = view.rooms.state_accessor.changes(known, now)
    keys = changes.changed.keys() | changes.removed.keys()
    users = [UserId(state_key) for type, state_key in keys if type == MEMBER]
    return StateWindow(False, known, now, changes, _moves(view, room, users, since, upto))


def _moves(
    view: Parts, room: RoomId, users: Iterable[UserId], since: Count, upto: Count
) -> dict[UserId, Membership | None]:
    """Those whose membership, not just their profile, changed. Cost: up to four bulk reads."""
    left = list(users)
    moved: dict[UserId, Membership | None] = {}
    for membership in _MEMBERSHIPS:
        counts = dict(zip(left, view.rooms.members.count_many(left, room, membership), strict=True))
        moved |= {u: membership for u, c in counts.items() if c is not None and since < c <= upto}
        left = [user for user, count in counts.items() if count is None]
        if not left:
            break
    return moved | dict.fromkeys(left)
