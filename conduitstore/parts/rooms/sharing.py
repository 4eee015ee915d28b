"""Who shares a room with whom, and by way of which servers a room is reached.

Questions over memberships: what a user may see of another, which server has to be told, whose
appservice is concerned. They are answered from the members' trees, never from a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from conduitstore.codec.keys import encode_id
from conduitstore.codec.values import unpack_text
from conduitstore.errors import InvalidArgumentError
from conduitstore.parts.arguments import distinct
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent
from conduitstore.schema import TREES
from conduitstore.types import JsonObject, RoomId, ServerName, UserId

_ROOM = TREES["roomid_inviteviaservers"].key.pack
_ROUTES_MAX = 3
"""How many servers a link to a room names, as the specification suggests."""


class Memberships(Protocol):
    """Who is in which room."""

    def is_joined(self, user: UserId, room: RoomId) -> bool: ...
    def joined_members(self, room: RoomId) -> list[UserId]: ...
    def rooms_joined(self, user: UserId) -> list[RoomId]: ...
    def joined_among(self, user: UserId, rooms: Sequence[RoomId]) -> list[RoomId]: ...
    def server_among(self, server: ServerName, rooms: Sequence[RoomId]) -> list[RoomId]: ...
    def server_in_room(self, server: ServerName, room: RoomId) -> bool: ...
    def server_totals(self, room: RoomId) -> dict[ServerName, int]: ...


class StateAccess(Protocol):
    """What rooms say."""

    def power_levels(self, room: RoomId) -> JsonObject | None: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def members(self) -> Memberships: ...
    @property
    def state_accessor(self) -> StateAccess: ...


class Accounts(Protocol):
    """The server's own users."""

    def exists(self, user: UserId) -> bool: ...
    def is_deactivated(self, user: UserId) -> bool: ...


class SharingNear(Near, Protocol):
    """Members, power levels, accounts."""

    @property
    def rooms(self) -> RoomParts: ...
    @property
    def users(self) -> Accounts: ...


class Sharing(Part[SharingNear]):
    """Tree: ``roomid_inviteviaservers``."""

    _via = TreeOf("roomid_inviteviaservers")

    # Users --------------------------------------------------------------------------------------
    @consistent
    def shared_rooms(self, users: Iterable[UserId]) -> list[RoomId]:
        """The rooms that all of ``users`` are in; none where there are no users.

        Cost: the rooms of the first, looked up for each other one.
        Source: Conduit, get_shared_rooms, which panics for no users.
        """
        members, given = self._near.rooms.members, distinct(users, "users")
        rooms = members.rooms_joined(given[0]) if given else []
        for user in given[1:]:
            rooms = members.joined_among(user, rooms)
        return rooms

    def user_sees_user(self, user: UserId, other: UserId) -> bool:
        """Whether they share a room. Source: the forks, user_sees_user."""
        return bool(self.shared_rooms([user, other]))

    @consistent
    def local_members(self, room: RoomId, server: ServerName) -> list[UserId]:
        """Who of ``server`` is in the room. Cost: its members; nothing where the server is not in.

        Source: the forks, local_users_in_room.
        """
        members = self._near.rooms.members
        if not members.server_in_room(server, room):
            return []
        return [u for u in members.joined_members(room) if u.partition(":")[2] == server]

    @consistent
    def active_local_members(self, room: RoomId, server: ServerName) -> list[UserId]:
        """Likewise, only those with an account that is not deactivated.

        Source: Conduit, get_our_real_users; the forks, active_local_users_in_room.
        """
        users = self._near.users
        return [
            user
            for user in self.local_members(room, server)
            if users.exists(user) and not users.is_deactivated(user)
        ]

    @consistent
    def appservice_in_room(self, room: RoomId, bot: UserId, owns: Callable[[UserId], bool]) -> bool:
        """Whether an appservice has a user in the room.

        Args:
            room: the room.
            bot: the appservice's own user, asked about first.
            owns: whether a user is in its namespaces.

        Source: Conduit, appservice_in_room.
        """
        members = self._near.rooms.members
        return members.is_joined(bot, room) or any(map(owns, members.joined_members(room)))

    # Servers ------------------------------------------------------------------------------------
    @consistent
    def server_sees_user(self, server: ServerName, user: UserId) -> bool:
        """Whether someone of the server shares a room with the user.

        Source: the forks, server_sees_user.
        """
        members = self._near.rooms.members
        return bool(members.server_among(server, members.rooms_joined(user)))

    @consistent
    def servers_route_via(self, room: RoomId, total: int = _ROUTES_MAX) -> list[ServerName]:
        """The servers to name in a link to the room: of its most powerful user, then the fullest.

        Source: the forks, servers_route_via.
        """
        totals = self._near.rooms.members.server_totals(room)
        fullest = sorted(totals, key=lambda server: (-totals[server], server))
        powerful = self._most_powerful(room)
        first = [server for server in fullest if server == powerful]
        return [*first, *(server for server in fullest if server != powerful)][:total]

    def _most_powerful(self, room: RoomId) -> str | None:
        """The server of the user with the highest level above none."""
        levels = (self._near.rooms.state_accessor.power_levels(room) or {}).get("users")
        found = {
            user: level
            for user, level in (levels.items() if isinstance(levels, dict) else ())
            if type(level) is int and level > 0
        }
        best = max(found, key=lambda user: found[user], default=None)
        return None if best is None else best.partition(":")[2]

    def servers_invite_via(self, room: RoomId) -> list[ServerName]:
        """The servers to join an invite by. Source: the forks, servers_invite_via."""
        value = self._via.get(_ROOM(room))
        parts = [] if value is None else value.split(b"\xff")
        return [ServerName(unpack_text(self._via.name, part)) for part in parts]

    @atomic
    def add_servers_invite_via(self, room: RoomId, servers: Collection[ServerName]) -> None:
        """Add some, the newest first; each is kept once.

        Source: the forks, add_servers_invite_via.
        """
        given = distinct(servers, "servers")
        if not given:
            raise InvalidArgumentError("no servers are given")
        merged = dict.fromkeys([*given, *self.servers_invite_via(room)])
        self._via.put(_ROOM(room), b"\xff".join(map(encode_id, merged)))
