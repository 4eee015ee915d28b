"""What a room state says: the events in it, one or many or all, and what they contain.

A state is given by its number (``rooms.state`` knows which one a room has, had at a token, and had
before an event); the operations that begin with ``room_``, and the getters of well-known content,
take a room and look at its current state. An event that is in the state but not in the store is
left out; its id is not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol, TypeVar

from conduitstore.codec.states import unpack_entries
from conduitstore.errors import CorruptedError
from conduitstore.parts.part import Near, Part, consistent
from conduitstore.types import (
    Count,
    EventId,
    JsonObject,
    RoomId,
    ShortEventId,
    ShortStateHash,
    ShortStateKey,
    StateEntry,
    StateKey,
    StoredEvent,
    UserId,
)

K = TypeVar("K")
V = TypeVar("V")
Wanted = Callable[[StateKey], bool] | None
"""Of which events one wants to know; None: of all."""


class ShortIds(Protocol):
    """Numbers and what they stand for."""

    def event_id_many(self, shorts: Sequence[ShortEventId]) -> list[EventId | None]: ...
    def state_key_many(self, state_keys: Iterable[StateKey]) -> list[ShortStateKey | None]: ...
    def state_key_id_many(self, shorts: Sequence[ShortStateKey]) -> list[StateKey | None]: ...


class Difference(Protocol):
    """What one state has and another lacks, and the other way round."""

    @property
    def added(self) -> AbstractSet[StateEntry]: ...
    @property
    def removed(self) -> AbstractSet[StateEntry]: ...


class States(Protocol):
    """The states themselves."""

    def entries(self, state: ShortStateHash) -> list[StateEntry]: ...
    def entries_many(self, states: Sequence[ShortStateHash]) -> list[list[StateEntry]]: ...
    def between(self, old: ShortStateHash, new: ShortStateHash) -> Difference: ...
    def lookup_each(
        self, asked: Sequence[tuple[ShortStateHash, Sequence[ShortStateKey]]]
    ) -> list[list[ShortEventId | None]]: ...


class RoomStates(Protocol):
    """Which state a room has."""

    def current(self, room: RoomId) -> ShortStateHash | None: ...
    def at(self, room: RoomId, count: Count) -> ShortStateHash | None: ...


class Timelines(Protocol):
    """Events."""

    def get_many(self, event_ids: Iterable[EventId]) -> list[StoredEvent | None]: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def short(self) -> ShortIds: ...
    @property
    def state(self) -> RoomStates: ...
    @property
    def state_compressor(self) -> States: ...
    @property
    def timeline(self) -> Timelines: ...


class AccessorNear(Near, Protocol):
    """Where states, their events and the ids of both are."""

    @property
    def rooms(self) -> RoomParts: ...


@dataclass(frozen=True, slots=True)
class StateChanges:
    """What became of a state.

    Attributes:
        changed: events that are new under their (type, state key), in place of others or not.
        removed: what is not there any more, with the event that was.
    """

    changed: dict[StateKey, EventId]
    removed: dict[StateKey, EventId]


class StateAccessor(Part[AccessorNear]):
    """No trees of its own. Any state that does not exist is an :class:`InvalidArgumentError`."""

    # All of a state -----------------------------------------------------------------------------
    def full_short_ids(self, state: ShortStateHash) -> dict[ShortStateKey, ShortEventId]:
        """All of a state as numbers. Source: the forks, state_full_shortids."""
        return dict(unpack_entries(self._near.rooms.state_compressor.entries(state)))

    @consistent
    def full_ids(self, state: ShortStateHash, wanted: Wanted = None) -> dict[StateKey, EventId]:
        """All of a state, or what is ``wanted`` of it.

        Source: Conduit, state_full_ids; the forks, state_keys_with_ids.
        """
        return self.full_ids_many([(state, wanted)])[0]

    @consistent
    def full_ids_many(
        self, states: Sequence[tuple[ShortStateHash, Wanted]]
    ) -> list[dict[StateKey, EventId]]:
        """:meth:`full_ids` of many states, in their order, of each what is wanted of it.

        Cost: up to six bulk reads.
        """
        entries = self._near.rooms.state_compressor.entries_many([state for state, _ in states])
        return self._named(list(zip(entries, [wanted for _, wanted in states], strict=True)))

    @consistent
    def full(self, state: ShortStateHash) -> dict[StateKey, StoredEvent]:
        """All of a state with its events. Source: Conduit, state_full."""
        return self._loaded(self.full_ids(state))

    @consistent
    def state_keys(self, state: ShortStateHash, type: str) -> dict[str, EventId]:
        """The events of one type by state key. Cost: all of the state.

        Source: the forks, state_keys, state_contains_type.
        """
        return {key[1]: event for key, event in self.full_ids(state).items() if key[0] == type}

    # Some of it ---------------------------------------------------------------------------------
    @consistent
    def event_id_many(
        self, state: ShortStateHash, keys: Sequence[StateKey]
    ) -> list[EventId | None]:
        """The events under some (type, state key), in their order; None where there is none.

        Cost: four bulk or point reads more than one event takes, however large the state is.
        """
        return self.event_id_each([(state, keys)])[0]

    @consistent
    def event_id_each(
        self, asked: Sequence[tuple[ShortStateHash, Sequence[StateKey]]]
    ) -> list[list[EventId | None]]:
        """:meth:`event_id_many` in each of many states, in their order.

        Cost: up to six bulk reads.
        """
        rooms = self._near.rooms
        numbers = _by_value(rooms.short.state_key_many, [key for _, keys in asked for key in keys])
        known = [
            (state, [number for key in keys if (number := numbers[key]) is not None])
            for state, keys in asked
        ]
        events = rooms.state_compressor.lookup_each(known)
        ids = _by_value(rooms.short.event_id_many, [e for some in events for e in some if e])
        found = [
            {key: ids[event] for key, event in zip(keys, some, strict=True) if event}
            for (_, keys), some in zip(known, events, strict=True)
        ]
        return [
            [None if (number := numbers[key]) is None else here.get(number) for key in keys]
            for (_, keys), here in zip(asked, found, strict=True)
        ]

    def event_id(self, state: ShortStateHash, type: str, state_key: str) -> EventId | None:
        """The event under a type and state key. Source: Conduit, state_get_id."""
        return self.event_id_many(state, [(type, state_key)])[0]

    def contains(self, state: ShortStateHash, type: str, state_key: str) -> bool:
        """Whether there is one. Source: the forks, state_contains."""
        return self.event_id(state, type, state_key) is not None

    @consistent
    def get_many(
        self, state: ShortStateHash, keys: Sequence[StateKey]
    ) -> dict[StateKey, StoredEvent]:
        """The events under some (type, state key), for those that have one.

        Made for lazy loading: the members who speak on a page, at once.
        """
        ids = zip(keys, self.event_id_many(state, keys), strict=True)
        return self._loaded({key: event for key, event in ids if event is not None})

    def get(self, state: ShortStateHash, type: str, state_key: str) -> StoredEvent | None:
        """The event under a type and state key. Source: Conduit, state_get."""
        return self.get_many(state, [(type, state_key)]).get((type, state_key))

    def content(self, state: ShortStateHash, type: str, state_key: str) -> JsonObject | None:
        """That event's content. Source: the forks, state_get_content."""
        return _content(self.get(state, type, state_key))

    # What changed -------------------------------------------------------------------------------
    @consistent
    def changes(self, old: ShortStateHash | None, new: ShortStateHash | None) -> StateChanges:
        """What became of one state in another; None stands for the empty one.

        Cost: what differs, not what the two share. Source: the forks, state_added, state_removed.
        """
        if old is None or new is None:
            changed = {} if new is None else self.full_ids(new)
            return StateChanges(changed, {} if old is None else self.full_ids(old))
        difference = self._near.rooms.state_compressor.between(old, new)
        sides = [(sorted(difference.added), None), (sorted(difference.removed), None)]
        changed, removed = self._named(sides)
        return StateChanges(changed, {k: e for k, e in removed.items() if k not in changed})

    @consistent
    def changes_since(self, room: RoomId, since: Count, upto: Count) -> StateChanges:
        """What became of a room's state in (since, upto]: the state delta of a sync.

        With ``upto`` one below a timeline's first event it is what came before that timeline.
        """
        state = self._near.rooms.state
        return self.changes(state.at(room, since), state.at(room, upto))

    # A room's current state ---------------------------------------------------------------------
    @consistent
    def room_full(self, room: RoomId) -> dict[StateKey, StoredEvent]:
        """All of it; empty for a room without. Source: Conduit, room_state_full."""
        state = self._near.rooms.state.current(room)
        return {} if state is None else self.full(state)

    @consistent
    def room_event_id(self, room: RoomId, type: str, state_key: str) -> EventId | None:
        """The event under a type and state key now. Source: Conduit, room_state_get_id."""
        state = self._near.rooms.state.current(room)
        return None if state is None else self.event_id(state, type, state_key)

    @consistent
    def room_get_many(self, room: RoomId, keys: Sequence[StateKey]) -> dict[StateKey, StoredEvent]:
        """Like :meth:`get_many`."""
        state = self._near.rooms.state.current(room)
        return {} if state is None else self.get_many(state, keys)

    def room_get(self, room: RoomId, type: str, state_key: str) -> StoredEvent | None:
        """The event under a type and state key now. Source: Conduit, room_state_get."""
        return self.room_get_many(room, [(type, state_key)]).get((type, state_key))

    def room_content(self, room: RoomId, type: str, state_key: str) -> JsonObject | None:
        """That event's content. Source: the forks, room_state_get_content."""
        return _content(self.room_get(room, type, state_key))

    # Well-known content -------------------------------------------------------------------------
    def member(self, room: RoomId, user: UserId) -> JsonObject | None:
        """A user's member content: name and avatar in the room. Source: the forks, get_member."""
        return self.room_content(room, "m.room.member", user)

    def is_encrypted(self, room: RoomId) -> bool:
        """Whether it says that it is encrypted. Source: the forks, is_encrypted_room."""
        return self.room_event_id(room, "m.room.encryption", "") is not None

    def name(self, room: RoomId) -> str | None:
        """The room's name. Source: the forks, get_name."""
        return self._text(room, "m.room.name", "name")

    def topic(self, room: RoomId) -> str | None:
        """What the room is about. Source: the forks, get_room_topic."""
        return self._text(room, "m.room.topic", "topic")

    def avatar(self, room: RoomId) -> str | None:
        """The room's picture, as an mxc:// address. Source: the forks, get_avatar."""
        return self._text(room, "m.room.avatar", "url")

    def canonical_alias(self, room: RoomId) -> str | None:
        """The alias the room wants to be called by. Source: the forks, get_canonical_alias."""
        return self._text(room, "m.room.canonical_alias", "alias")

    def room_type(self, room: RoomId) -> str | None:
        """What kind of room: ``m.space``, or None for a plain one.

        Source: the forks, get_room_type.
        """
        return self._text(room, "m.room.create", "type")

    def room_version(self, room: RoomId) -> str | None:
        """The rules the room goes by; None for a room without a create event."""
        create = self.room_content(room, "m.room.create", "")
        return None if create is None else str(create.get("room_version", "1"))

    def join_rule(self, room: RoomId) -> str | None:
        """Who may come in. Source: the forks, get_join_rules."""
        return self._text(room, "m.room.join_rules", "join_rule")

    def history_visibility(self, room: RoomId) -> str:
        """Who may read back; where nothing is said, ``shared``, as the specification has it."""
        return self._text(room, "m.room.history_visibility", "history_visibility") or "shared"

    def guest_can_join(self, room: RoomId) -> bool:
        """Whether guests may come in. Source: the forks, guest_can_join."""
        return self._text(room, "m.room.guest_access", "guest_access") == "can_join"

    def power_levels(self, room: RoomId) -> JsonObject | None:
        """Who may do what, as the room says; None where it says nothing."""
        return self.room_content(room, "m.room.power_levels", "")

    def _text(self, room: RoomId, type: str, field: str) -> str | None:
        """Clients write these: what is no text, or empty, is nothing."""
        found = (self.room_content(room, type, "") or {}).get(field)
        return found if isinstance(found, str) and found else None

    # Loading ------------------------------------------------------------------------------------
    def _named(
        self, parts: Sequence[tuple[Collection[StateEntry], Wanted]]
    ) -> list[dict[StateKey, EventId]]:
        """The ids in some entries, of those that are wanted."""
        pairs = [unpack_entries(entries) for entries, _ in parts]
        short = self._near.rooms.short
        keys = _known(short.state_key_id_many, [key for some in pairs for key, _ in some])
        chosen = [
            [(keys[key], event) for key, event in some if wanted is None or wanted(keys[key])]
            for some, (_, wanted) in zip(pairs, parts, strict=True)
        ]
        events = _known(short.event_id_many, [event for some in chosen for _, event in some])
        return [{key: events[event] for key, event in some} for some in chosen]

    def _loaded(self, events: Mapping[StateKey, EventId]) -> dict[StateKey, StoredEvent]:
        if not events:
            return {}
        loaded = self._near.rooms.timeline.get_many(events.values())
        return {key: event for key, event in zip(events, loaded, strict=True) if event is not None}


def _content(event: StoredEvent | None) -> JsonObject | None:
    return None if event is None else event.pdu["content"]


def _by_value(ask: Callable[[list[K]], list[V]], asked: Iterable[K]) -> dict[K, V]:
    """What a bulk read gives for each of these, asked for once."""
    wanted = list(dict.fromkeys(asked))
    return dict(zip(wanted, ask(wanted) if wanted else [], strict=True))


def _known(ask: Callable[[list[K]], list[V | None]], numbers: list[K]) -> dict[K, V]:
    """The ids of numbers that are in states, which all have one."""
    found = {number: id for number, id in _by_value(ask, numbers).items() if id is not None}
    if len(set(found.values())) != len(set(numbers)):
        raise CorruptedError("shortstatehash_statediff", 0, "it holds numbers of no id")
    return found
