"""The state section of a room: what a client needs to know before it shows the timeline.

- A client applies the section and then the timeline. What the timeline itself changes is told as it
  was before; everything else as it is after, also where a resolution changed it without an event.
- Where members are loaded lazily, those of the timeline's senders come along, each once for a
  device (see ``rooms.lazy_loading``). A member that changed between the client's state and the
  timeline is told too: the client may know the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from conduitstore.types import (
    Count,
    EventId,
    RoomId,
    ShortStateHash,
    StateKey,
    StoredEvent,
    TimelineSlice,
    UserId,
)

from .request import Request
from .window import MEMBER, StateWindow

Ids = dict[StateKey, EventId | None]


class Told(NamedTuple):
    """What is told of a room besides its state: its timeline, and who names it."""

    timeline: TimelineSlice
    heroes: Sequence[UserId] = ()


def state_sections(
    request: Request, windows: Mapping[RoomId, StateWindow], told: Mapping[RoomId, Told]
) -> dict[RoomId, list[StoredEvent]]:
    """What to tell of the rooms' states, besides the timelines.

    Cost: bulk reads; and some for each room that is not told whole, and shows members or had
    changes of its state.
    """
    asked = {room: what for room, what in told.items() if _has_one(request, windows[room], what)}
    before = _before(request, asked)
    whole = {
        room: now
        for room in asked
        if _is_whole(request, windows[room]) and (now := windows[room].now) is not None
    }
    ids = _whole(request, whole, asked, before)
    for room in asked.keys() - whole.keys():
        lazy = _lazy_keys(request, room, _shown(request, asked[room]))
        ids[room] = _changed(request, windows[room], before[room], lazy)
    wanted = [event_id for each in ids.values() for event_id in each.values() if event_id]
    events = dict(zip(wanted, request.view.rooms.timeline.get_many(wanted), strict=True))
    return {
        room: [event for i in ids.get(room, {}).values() if i and (event := events[i]) is not None]
        for room in told
    }


def _has_one(request: Request, window: StateWindow, told: Told) -> bool:
    has_something = told.timeline.events or told.heroes or may_tell(request, window)
    return window.now is not None and bool(has_something)


def may_tell(request: Request, window: StateWindow) -> bool:
    """Whether there is something to tell also where nothing happened in the timeline."""
    return window.known != window.now or request.options.full_state or window.is_new


def _is_whole(request: Request, window: StateWindow) -> bool:
    return window.is_new or request.options.full_state


def _before(request: Request, told: Mapping[RoomId, Told]) -> dict[RoomId, Ids]:
    """What the timelines change, as it was before."""
    if request.options.state_after:
        return {room: {} for room in told}
    keys = {room: _state_keys(what.timeline.events) for room, what in told.items()}
    firsts = {
        room: Count(first - 1)
        for room, what in told.items()
        if keys[room] and (first := what.timeline.events[0].position) is not None
    }
    states = request.view.rooms.state.at_many(firsts)
    asked = {room: (state, keys[room]) for room, state in states.items() if state is not None}
    found = request.view.rooms.state_accessor.event_id_each(list(asked.values()))
    before = {room: dict.fromkeys(keys[room] if room in firsts else []) for room in told}
    for room, ids in zip(asked, found, strict=True):
        before[room] = dict(zip(keys[room], ids, strict=True))
    return before


def _shown(request: Request, told: Told) -> list[UserId]:
    """Whose members come along where they are loaded lazily."""
    return [*speakers(told.timeline.events), *told.heroes] if request.options.lazy_members else []


def _whole(
    request: Request,
    states: Mapping[RoomId, ShortStateHash],
    told: Mapping[RoomId, Told],
    before: Mapping[RoomId, Ids],
) -> dict[RoomId, Ids]:
    """All of the state, or without the members who are not shown."""
    wanted = {room: _wanted(request, told[room]) for room in states}
    asked = [(state, wanted[room]) for room, state in states.items()]
    found = request.view.rooms.state_accessor.full_ids_many(asked)
    return {
        room: {
            **after,
            **{k: i for k, i in before[room].items() if is_wanted is None or is_wanted(k)},
        }
        for (room, is_wanted), after in zip(wanted.items(), found, strict=True)
    }


def _wanted(request: Request, told: Told) -> Callable[[StateKey], bool] | None:
    if not request.options.lazy_members:
        return None
    shown = {*_shown(request, told), request.user}
    return lambda key: key[0] != MEMBER or key[1] in shown


def _changed(request: Request, window: StateWindow, before: Ids, lazy: set[StateKey]) -> Ids:
    after = window.changes.changed
    missing = sorted(lazy - after.keys() - before.keys())
    known = _ids(request, window.known, list(before))
    return {
        **{key: event_id for key, event_id in after.items() if key not in before},
        **_ids(request, window.now, missing),
        **{k: event_id for k, event_id in before.items() if event_id != known[k] or k in lazy},
    }


def _lazy_keys(request: Request, room: RoomId, members: list[UserId]) -> set[StateKey]:
    """The members to tell although they did not change."""
    if members and not request.options.redundant_members:
        unsent = request.view.rooms.lazy_loading.unsent
        members = unsent(request.user, request.device, room, members, request.since)
    return {(MEMBER, member) for member in members}


def _ids(request: Request, state: ShortStateHash | None, keys: Sequence[StateKey]) -> Ids:
    if state is None or not keys:
        return dict.fromkeys(keys)
    found = request.view.rooms.state_accessor.event_id_many(state, keys)
    return dict(zip(keys, found, strict=True))


def speakers(events: Sequence[StoredEvent]) -> list[UserId]:
    """Who wrote the events, but for those whose member event comes before what they wrote."""
    shown: dict[UserId, None] = {}
    introduced = set[str]()
    for event in events:
        if event.pdu["sender"] not in introduced:
            shown[event.pdu["sender"]] = None
        introduced.update(key[1] for key in _state_keys([event]) if key[0] == MEMBER)
    return list(shown)


def _state_keys(events: Sequence[StoredEvent]) -> list[StateKey]:
    keys = [(e.pdu["type"], e.pdu["state_key"]) for e in events if "state_key" in e.pdu]
    return list(dict.fromkeys(keys))
