"""Account data: the latest content by user and type, for one room or for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from conduitstore.codec.values import pack_json, unpack_json_object
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import prefix_end
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent, explained
from conduitstore.schema import TREES
from conduitstore.types import Count, JsonObject, RoomId, UserId

_DATA = TREES["roomuserdataid_accountdata"].key
_INDEX_KEY = TREES["roomusertype_roomuserdataid"].key
_INDEX = _INDEX_KEY.pack


class AccountData(Part[Near]):
    """Trees: ``roomuserdataid_accountdata``; ``roomusertype_roomuserdataid`` finds its rows.

    Where a room is asked for, None stands for the data that belongs to no room.
    """

    _data = TreeOf("roomuserdataid_accountdata")
    _index = TreeOf("roomusertype_roomuserdataid")

    @atomic
    def update(self, room: RoomId | None, user: UserId, type: str, content: JsonObject) -> Count:
        """Replace the content of one type. Cost: two writes and a removal.

        Source: Conduit, update, which draws the count before it looks at the content.
        """
        if not isinstance(content, dict):
            raise InvalidArgumentError("the content of account data is an object")
        event = pack_json({"type": type, "content": content})
        index_key = _INDEX(_scope(room), user, type)
        count = self._near.globals.draw()
        data_key = _DATA.pack(_scope(room), user, count, type)
        self._data.put(data_key, event)
        old_key = self._index.insert(index_key, data_key)
        if old_key is not None:
            self._data.put(old_key, None)
        return count

    @atomic
    def delete(self, room: RoomId | None, user: UserId, type: str) -> Count | None:
        """Empty the content of one type, which tells other clients; None if there is none.

        Source: the forks, delete. An empty object stands for what was deleted (MSC3391).
        """
        return self.update(room, user, type, {}) if self.get(room, user, type) else None

    @atomic
    def erase_user(self, user: UserId) -> int:
        """Drop all account data of a user, of every room; gives how many types it had.

        Cost: a step for each room in which anybody has some. Source: the forks, erase_user.
        """
        erased, start = 0, None
        while (row := next(self._index.keys(start=start, limit=1), None)) is not None:
            room = _INDEX_KEY.unpack(row)[0]
            for index_key, data_key in list(self._index.scan_prefix(_INDEX_KEY.prefix(room, user))):
                self._index.put(index_key, None)
                self._data.put(data_key, None)
                erased += 1
            start = prefix_end(_INDEX_KEY.prefix(room))
            if start is None:  # What belongs to no room comes last.
                break
        return erased

    @consistent
    def get(self, room: RoomId | None, user: UserId, type: str) -> JsonObject | None:
        """The content; None where it was never set. Cost: two point reads. Source: Conduit, get."""
        key = self._index.get(_INDEX(_scope(room), user, type))
        value = None if key is None else self._data.get(key)
        if value is None:
            return None
        content: JsonObject = _unpack(value)["content"]
        return content

    def changes_since(
        self, room: RoomId | None, user: UserId, since: Count, upto: Count
    ) -> list[tuple[Count, JsonObject]]:
        """What changed in (since, upto], oldest first: ``type`` and ``content``. Cost: one range.

        Source: Conduit, global_changes_since and room_changes_since.
        """
        return self._changes([(room, since)], user, upto)[0]

    @explained
    def changes_since_many(
        self, rooms: Mapping[RoomId, Count], user: UserId, upto: Count
    ) -> dict[RoomId, list[tuple[Count, JsonObject]]]:
        """:meth:`changes_since` of many rooms, each from a count of its own.

        Cost: one read of ranges.
        """
        return dict(zip(rooms, self._changes(rooms.items(), user, upto), strict=True))

    def _changes(
        self, rooms: Iterable[tuple[RoomId | None, Count]], user: UserId, upto: Count
    ) -> list[list[tuple[Count, JsonObject]]]:
        bounds = [_DATA.counts(_scope(room), user, since=since, upto=upto) for room, since in rooms]
        return [
            [(_DATA.unpack(key)[2], _unpack(value)) for key, value in rows]
            for rows in self._data.ranges(bounds)
        ]

    def last_count(self, room: RoomId | None, user: UserId) -> Count | None:
        """When the user's data last changed there; None where there is none. Cost: one seek.

        Source: the forks, last_count.
        """
        newest = self._data.keys(_DATA.prefix(_scope(room), user), reverse=True, limit=1)
        return next((_DATA.unpack(key)[2] for key in newest), None)


def _scope(room: RoomId | None) -> str:
    """The room in a key, where no room is an empty one."""
    if room == "":
        raise InvalidArgumentError("a room id must not be empty; None stands for no room")
    return "" if room is None else room


def _unpack(value: bytes) -> JsonObject:
    return unpack_json_object("roomuserdataid_accountdata", value, "type", "content")
