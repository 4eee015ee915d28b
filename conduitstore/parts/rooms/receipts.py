"""How far users have read: public receipts, and private markers only they see.

- Receipts never go back: one for an event at or before the one it would replace is refused, and
  the answer is None. Where either event is in no timeline here, nobody can tell: the later call
  wins.
- One receipt, or marker, stands for the whole room or for one thread: its root, or ``"main"`` for
  what is in none. Each is kept beside the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from conduitstore.codec.keys import check_u64
from conduitstore.codec.values import pack_json_object, pack_u64, unpack_json_object, unpack_u64
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Tree, prefix_end
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent, explained
from conduitstore.schema import TREES
from conduitstore.types import (
    Count,
    EventId,
    JsonObject,
    PduCount,
    Receipt,
    RoomId,
    ThreadId,
    UserId,
)

_RECEIPT = TREES["readreceiptid_readreceipt"].key
_MEMBER = TREES["roomuserid_privateread"].key.pack
_THREAD = TREES["roomuserthreadid_readreceiptid"].key
_NEWEST = TREES["roomuserthreadid_readreceiptid"].value_fields
_MARKER = TREES["roomuserthreadid_privateread"].value_fields
_WHOLE_ROOM = ""


@dataclass(frozen=True, slots=True)
class PrivateRead:
    """A private marker.

    Attributes:
        thread: None where it stands for the whole room.
        read_upto: the count of the event it is at.
        moved: when it came there.
    """

    thread: ThreadId | None
    read_upto: Count
    moved: Count


class Positions(Protocol):
    """Where events are."""

    def position(self, event_id: EventId) -> PduCount | None: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def timeline(self) -> Positions: ...


class ReceiptsNear(Near, Protocol):
    """The timeline that says which event is the later one."""

    @property
    def rooms(self) -> RoomParts: ...


class Receipts(Part[ReceiptsNear]):
    """Trees: ``readreceiptid_readreceipt``, ``roomuserid_privateread`` and those that find them.

    A user has at most one receipt row for a room, and one for each of its threads.
    """

    _receipts = TreeOf("readreceiptid_readreceipt")
    _newest = TreeOf("roomuserthreadid_readreceiptid")
    _private = TreeOf("roomuserid_privateread")
    _private_updates = TreeOf("roomuserid_lastprivatereadupdate")
    _private_threads = TreeOf("roomuserthreadid_privateread")

    # Public -------------------------------------------------------------------------------------
    @atomic
    def update(self, user: UserId, room: RoomId, event: JsonObject) -> Count | None:
        """Replace the user's receipt for the room, or for the thread that the event names.

        ``event`` is an ``m.receipt`` event with one event id and, under its ``m.read``, this user.

        Returns:
            When it changed; None, and no change, where the receipt there is not older.

        Cost: two point writes, a removal, and two positions. Conduit finds the old row by scanning
        the room. Source: Conduit, readreceipt_update. That it says so is tuwunel's.
        """
        value = pack_json_object(event)
        event_id, thread = read_in(event, user)
        key = _THREAD.pack(room, user, thread)
        old = self._newest.get(key)
        if old is not None:
            old_count, old_event = _NEWEST.unpack(old)
            if not self._is_later(event_id, old_event):
                return None
            self._receipts.put(_RECEIPT.pack(room, old_count, user), None)
        count = self._near.globals.draw()
        self._receipts.put(_RECEIPT.pack(room, count, user), value)
        self._newest.put(key, _NEWEST.pack(count, event_id))
        return count

    def _is_later(self, event: EventId, than: EventId) -> bool:
        if event == than:
            return False
        timeline = self._near.rooms.timeline
        old, new = timeline.position(than), timeline.position(event)
        return old is None or new is None or new > old

    @explained
    def since(self, room: RoomId, since: Count, upto: Count) -> list[Receipt]:
        """Receipts that changed in (since, upto], oldest first. Cost: one range.

        Source: Conduit, readreceipts_since.
        """
        return self.since_many({room: since}, upto)[room]

    @explained
    def since_many(self, rooms: Mapping[RoomId, Count], upto: Count) -> dict[RoomId, list[Receipt]]:
        """:meth:`since` of many rooms, each from a count of its own. Cost: one read of ranges."""
        bounds = [_RECEIPT.counts(room, since=since, upto=upto) for room, since in rooms.items()]
        return {
            room: [_receipt(key, value) for key, value in rows]
            for room, rows in zip(rooms, self._receipts.ranges(bounds), strict=True)
        }

    def newest(
        self, user: UserId, room: RoomId, thread: ThreadId | None = None
    ) -> tuple[Count, EventId] | None:
        """When the user's receipt changed, and the event it is at. Cost: a point read."""
        value = self._newest.get(_THREAD.pack(room, user, _scope(thread)))
        if value is None:
            return None
        count, event = _NEWEST.unpack(value)
        return count, event

    # Private ------------------------------------------------------------------------------------
    @atomic
    def set_private_read(
        self,
        user: UserId,
        room: RoomId,
        read_upto: Count | PduCount,
        thread: ThreadId | None = None,
    ) -> Count | None:
        """Move the user's private marker forward, to the event at ``read_upto``.

        A backfilled event has no count and cannot be marked: the marker is behind it anyway.

        Returns:
            When it moved; None, and no change, where it is there or further already.

        Source: Conduit, private_read_set. Threads are tuwunel's.
        """
        check_u64(read_upto)
        before = self.private_read(user, room, thread)
        if before is not None and read_upto <= before:
            return None
        moved = self._near.globals.draw()
        if thread is None:
            key = _MEMBER(room, user)
            self._private.put(key, pack_u64(read_upto))
            self._private_updates.put(key, pack_u64(moved))
        else:
            key = _THREAD.pack(room, user, _scope(thread))
            self._private_threads.put(key, _MARKER.pack(read_upto, moved))
        return moved

    def private_read(
        self, user: UserId, room: RoomId, thread: ThreadId | None = None
    ) -> Count | None:
        """The count of the event the private marker is at; None where there is no marker.

        Source: Conduit, private_read_get.
        """
        if thread is None:
            return _count(self._private, _MEMBER(room, user))
        value = self._private_threads.get(_THREAD.pack(room, user, _scope(thread)))
        return None if value is None else Count(_MARKER.unpack(value)[0])

    def last_private_read_update(self, user: UserId, room: RoomId) -> Count:
        """When the marker of the whole room last moved; 0 if never.

        Source: Conduit, last_privateread_update; the forks, private_read_get_count.
        """
        return _count(self._private_updates, _MEMBER(room, user)) or Count(0)

    @consistent
    def private_since(
        self, user: UserId, room: RoomId, since: Count, upto: Count
    ) -> list[PrivateRead]:
        """The user's markers that moved in (since, upto], oldest first.

        Source: tuwunel, private_read_threaded_stream.
        """
        return self.private_since_many(user, {room: since}, upto)[room]

    @consistent
    def private_since_many(
        self, user: UserId, rooms: Mapping[RoomId, Count], upto: Count
    ) -> dict[RoomId, list[PrivateRead]]:
        """:meth:`private_since` of many rooms, each from a count of its own.

        Cost: two bulk reads and one of ranges, over the threads that the user marked there.
        """
        for count in (*rooms.values(), upto):
            check_u64(count)
        found = self._thread_markers(user, rooms)
        for room, marker in self._room_markers(user, rooms):
            found[room].append(marker)
        return {
            room: sorted([m for m in found[room] if since < m.moved <= upto], key=_when)
            for room, since in rooms.items()
        }

    def _thread_markers(
        self, user: UserId, rooms: Iterable[RoomId]
    ) -> dict[RoomId, list[PrivateRead]]:
        prefixes = [_THREAD.prefix(room, user) for room in rooms]
        found = self._private_threads.ranges([(start, prefix_end(start)) for start in prefixes])
        return {
            room: [PrivateRead(_THREAD.unpack(key)[2], *_MARKER.unpack(row)) for key, row in rows]
            for room, rows in zip(rooms, found, strict=True)
        }

    def _room_markers(
        self, user: UserId, rooms: Iterable[RoomId]
    ) -> Iterator[tuple[RoomId, PrivateRead]]:
        keys = {room: _MEMBER(room, user) for room in rooms}
        places = zip(keys, _counts(self._private, keys.values()), strict=True)
        marked = {room: place for room, place in places if place is not None}
        moves = _counts(self._private_updates, [keys[room] for room in marked])
        for (room, place), moved in zip(marked.items(), moves, strict=True):
            yield room, PrivateRead(None, place, moved or Count(0))


def read_in(event: JsonObject, user: UserId) -> tuple[EventId, str]:
    """The event that ``user`` read, and the thread as a key has it."""
    content = event.get("content")
    if not isinstance(content, dict) or len(content) != 1:
        raise InvalidArgumentError("the content of a receipt is an object with one event id")
    ((event_id, readers),) = content.items()
    read = readers.get("m.read") if isinstance(readers, dict) else None
    detail = read.get(user) if isinstance(read, dict) and isinstance(user, str) else None
    if not isinstance(detail, dict):
        raise InvalidArgumentError("a receipt says under m.read, in an object, who read the event")
    return event_id, _scope(detail.get("thread_id"))


def _scope(thread: ThreadId | None) -> str:
    """The thread in a key, where the whole room is empty text."""
    if thread == _WHOLE_ROOM:
        raise InvalidArgumentError("a thread id must not be empty; None stands for the whole room")
    return _WHOLE_ROOM if thread is None else thread


def _count(tree: Tree, key: bytes) -> Count | None:
    return _counts(tree, [key])[0]


def _counts(tree: Tree, keys: Iterable[bytes]) -> list[Count | None]:
    values = tree.get_many(keys)
    return [None if value is None else Count(unpack_u64(tree.name, value)) for value in values]


def _when(marker: PrivateRead) -> Count:
    return marker.moved


def _receipt(key: bytes, value: bytes) -> Receipt:
    _, count, user = _RECEIPT.unpack(key)
    event = unpack_json_object("readreceiptid_readreceipt", value)
    event.pop("room_id", None)
    return Receipt(user, count, event)
