"""What this server has decided about rooms, and whether it knows them at all."""

from __future__ import annotations

from typing import Protocol

from conduitstore.codec.keys import check_u64, encode_id
from conduitstore.codec.values import EMPTY, pack_text, pack_u64, unpack_text, unpack_u64
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import PduCount, RoomId, UserId

_ROOM = TREES["roomid_mindepth"].key


class RoomIds(Protocol):
    """Every room with a number."""

    def rooms(self) -> list[RoomId]: ...


class Positions(Protocol):
    """The ends of timelines."""

    def last_position(self, room: RoomId) -> PduCount: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def short(self) -> RoomIds: ...
    @property
    def timeline(self) -> Positions: ...


class MetadataNear(Near, Protocol):
    """The short ids and timelines that make a room known."""

    @property
    def rooms(self) -> RoomParts: ...


class Metadata(Part[MetadataNear]):
    """Trees: ``disabledroomids``, ``bannedroomids``, ``roomid_mindepth``."""

    _disabled = TreeOf("disabledroomids")
    _banned = TreeOf("bannedroomids")
    _min_depths = TreeOf("roomid_mindepth")

    # Known rooms --------------------------------------------------------------------------------
    def exists(self, room: RoomId) -> bool:
        """Whether there is an event of the room. Cost: a point read and the end of a range.

        Source: Conduit, exists.
        """
        return self._near.rooms.timeline.last_position(room) != 0

    def all(self) -> list[RoomId]:
        """Every room with a number, also those somebody is only invited to; by id.

        Cost: a full scan. Source: Conduit, iter_ids.
        """
        return self._near.rooms.short.rooms()

    # Disabled: no federation for it -------------------------------------------------------------
    def disable(self, room: RoomId) -> None:
        """Have nothing to do with the room. Source: Conduit, disable_room."""
        self._disabled.put(_ROOM.pack(room), EMPTY)

    def enable(self, room: RoomId) -> bool:
        """Take part in it again; False where it was not disabled.

        Source: Conduit, disable_room; the forks, enable_room.
        """
        return self._disabled.remove(_ROOM.pack(room)) is not None

    def is_disabled(self, room: RoomId) -> bool:
        """Whether it was disabled. Source: Conduit, is_disabled."""
        return self._disabled.contains_key(_ROOM.pack(room))

    # Banned: nobody here may join it ------------------------------------------------------------
    def ban(self, room: RoomId, moderator: UserId | None = None) -> None:
        """Let no local user join. Source: the forks, ban_room. Who did it is tuwunel's."""
        if moderator is not None:
            encode_id(moderator)
        self._banned.put(_ROOM.pack(room), EMPTY if moderator is None else pack_text(moderator))

    def unban(self, room: RoomId) -> bool:
        """Let them again; False where the room was not banned. Source: the forks, unban_room."""
        return self._banned.remove(_ROOM.pack(room)) is not None

    def is_banned(self, room: RoomId) -> bool:
        """Whether it was banned. Source: the forks, is_banned."""
        return self._banned.contains_key(_ROOM.pack(room))

    def banned(self) -> dict[RoomId, UserId | None]:
        """The banned rooms by id, each with the moderator where one was named.

        Cost: a full scan. Source: the forks, list_banned_rooms and banned_room_blocker.
        """
        return {
            _ROOM.unpack(key)[0]: UserId(unpack_text("bannedroomids", value)) if value else None
            for key, value in self._banned
        }

    # Depth --------------------------------------------------------------------------------------
    def min_depth(self, room: RoomId) -> int | None:
        """The lowest depth of an event seen; None before the first.

        Source: the forks, get_mindepth.
        """
        value = self._min_depths.get(_ROOM.pack(room))
        return None if value is None else unpack_u64("roomid_mindepth", value)

    @atomic
    def lower_min_depth(self, room: RoomId, depth: int) -> bool:
        """Note an event's depth; False, and no change, where it is not the lowest.

        Source: continuwuity, maybe_set_mindepth.
        """
        check_u64(depth)
        lowest = self.min_depth(room)
        if lowest is not None and depth >= lowest:
            return False
        self._min_depths.put(_ROOM.pack(room), pack_u64(depth))
        return True
