"""The state section of a room: what a client needs to know before it shows the timeline.

- A client applies the section and then the timeline. What the timeline itself changes is told as it
  was before; everything else as it is after, also where a resolution changed it without an event.
- Where members are loaded lazily, those of the timeline's senders come along, each once for a
  device (see ``rooms.lazy_loading``). A member that changed between the client's state and the
  timeline is told too: the client may know the old one.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def state_section(
    request: Request,
    room: RoomId,
    window: StateWindow,
    timeline: TimelineSlice,
    heroes: Sequence[UserId] = (),
) -> list[StoredEvent]:
    """What to tell of the room's state, besides the timeline."""
    if window.now is None:
        return []
    if not (timeline.events or heroes or may_tell(request, window)):
        return []
    before = {} if request.options.state_after else _before(request, room, timeline)
    shown = [*speakers(timeline.events), *heroes] if request.options.lazy_members else []
    if window.is_new or request.options.full_state:
        told = _whole(request, window.now, before, {*shown, request.user})
    else:
        told = _changed(request, window, before, _lazy_keys(request, room, shown))
    ids = [event_id for event_id in told.values() if event_id is not None]
    events = request.view.rooms.timeline.get_many(ids) if ids else []
    return [event for event in events if event is not None]


def may_tell(request: Request, window: StateWindow) -> bool:
    """Whether there is something to tell also where nothing happened in the timeline."""
    return window.known != window.now or request.options.full_state or window.is_new


def _before(request: Request, room: RoomId, timeline: TimelineSlice) -> Ids:
    """What the timeline changes, as it was before."""
    keys = _state_keys(timeline.events)
    first = timeline.events[0].position if keys else None
    if first is None:
        return {}
    return _ids(request, request.view.rooms.state.at(room, Count(first - 1)), keys)


def _whole(request: Request, now: ShortStateHash, before: Ids, shown: set[UserId]) -> Ids:
    is_lazy = request.options.lazy_members

    def is_wanted(key: StateKey) -> bool:
        return key[0] != MEMBER or not is_lazy or key[1] in shown

    after = request.view.rooms.state_accessor.full_ids(now, is_wanted if is_lazy else None)
    return {**after, **{key: event_id for key, event_id in before.items() if is_wanted(key)}}


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
