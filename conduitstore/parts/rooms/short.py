"""Short ids: numbers that stand for long ids repeated millions of times.

All kinds are drawn from the global counter, so none is 0 and no number stands for two things. The
two rows of a number are written in one commit, and transactions are serializable, so an id never
gets two numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from conduitstore.codec.values import pack_u64, unpack_text, unpack_u64
from conduitstore.kv import Tree
from conduitstore.parts.arguments import listed
from conduitstore.parts.part import Near, Part, TreeOf, atomic, explained
from conduitstore.schema import TREES
from conduitstore.types import EventId, RoomId, ShortEventId, ShortRoomId, ShortStateKey, StateKey

T = TypeVar("T")

_ROOM = TREES["roomid_shortroomid"].key.pack
_EVENT = TREES["eventid_shorteventid"].key.pack
_STATE_KEY = TREES["statekey_shortstatekey"].key


class Short(Part[Near]):
    """Trees, both ways each: for rooms, for events and for state keys."""

    _rooms = TreeOf("roomid_shortroomid")
    _room_ids = TreeOf("shortroomid_room")
    _events = TreeOf("eventid_shorteventid")
    _event_ids = TreeOf("shorteventid_eventid")
    _state_keys = TreeOf("statekey_shortstatekey")
    _state_key_ids = TreeOf("shortstatekey_statekey")

    def room(self, room: RoomId) -> ShortRoomId | None:
        """The room's number; None if it never had one. Source: Conduit, get_shortroomid."""
        return _number(self._rooms, _ROOM(room), ShortRoomId)

    @atomic
    def get_or_create_room(self, room: RoomId) -> ShortRoomId:
        """The room's number, drawn now if need be. Source: Conduit, get_or_create_shortroomid."""
        return self.number_room(room)

    def number_room(self, room: RoomId) -> ShortRoomId:
        """:meth:`get_or_create_room` for an operation that is inside a transaction already."""
        key = _ROOM(room)
        value = self._rooms.get(key) or self._create(self._rooms, self._room_ids, key)
        return ShortRoomId(unpack_u64(self._rooms.name, value))

    def rooms(self) -> list[RoomId]:
        """Every room with a number, by id. Cost: a full scan."""
        return [TREES["roomid_shortroomid"].key.unpack(key)[0] for key, _ in self._rooms]

    @explained
    def room_many(self, rooms: Sequence[RoomId]) -> list[ShortRoomId | None]:
        """The numbers of many rooms, in their order."""
        return _numbers(self._rooms, map(_ROOM, listed(rooms, "rooms")), ShortRoomId)

    def room_id(self, short: ShortRoomId) -> RoomId | None:
        """The room of a number; None for a number that is no room's.

        Source: tuwunel, get_roomid_from_short.
        """
        value = self._room_ids.get(pack_u64(short))
        return None if value is None else RoomId(unpack_text("shortroomid_room", value))

    def event(self, event: EventId) -> ShortEventId | None:
        """The event's number; None if it never had one. Source: the forks, get_shorteventid."""
        return _number(self._events, _EVENT(event), ShortEventId)

    @atomic
    def get_or_create_event(self, event: EventId) -> ShortEventId:
        """The event's number, drawn now if need be.

        Source: Conduit, get_or_create_shorteventid.
        """
        return self.number_event(event)

    def number_event(self, event: EventId) -> ShortEventId:
        """:meth:`get_or_create_event` for an operation that is inside a transaction already."""
        key = _EVENT(event)
        value = self._events.get(key) or self._create(self._events, self._event_ids, key)
        return ShortEventId(unpack_u64(self._events.name, value))

    @atomic
    def get_or_create_event_many(self, events: Iterable[EventId]) -> list[ShortEventId]:
        """The numbers of many events, in their order, in one commit.

        Source: the forks, multi_get_or_create_shorteventid.
        """
        keys = [_EVENT(event) for event in listed(events, "events")]
        return list(map(ShortEventId, self._get_or_create(self._events, self._event_ids, keys)))

    @explained
    def event_many(self, events: Iterable[EventId]) -> list[ShortEventId | None]:
        """The numbers of many events, in their order: :meth:`event`, in bulk."""
        return _numbers(self._events, map(_EVENT, listed(events, "events")), ShortEventId)

    @atomic
    def forget_event(self, event: EventId) -> bool:
        """Take an event's number back, for whoever knows that nothing names it; False for none.

        The number is not given out again; the event gets another one when it comes back.
        """
        value = self._events.remove(_EVENT(event))
        return value is not None and self._event_ids.remove(value) is not None

    def event_id(self, short: ShortEventId) -> EventId | None:
        """The event of a number; None for a number that is no event's.

        Source: Conduit, get_eventid_from_short, for which that is an error.
        """
        return self.event_id_many([short])[0]

    @explained
    def event_id_many(self, shorts: Sequence[ShortEventId]) -> list[EventId | None]:
        """The events of many numbers, in their order.

        Source: the forks, multi_get_eventid_from_short.
        """
        values = self._event_ids.get_many([pack_u64(short) for short in listed(shorts, "numbers")])
        return [
            None if value is None else EventId(unpack_text("shorteventid_eventid", value))
            for value in values
        ]

    def state_key(self, type: str, state_key: str) -> ShortStateKey | None:
        """The number of a type and state key; None proves that no state has it anywhere.

        Source: Conduit, get_shortstatekey.
        """
        return _number(self._state_keys, _STATE_KEY.pack(type, state_key), ShortStateKey)

    @explained
    def state_key_many(self, state_keys: Iterable[StateKey]) -> list[ShortStateKey | None]:
        """The numbers of many (type, state key), in their order; none is created."""
        keys = _state_keys(state_keys)
        return _numbers(self._state_keys, keys, ShortStateKey)

    @atomic
    def get_or_create_state_key(self, type: str, state_key: str) -> ShortStateKey:
        """The number of a type and state key, drawn now if need be.

        Source: Conduit, get_or_create_shortstatekey.
        """
        return self.get_or_create_state_key_many([(type, state_key)])[0]

    @atomic
    def get_or_create_state_key_many(self, state_keys: Iterable[StateKey]) -> list[ShortStateKey]:
        """The numbers of many (type, state key), in their order, in one commit."""
        keys = _state_keys(state_keys)
        shorts = self._get_or_create(self._state_keys, self._state_key_ids, keys)
        return list(map(ShortStateKey, shorts))

    def state_key_id(self, short: ShortStateKey) -> StateKey | None:
        """The (type, state key) of a number; None for a number that is no state key's.

        Source: Conduit, get_statekey_from_short, for which that is an error.
        """
        return self.state_key_id_many([short])[0]

    @explained
    def state_key_id_many(self, shorts: Sequence[ShortStateKey]) -> list[StateKey | None]:
        """The (type, state key) of many numbers, in their order.

        Source: the forks, multi_get_statekey_from_short.
        """
        values = self._state_key_ids.get_many(
            [pack_u64(short) for short in listed(shorts, "numbers")]
        )
        return [None if value is None else _state_key_of(value) for value in values]

    def _get_or_create(self, forward: Tree, reverse: Tree, keys: Sequence[bytes]) -> list[int]:
        found = dict(zip(keys, forward.get_many(keys), strict=True))
        numbers = {
            key: unpack_u64(forward.name, value or self._create(forward, reverse, key))
            for key, value in found.items()
        }
        return [numbers[key] for key in keys]

    def _create(self, forward: Tree, reverse: Tree, key: bytes) -> bytes:
        """Every tree back holds the very key of the tree there."""
        short = pack_u64(self._near.globals.draw())
        forward.put(key, short)
        reverse.put(short, key)
        return short


def _number(tree: Tree, key: bytes, kind: Callable[[int], T]) -> T | None:
    value = tree.get(key)
    return None if value is None else kind(unpack_u64(tree.name, value))


def _numbers(tree: Tree, keys: Iterable[bytes], kind: Callable[[int], T]) -> list[T | None]:
    values = tree.get_many(keys)
    return [None if value is None else kind(unpack_u64(tree.name, value)) for value in values]


def _state_key_of(value: bytes) -> StateKey:
    type, state_key = _STATE_KEY.unpack(value)
    return type, state_key


def _state_keys(state_keys: Iterable[StateKey]) -> list[bytes]:
    return [_STATE_KEY.pack(type, key) for type, key in listed(state_keys, "state keys")]
