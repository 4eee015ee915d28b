"""The rooms that this server shows to everybody who looks for one."""

from __future__ import annotations

from conduitstore.codec.values import EMPTY
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import check_limit
from conduitstore.parts.part import Near, Part, TreeOf
from conduitstore.schema import TREES
from conduitstore.types import RoomId

_ROOM = TREES["publicroomids"].key


class Directory(Part[Near]):
    """Tree: ``publicroomids``."""

    _rooms = TreeOf("publicroomids")

    def set_public(self, room: RoomId) -> None:
        """Show the room. Source: Conduit, set_public."""
        self._rooms.put(_ROOM.pack(room), EMPTY)

    def set_not_public(self, room: RoomId) -> bool:
        """Show it no more; False where it was not shown. Source: Conduit, set_not_public."""
        return self._rooms.remove(_ROOM.pack(room)) is not None

    def is_public(self, room: RoomId) -> bool:
        """Whether the room is shown. Source: Conduit, is_public_room."""
        return self._rooms.contains_key(_ROOM.pack(room))

    def public_rooms(self, limit: int | None = None, after: RoomId | None = None) -> list[RoomId]:
        """The rooms shown, by id; a page of them where a ``limit`` is given.

        ``after`` is the last room of the page before. Cost: one range.
        Source: Conduit, public_rooms.
        """
        if check_limit(limit) == 0:
            raise InvalidArgumentError("a page has room for 1 room or more")
        start = None if after is None else _ROOM.pack(after) + b"\0"
        return [_ROOM.unpack(key)[0] for key in self._rooms.keys(limit=limit, start=start)]
