"""The storage half of /messages and /context: pages of a room's history, from one snapshot.

- A token stands after a count, as a sync's ``next_batch`` does: backwards from it come the events
  at or below it, forwards those above. So a client may page from any token that it was ever given.
- What the filter and the caller's predicate leave out is passed over, up to a bound; a page that
  stopped at the bound may be short, or empty, and says where to go on.
- One call for /relations and one for /threads have the parts: ``rooms.pdu_metadata.relations`` and
  ``rooms.threads.page``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from conduitstore.codec.positions import LAST, parse_token, token_of
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.parts.holder import Parts
from conduitstore.types import (
    Count,
    Direction,
    EventId,
    PduCount,
    PduToken,
    RoomId,
    ShortStateHash,
    StoredEvent,
)

from .filter import EventFilter
from .state import speakers
from .window import MEMBER

LOOKED_AT_MAX = 1_000
"""How many events one page looks at, at most."""
_AT_ONCE = 100

IsVisible = Callable[[StoredEvent, ShortStateHash | None], bool]
"""Whether the reader may see an event, by the state before it: None where that is not known."""


@dataclass(frozen=True, slots=True)
class HistoryOptions:
    """What of a room's history to tell.

    Attributes:
        filter: the client's.
        is_visible: the caller's; the state is asked for only where there is one.
        lazy_members: also tell the members whose events are told.
    """

    filter: EventFilter = field(default_factory=EventFilter)
    is_visible: IsVisible | None = None
    lazy_members: bool = False


_DEFAULT = HistoryOptions()


@dataclass(frozen=True, slots=True)
class MessagesPage:
    """A page of a room's history.

    Attributes:
        events: in the direction asked for.
        end: where to go on; None where there is no more.
        state: with ``lazy_members``, the senders' member events.
    """

    events: list[StoredEvent]
    end: PduToken | None
    state: list[StoredEvent]


@dataclass(frozen=True, slots=True)
class EventContext:
    """An event and what is around it.

    Attributes:
        before: newest first.
        after: oldest first.
        start: where to go on backwards.
        end: where to go on forwards.
        state: the room's, at the last of these events.
    """

    event: StoredEvent
    before: list[StoredEvent]
    after: list[StoredEvent]
    start: PduToken
    end: PduToken
    state: list[StoredEvent]


def messages(
    view: Parts,
    room: RoomId,
    start: PduToken | None,
    direction: Direction,
    limit: int,
    *,
    to: PduToken | None = None,
    options: HistoryOptions = _DEFAULT,
) -> MessagesPage:
    """Up to ``limit`` events from ``start`` on.

    Args:
        view: a snapshot's view or a transaction, so that it is one instant; not the store.
        room: an unknown one has no events.
        start: a token; None for the newest event going back, the oldest going forwards.
        direction: ``"b"`` gives newest first, ``"f"`` oldest first.
        limit: 1 or more.
        to: a token to stop at.
        options: what to tell.

    Cost: a range; where something is left out some more, of 1,000 events together at most.
    """
    walk = _Walk(view, room, direction, None if to is None else parse_token(to))
    events: list[StoredEvent] = []
    end = None
    for event in walk.events(None if start is None else parse_token(start), limit):
        if _is_told(view, event, options):
            events.append(event)
        if len(events) == limit or walk.looked_at == LOOKED_AT_MAX:
            end = _after(event, direction) if walk.has_more else None
            break
    state = _members(view, room, events) if options.lazy_members else []
    return MessagesPage(events, end, state)


class _Walk:
    """Events of a room in one direction, up to a token.

    Attributes:
        looked_at: how many were given.
        has_more: whether there may be more after the one given last.
    """

    def __init__(
        self, view: Parts, room: RoomId, direction: Direction, to: PduCount | None
    ) -> None:
        self._page = view.rooms.timeline.page
        self._room = room
        self._direction = direction
        self._to = to
        self.looked_at = 0
        self.has_more = False

    def events(self, start: PduCount | None, size: int) -> Iterator[StoredEvent]:
        """From a token on, read ``size`` at a time, or more where that was not enough."""
        token = None if start is None else self._first(start)
        while True:
            events, token = self._page(self._room, token, self._direction, size)
            for number, event in enumerate(events, start=1):
                if self._is_beyond(event):
                    return
                self.looked_at += 1
                self.has_more = number < len(events) or token is not None
                yield event
            if token is None:
                return
            size = max(size, _AT_ONCE)

    def _first(self, start: PduCount) -> PduToken:
        """The parts' pages leave out the place they start from."""
        return PduToken(str(min(start + 1, LAST) if self._direction == "b" else start))

    def _is_beyond(self, event: StoredEvent) -> bool:
        if self._to is None or event.position is None:
            return False
        return event.position <= self._to if self._direction == "b" else event.position > self._to


def _after(event: StoredEvent, direction: Direction) -> PduToken:
    """The token from which one goes on past an event."""
    assert event.position is not None
    return token_of(PduCount(event.position - 1 if direction == "b" else event.position))


def _is_told(view: Parts, event: StoredEvent, options: HistoryOptions) -> bool:
    if not options.filter.is_wanted(event.pdu):
        return False
    if options.is_visible is None:
        return True
    return options.is_visible(event, view.rooms.state.before(event.event_id))


def context(
    view: Parts,
    room: RoomId,
    event_id: EventId,
    limit: int = 10,
    options: HistoryOptions = _DEFAULT,
) -> EventContext | None:
    """An event with up to ``limit`` others around it, half of them before it.

    Returns:
        None where the event is in no timeline, in another room's, or not for the reader to see;
        the client's filter is for the others only.

    Raises:
        InvalidArgumentError: the limit is below 0.
    """
    if type(limit) is not int or limit < 0:
        raise InvalidArgumentError(f"a limit is 0 or more, not {shown(limit)}")
    event = view.rooms.timeline.get(event_id)
    if event is None or event.position is None or not _is_in(view, room, event_id):
        return None
    visible = options.is_visible
    if visible is not None and not visible(event, view.rooms.state.before(event_id)):
        return None
    before, start = _beside(view, room, event, "b", limit // 2, options)
    after, end = _beside(view, room, event, "f", limit - limit // 2, options)
    state = _state_at(view, room, [*before, event, *after], (after or [event])[-1], options)
    return EventContext(event, before, after, start, end, state)


def _is_in(view: Parts, room: RoomId, event_id: EventId) -> bool:
    pdu_id = view.rooms.timeline.pdu_id(event_id)
    return pdu_id is not None and pdu_id.short_room == view.rooms.short.room(room)


def _beside(
    view: Parts,
    room: RoomId,
    event: StoredEvent,
    direction: Direction,
    limit: int,
    options: HistoryOptions,
) -> tuple[list[StoredEvent], PduToken]:
    """Events on one side, and the token behind them, be there more or not."""
    start = _after(event, direction)
    if not limit:
        return [], start
    page = messages(view, room, start, direction, limit, options=options)
    return page.events, page.end or _after([event, *page.events][-1], direction)


# States -----------------------------------------------------------------------------------------


def _state_with(view: Parts, room: RoomId, event: StoredEvent) -> ShortStateHash | None:
    """The room's state at an event; of one from before the room's history here, its own."""
    state, position = view.rooms.state, event.position or 0
    if position > 0:
        return state.at(room, Count(position))
    return state.before(event.event_id) or state.current(room)


def _members(view: Parts, room: RoomId, events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """The senders as the room had them when the first of the events came, or at the last."""
    if not events:
        return []
    ordered = sorted(events, key=lambda event: event.position or 0)
    keys = [(MEMBER, sender) for sender in speakers(ordered)]
    found: dict[tuple[str, str], StoredEvent] = {}
    for event in (ordered[-1], ordered[0]):
        state = _state_with(view, room, event)
        found |= {} if state is None else view.rooms.state_accessor.get_many(state, keys)
    return [found[key] for key in keys if key in found]


def _state_at(
    view: Parts,
    room: RoomId,
    events: Sequence[StoredEvent],
    last: StoredEvent,
    options: HistoryOptions,
) -> list[StoredEvent]:
    state = _state_with(view, room, last)
    if state is None:
        return []
    senders = {event.pdu["sender"] for event in events}
    ids = view.rooms.state_accessor.full_ids(
        state,
        (lambda key: key[0] != MEMBER or key[1] in senders) if options.lazy_members else None,
    )
    found = view.rooms.timeline.get_many(ids.values())
    return [event for event in found if event is not None]
