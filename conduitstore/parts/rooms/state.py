"""Which state a room has, had at a count and had before each event; and where its history ends.

- A room's current state moves its members along, in the same commit.
- Each change of it is kept with its count, so the state at any since token is one point of a range:
  nothing is written when somebody syncs.
- A room with events always has forward extremities: they are replaced, never emptied.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from conduitstore.codec.events import ids_in
from conduitstore.codec.keys import check_u64
from conduitstore.codec.states import unpack_entries
from conduitstore.codec.values import pack_text, pack_u64, unpack_u64
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.parts.arguments import distinct, listed
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent, explained
from conduitstore.schema import TREES
from conduitstore.types import (
    Count,
    EventId,
    JsonObject,
    Membership,
    PduCount,
    PduId,
    RoomId,
    ShortEventId,
    ShortRoomId,
    ShortStateHash,
    ShortStateKey,
    StateEntry,
    StateKey,
    StoredEvent,
    UserId,
)

_ROOM = TREES["roomid_shortstatehash"].key.pack
_ROOM_COUNT = TREES["roomcount_shortstatehash"].key
_LEAF = TREES["roomid_pduleaves"].key


class ShortIds(Protocol):
    """Numbers and what they stand for."""

    def room(self, room: RoomId) -> ShortRoomId | None: ...
    def room_many(self, rooms: Sequence[RoomId]) -> list[ShortRoomId | None]: ...
    def number_room(self, room: RoomId) -> ShortRoomId: ...
    def event(self, event: EventId) -> ShortEventId | None: ...
    def number_event(self, event: EventId) -> ShortEventId: ...
    def event_id_many(self, shorts: Sequence[ShortEventId]) -> list[EventId | None]: ...
    def state_key_id_many(self, shorts: Sequence[ShortStateKey]) -> list[StateKey | None]: ...


class Difference(Protocol):
    """What one state has and another lacks, and the other way round."""

    @property
    def added(self) -> AbstractSet[StateEntry]: ...
    @property
    def removed(self) -> AbstractSet[StateEntry]: ...


class States(Protocol):
    """The states themselves."""

    def exists(self, state: ShortStateHash) -> bool: ...
    def save(self, events: Mapping[StateKey, EventId]) -> ShortStateHash: ...
    def change(
        self, state: ShortStateHash, changes: Mapping[StateKey, EventId | None]
    ) -> ShortStateHash: ...
    def entries(self, state: ShortStateHash) -> list[StateEntry]: ...
    def between(self, old: ShortStateHash, new: ShortStateHash) -> Difference: ...


class Timelines(Protocol):
    """Events."""

    def get(self, event_id: EventId) -> StoredEvent | None: ...
    def pdu_id(self, event_id: EventId) -> PduId | None: ...


class Memberships(Protocol):
    """Who is what to a room."""

    def membership(self, user: UserId, room: RoomId) -> Membership | None: ...
    def follow(self, user: UserId, room: RoomId, event: JsonObject) -> None: ...
    def mark_left(self, user: UserId, room: RoomId) -> Count: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def short(self) -> ShortIds: ...
    @property
    def state_compressor(self) -> States: ...
    @property
    def timeline(self) -> Timelines: ...
    @property
    def members(self) -> Memberships: ...


class StateNear(Near, Protocol):
    """What a state is made of, and what follows from one."""

    @property
    def rooms(self) -> RoomParts: ...


class State(Part[StateNear]):
    """Trees: of states, ``roomid_``, ``roomcount_`` and ``shorteventid_shortstatehash``.

    And ``roomid_pduleaves``.
    """

    _current = TreeOf("roomid_shortstatehash")
    _history = TreeOf("roomcount_shortstatehash")
    _before = TreeOf("shorteventid_shortstatehash")
    _leaves = TreeOf("roomid_pduleaves")

    # The current state --------------------------------------------------------------------------
    def current(self, room: RoomId) -> ShortStateHash | None:
        """A room's state; None for a room that is not here, an invite to it notwithstanding.

        Source: Conduit, get_room_shortstatehash.
        """
        return _number(self._current.name, self._current.get(_ROOM(room)))

    @explained
    def current_many(self, rooms: Sequence[RoomId]) -> list[ShortStateHash | None]:
        """The states of many rooms, in their order. Cost: one bulk read."""
        values = self._current.get_many(map(_ROOM, listed(rooms, "rooms")))
        return [_number(self._current.name, value) for value in values]

    @atomic
    def set_current(self, room: RoomId, state: ShortStateHash, count: Count | None = None) -> None:
        """Give the room a state, and its members what their events in it say.

        Args:
            room: need not have had one.
            state: stored by the compressor, best in the same transaction.
            count: when, if a count was drawn for what caused it.

        Source: Conduit, set_room_state and force_state.

        Raises:
            InvalidArgumentError: no such state; or a member event in it that is not stored.

        Cost: what is new in the state, not what was in it before.
        """
        old = self.current(room)
        if old != state:
            self._check(state)
            self._replace(room, old, state, self._drawn(count))

    def _drawn(self, count: Count | None) -> Count:
        """The count given, or one drawn now."""
        if count is None:
            return self._near.globals.draw()
        if not 0 < check_u64(count) <= self.keyspace.current_count():
            raise InvalidArgumentError(f"the count {count} was never drawn")
        return count

    @atomic
    def advance(
        self,
        room: RoomId,
        event: StoredEvent,
        before: ShortStateHash | None,
        after: ShortStateHash | None,
    ) -> None:
        """Let an event that was just stored follow its previous ones, with its states.

        It is for ``rooms.append``.
        """
        current = self.current(room)
        states = self._near.rooms.state_compressor
        for given in (before, after):
            if given is not None:
                self._check(given)
        base = current or before or states.save({})
        self._record(event.event_id, before or base)
        if after is None:
            key = _state_key(event.pdu)
            after = base if key is None else states.change(base, {key: event.event_id})
        if after != current:
            position = event.position or 0
            count = Count(position) if position > 0 else self._near.globals.draw()
            self._replace(room, current, after, count)
        for followed in ids_in(event.pdu, "prev_events"):
            self._leaves.put(_LEAF.pack(room, followed), None)
        self._leaves.put(_LEAF.pack(room, event.event_id), pack_text(event.event_id))

    def _replace(
        self, room: RoomId, old: ShortStateHash | None, new: ShortStateHash, count: Count
    ) -> None:
        self._current.put(_ROOM(room), pack_u64(new))
        short_room = self._near.rooms.short.number_room(room)
        self._history.put(_ROOM_COUNT.pack(short_room, count), pack_u64(new))
        self._move_members(room, old, new)

    def _move_members(self, room: RoomId, old: ShortStateHash | None, new: ShortStateHash) -> None:
        added, removed = self._changed_entries(old, new)
        keys, events = _halves(added)
        event_ids = self._near.rooms.short.event_id_many(events)
        for user, event_id in zip(self._users(keys), event_ids, strict=True):
            if user is not None:
                self._near.rooms.members.follow(user, room, self._member_event(event_id))
        told = set(keys)
        for user in self._users([key for key in _halves(removed)[0] if key not in told]):
            if user is not None:
                self._leave(user, room)

    def _changed_entries(
        self, old: ShortStateHash | None, new: ShortStateHash
    ) -> tuple[Collection[StateEntry], Collection[StateEntry]]:
        states = self._near.rooms.state_compressor
        if old is None:
            return states.entries(new), ()
        difference = states.between(old, new)
        return sorted(difference.added), sorted(difference.removed)

    def _users(self, keys: Sequence[ShortStateKey]) -> list[UserId | None]:
        """Whose membership each key is; None where it is something else."""
        names = self._near.rooms.short.state_key_id_many(keys)
        return [
            UserId(name[1]) if name is not None and name[0] == "m.room.member" else None
            for name in names
        ]

    def _member_event(self, event_id: EventId | None) -> JsonObject:
        event = None if event_id is None else self._near.rooms.timeline.get(event_id)
        if event is None:
            raise InvalidArgumentError(
                f"the state names {event_id}, which is not stored: add it as an outlier first"
            )
        return event.pdu

    def _leave(self, user: UserId, room: RoomId) -> None:
        """A state that says nothing of a user any more has them out of the room."""
        members = self._near.rooms.members
        if members.membership(user, room) not in (None, "leave"):
            members.mark_left(user, room)

    def _check(self, state: ShortStateHash) -> None:
        if not self._near.rooms.state_compressor.exists(state):
            raise InvalidArgumentError(f"there is no room state {shown(state)}")

    # Other times --------------------------------------------------------------------------------
    @consistent
    def at(self, room: RoomId, count: Count | PduCount) -> ShortStateHash | None:
        """The state a room had at a count; None where it had none yet.

        With the count of an event (its position) it is the state with that event; with one less,
        the state without it. Cost: one point of a range.
        Source: Conduit, get_token_shortstatehash, which finds only what it stored at each sync.
        """
        return self.at_many({room: count})[room]

    @consistent
    def at_many(
        self, counts: Mapping[RoomId, Count | PduCount]
    ) -> dict[RoomId, ShortStateHash | None]:
        """The states of many rooms, each :meth:`at` a count of its own.

        Cost: one bulk read, and one of as many points of ranges.
        """
        numbers = zip(counts, self._near.rooms.short.room_many(list(counts)), strict=True)
        bounds = {
            room: _ROOM_COUNT.counts(number, since=0, upto=counts[room])
            for room, number in numbers
            if number is not None
        }
        newest = self._history.ranges(bounds.values(), reverse=True, limit=1)
        found = {room: rows[0][1] for room, rows in zip(bounds, newest, strict=True) if rows}
        return {room: _number(self._history.name, found.get(room)) for room in counts}

    @atomic
    def set_before(self, event: EventId, state: ShortStateHash) -> None:
        """Record the state before an event, as its previous events have it.

        Source: Conduit, set_event_state.
        """
        self._check(state)
        self._record(event, state)

    def _record(self, event: EventId, before: ShortStateHash) -> None:
        short = self._near.rooms.short.number_event(event)
        self._before.put(pack_u64(short), pack_u64(before))

    @atomic
    def forget_before(self, event: EventId) -> bool:
        """Drop the state before an event that goes; False where none was recorded."""
        short = self._near.rooms.short.event(event)
        return short is not None and self._before.remove(pack_u64(short)) is not None

    @consistent
    def before(self, event: EventId) -> ShortStateHash | None:
        """The state before an event, if one was recorded. Source: Conduit, pdu_shortstatehash."""
        short = self._near.rooms.short.event(event)
        return (
            None if short is None else _number(self._before.name, self._before.get(pack_u64(short)))
        )

    # Forward extremities ------------------------------------------------------------------------
    def forward_extremities(self, room: RoomId) -> list[EventId]:
        """The events that a new one follows. Source: Conduit, get_forward_extremities."""
        return [_LEAF.unpack(key)[1] for key in self._leaves.keys(_LEAF.prefix(room))]

    def is_forward_extremity(self, room: RoomId, event: EventId) -> bool:
        """Whether a new event of the room follows this one. Cost: a point read."""
        return self._leaves.contains_key(_LEAF.pack(room, event))

    @atomic
    def set_forward_extremities(self, room: RoomId, events: Collection[EventId]) -> None:
        """Replace them. Source: Conduit, set_forward_extremities.

        Raises:
            InvalidArgumentError: none are given, or one that is not in the room's timeline.
        """
        if not events:
            raise InvalidArgumentError("a room needs the events that the next one follows")
        short_room = self._near.rooms.short.room(room)
        wanted = {_LEAF.pack(room, event): event for event in distinct(events, "events")}
        for key in [key for key in self._leaves.keys(_LEAF.prefix(room)) if key not in wanted]:
            self._leaves.put(key, None)
        for key, event in wanted.items():
            place = self._near.rooms.timeline.pdu_id(event)
            if place is None or place.short_room != short_room:
                raise InvalidArgumentError(f"{shown(event)} is not in the timeline of {room}")
            self._leaves.put(key, pack_text(event))


def _number(tree: str, value: bytes | None) -> ShortStateHash | None:
    return None if value is None else ShortStateHash(unpack_u64(tree, value))


def _halves(
    entries: Collection[StateEntry],
) -> tuple[list[ShortStateKey], list[ShortEventId]]:
    pairs = unpack_entries(entries)
    return [key for key, _ in pairs], [event for _, event in pairs]


def _state_key(pdu: JsonObject) -> StateKey | None:
    return (pdu["type"], pdu["state_key"]) if "state_key" in pdu else None
