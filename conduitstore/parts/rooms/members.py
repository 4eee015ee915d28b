"""Who is in which room, invited to it, knocking on it, or has left it.

- Exactly one of the four holds for a user and a room, or none after :meth:`Members.forget`.
- Each has a tree by user and a tree by room with the same rows: one move is one commit.
- Totals and server sets follow each move by a step of one; no member is ever counted again.
- Every move draws a count, joins too, so that a sync can tell what is new. (Conduit draws none for
  a join and keeps an empty value; the count as its value is tuwunel's layout.)
"""

from __future__ import annotations

from collections.abc import Sequence

from conduitstore.codec.events import membership_in, stripped_state_in
from conduitstore.codec.ids import server_of
from conduitstore.codec.keys import check_u64
from conduitstore.codec.values import EMPTY, pack_json_objects, pack_u64, unpack_json, unpack_u64
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import Tree, prefix_end
from conduitstore.parts.arguments import listed
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent, explained
from conduitstore.parts.totals import add_to_total, total_in, totals_in
from conduitstore.schema import TREES
from conduitstore.types import (
    Count,
    JsonObject,
    Membership,
    RoomChange,
    RoomId,
    ServerName,
    UserId,
)

_BY_USER = TREES["userroomid_joined"].key
_BY_ROOM = TREES["roomuserid_joined"].key
_ROOM = TREES["roomid_joinedcount"].key.pack
_ROOM_SERVER = TREES["roomserverids"].key
_SERVER_ROOM = TREES["serverroomids"].key


class Members(Part[Near]):
    """Trees: a ``userroomid_`` and a ``roomuserid_`` tree for each of join, invite, knock, leave.

    Also ``roomuseroncejoinedids``, the totals ``roomid_joinedcount``, ``roomid_invitedcount`` and
    ``roomid_knockedcount``, and ``roomserverids``, ``serverroomids`` with their
    ``roomserverid_joinedcount``.
    """

    _joined = TreeOf("userroomid_joined")
    _joined_counts = TreeOf("roomuserid_joined")
    _invited = TreeOf("userroomid_invitestate")
    _invited_counts = TreeOf("roomuserid_invitecount")
    _knocked = TreeOf("userroomid_knockstate")
    _knocked_counts = TreeOf("roomuserid_knockcount")
    _left = TreeOf("userroomid_leftstate")
    _left_counts = TreeOf("roomuserid_leftcount")
    _once_joined = TreeOf("roomuseroncejoinedids")
    _joined_totals = TreeOf("roomid_joinedcount")
    _invited_totals = TreeOf("roomid_invitedcount")
    _knocked_totals = TreeOf("roomid_knockedcount")
    _room_servers = TreeOf("roomserverids")
    _server_rooms = TreeOf("serverroomids")
    _server_totals = TreeOf("roomserverid_joinedcount")

    def _trees(self, membership: Membership) -> tuple[Tree, Tree]:
        """By user, and by room with the count."""
        match membership:
            case "join":
                return self._joined, self._joined_counts
            case "invite":
                return self._invited, self._invited_counts
            case "knock":
                return self._knocked, self._knocked_counts
            case "leave":
                return self._left, self._left_counts

    # Moves --------------------------------------------------------------------------------------
    @atomic
    def mark_joined(self, user: UserId, room: RoomId) -> Count:
        """The user is in the room; for one who is already, nothing changes.

        Returns:
            The count of the join. A new profile is no new join.

        Source: Conduit, mark_as_joined and mark_as_once_joined.
        """
        joined = self._joined.get(_BY_USER.pack(user, room))
        if joined is not None:
            return Count(unpack_u64("userroomid_joined", joined))
        self._once_joined.put(_BY_ROOM.pack(room, user), EMPTY)
        return self._move(user, room, "join", None)

    @atomic
    def mark_invited(
        self, user: UserId, room: RoomId, stripped_state: Sequence[JsonObject] = ()
    ) -> Count:
        """The user has an open invite, shown with ``stripped_state``.

        Source: Conduit, mark_as_invited.
        """
        return self._move(user, room, "invite", pack_json_objects(stripped_state))

    @atomic
    def mark_knocked(
        self, user: UserId, room: RoomId, stripped_state: Sequence[JsonObject] = ()
    ) -> Count:
        """The user asks to be let in. Source: Conduit, mark_as_knocked."""
        return self._move(user, room, "knock", pack_json_objects(stripped_state))

    @atomic
    def mark_left(self, user: UserId, room: RoomId, events: Sequence[JsonObject] = ()) -> Count:
        """The user left, was kicked, banned or refused.

        ``events`` are kept for the user to see, at least the one that removed them.
        Source: Conduit, mark_as_left, which keeps none.
        """
        return self._move(user, room, "leave", pack_json_objects(events))

    @atomic
    def follow(self, user: UserId, room: RoomId, event: JsonObject) -> None:
        """Move the user to what a member event says of them.

        An invite or a knock brings the stripped state in its ``unsigned``; a leave or a ban of
        theirs is kept for them to see. Source: Conduit, update_membership.

        Raises:
            InvalidArgumentError: no such membership.
        """
        match membership_in(event):
            case "join":
                self.mark_joined(user, room)
            case "invite":
                self.mark_invited(user, room, stripped_state_in(event, "invite_room_state"))
            case "knock":
                self.mark_knocked(user, room, stripped_state_in(event, "knock_room_state"))
            case _:
                self.mark_left(user, room, [event] if event.get("state_key") == user else ())

    @atomic
    def forget(self, user: UserId, room: RoomId) -> bool:
        """Drop a left room; False, and no change, where the user has not left it.

        Source: Conduit, forget.
        """
        self._left_counts.put(_BY_ROOM.pack(room, user), None)
        return self._left.remove(_BY_USER.pack(user, room)) is not None

    def _move(self, user: UserId, room: RoomId, to: Membership, events: bytes | None) -> Count:
        by_user, by_room = _BY_USER.pack(user, room), _BY_ROOM.pack(room, user)
        count = self._near.globals.draw()
        packed = pack_u64(count)
        for membership in _MEMBERSHIPS:
            rows, counts = self._trees(membership)
            counts.put(by_room, packed if membership == to else None)
            if membership == to:
                old = rows.insert(by_user, packed if events is None else events)
                change = 1 if old is None else 0
            else:
                change = 0 if rows.remove(by_user) is None else -1
            if change:
                self._add_to_totals(user, room, membership, change)
        return count

    def _add_to_totals(
        self, user: UserId, room: RoomId, membership: Membership, change: int
    ) -> None:
        match membership:
            case "join":
                add_to_total(self._joined_totals, _ROOM(room), change)
                self._add_to_server(server_of(user), room, change)
            case "invite":
                add_to_total(self._invited_totals, _ROOM(room), change)
            case "knock":
                add_to_total(self._knocked_totals, _ROOM(room), change)

    def _add_to_server(self, server: ServerName, room: RoomId, change: int) -> None:
        room_server, server_room = _ROOM_SERVER.pack(room, server), _SERVER_ROOM.pack(server, room)
        is_there = EMPTY if add_to_total(self._server_totals, room_server, change) else None
        self._room_servers.put(room_server, is_there)
        self._server_rooms.put(server_room, is_there)

    # One user and one room ----------------------------------------------------------------------
    @consistent
    def membership(self, user: UserId, room: RoomId) -> Membership | None:
        """Which of the four holds. Cost: up to four point reads."""
        key = _BY_USER.pack(user, room)
        return next((m for m in _MEMBERSHIPS if self._trees(m)[0].contains_key(key)), None)

    def is_joined(self, user: UserId, room: RoomId) -> bool:
        """Whether the user is in the room. Source: Conduit, is_joined."""
        return self._joined.contains_key(_BY_USER.pack(user, room))

    def is_invited(self, user: UserId, room: RoomId) -> bool:
        """Whether the user has an open invite. Source: Conduit, is_invited."""
        return self._invited.contains_key(_BY_USER.pack(user, room))

    def is_knocked(self, user: UserId, room: RoomId) -> bool:
        """Whether the user's knock is open. Source: Conduit, is_knocked."""
        return self._knocked.contains_key(_BY_USER.pack(user, room))

    def is_left(self, user: UserId, room: RoomId) -> bool:
        """Whether the user left and did not forget the room. Source: Conduit, is_left."""
        return self._left.contains_key(_BY_USER.pack(user, room))

    def once_joined(self, user: UserId, room: RoomId) -> bool:
        """Whether the user ever was in the room. Source: Conduit, once_joined."""
        return self._once_joined.contains_key(_BY_ROOM.pack(room, user))

    @consistent
    def change(self, user: UserId, room: RoomId, membership: Membership) -> RoomChange | None:
        """An invite, knock or leave with its count and events; None where it does not hold.

        Source: Conduit, invite_state, knock_state and left_state.
        """
        rows, _ = self._trees(_with_events(membership))
        value = rows.get(_BY_USER.pack(user, room))
        return None if value is None else self._changes(user, membership, [(room, value)])[0]

    @explained
    def count(self, user: UserId, room: RoomId, membership: Membership) -> Count | None:
        """When the user came to be that; None where it does not hold.

        Source: Conduit, get_invite_count, get_knock_count and get_left_count; the forks,
        get_joined_count.
        """
        return self.count_many([user], room, membership)[0]

    @consistent
    def invite_sender(self, user: UserId, room: RoomId) -> UserId | None:
        """Who sent the open invite, by its stripped state. Source: the forks, invite_sender."""
        change, wanted = self.change(user, room, "invite"), ("m.room.member", user)
        events = [] if change is None else change.events
        own = (e for e in events if (e.get("type"), e.get("state_key")) == wanted)
        sender = next(own, {}).get("sender")
        return UserId(sender) if isinstance(sender, str) else None

    # A user's rooms -----------------------------------------------------------------------------
    def rooms_joined(self, user: UserId) -> list[RoomId]:
        """The rooms a user is in. Source: Conduit, rooms_joined."""
        return [_BY_USER.unpack(key)[1] for key in self._joined.keys(_BY_USER.prefix(user))]

    @explained
    def joined_among(self, user: UserId, rooms: Sequence[RoomId]) -> list[RoomId]:
        """Those of ``rooms`` that the user is in. Cost: one bulk read."""
        given = listed(rooms, "rooms")
        values = self._joined.get_many([_BY_USER.pack(user, room) for room in given])
        return [room for room, value in zip(given, values, strict=True) if value is not None]

    @consistent
    def memberships(self, user: UserId) -> dict[RoomId, Membership]:
        """All the rooms a user has to do with. Source: the forks, user_memberships."""
        return {
            _BY_USER.unpack(key)[1]: membership
            for membership in _MEMBERSHIPS
            for key in self._trees(membership)[0].keys(_BY_USER.prefix(user))
        }

    def joins(self, user: UserId) -> dict[RoomId, Count]:
        """The rooms a user is in, and when the user came to each. Cost: one scan of them."""
        return {
            _BY_USER.unpack(key)[1]: Count(unpack_u64("userroomid_joined", value))
            for key, value in self._joined.scan_prefix(_BY_USER.prefix(user))
        }

    @consistent
    def changes_since(
        self, user: UserId, membership: Membership, since: Count, upto: Count
    ) -> list[RoomChange]:
        """Rooms a user was invited to, knocked on or left in (since, upto], oldest first.

        Cost: one scan of those rooms. Source: Conduit, rooms_invited, rooms_knocked, rooms_left.
        """
        check_u64(since), check_u64(upto)
        rows, _ = self._trees(_with_events(membership))
        found = [(_BY_USER.unpack(k)[1], v) for k, v in rows.scan_prefix(_BY_USER.prefix(user))]
        changes = self._changes(user, membership, found)
        return sorted((c for c in changes if since < c.count <= upto), key=lambda c: c.count)

    def _changes(
        self, user: UserId, membership: Membership, found: list[tuple[RoomId, bytes]]
    ) -> list[RoomChange]:
        rows, counts = self._trees(membership)
        values = counts.get_many([_BY_ROOM.pack(room, user) for room, _ in found])
        return [
            RoomChange(
                room,
                Count(0 if count is None else unpack_u64(counts.name, count)),
                unpack_json(rows.name, value),
            )
            for (room, value), count in zip(found, values, strict=True)
        ]

    # A room's users and servers -----------------------------------------------------------------
    @explained
    def count_many(
        self, users: Sequence[UserId], room: RoomId, membership: Membership
    ) -> list[Count | None]:
        """When each came to be that; None where it does not hold. Cost: one bulk read."""
        _, counts = self._trees(membership)
        values = counts.get_many([_BY_ROOM.pack(room, user) for user in listed(users, "users")])
        return [None if v is None else Count(unpack_u64(counts.name, v)) for v in values]

    @explained
    def arrivals(self, room: RoomId, membership: Membership) -> list[tuple[Count, UserId]]:
        """When each of them came to be that, the first first. Cost: one scan of them."""
        return self.arrivals_many([room], membership)[0]

    @explained
    def arrivals_many(
        self, rooms: Sequence[RoomId], membership: Membership
    ) -> list[list[tuple[Count, UserId]]]:
        """:meth:`arrivals` in each of many rooms, in their order. Cost: one read of ranges."""
        _, counts = self._trees(membership)
        name, prefixes = counts.name, [_BY_ROOM.prefix(room) for room in listed(rooms, "rooms")]
        return [
            sorted([(Count(unpack_u64(name, at)), _BY_ROOM.unpack(key)[1]) for key, at in rows])
            for rows in counts.ranges((prefix, prefix_end(prefix)) for prefix in prefixes)
        ]

    def joined_members(self, room: RoomId) -> list[UserId]:
        """Who is in the room. Source: Conduit, room_members."""
        return _second(self._joined_counts, room)

    def invited_members(self, room: RoomId) -> list[UserId]:
        """Who has an open invite. Source: Conduit, room_members_invited."""
        return _second(self._invited_counts, room)

    def knocked_members(self, room: RoomId) -> list[UserId]:
        """Whose knock is open. Source: the forks, room_members_knocked."""
        return _second(self._knocked_counts, room)

    def once_joined_members(self, room: RoomId) -> list[UserId]:
        """Who ever was in the room. Source: Conduit, room_useroncejoined, which finds nobody."""
        return _second(self._once_joined, room)

    def joined_total(self, room: RoomId) -> int:
        """How many are in the room. Source: Conduit, room_joined_count."""
        return total_in(self._joined_totals, _ROOM(room))

    def invited_total(self, room: RoomId) -> int:
        """How many invites are open. Source: Conduit, room_invited_count."""
        return total_in(self._invited_totals, _ROOM(room))

    def knocked_total(self, room: RoomId) -> int:
        """How many knocks are open. Source: the forks, room_knocked_count."""
        return total_in(self._knocked_totals, _ROOM(room))

    @explained
    def joined_total_many(self, rooms: Sequence[RoomId]) -> list[int]:
        """:meth:`joined_total` of many rooms, in their order. Cost: one bulk read."""
        return totals_in(self._joined_totals, map(_ROOM, listed(rooms, "rooms")))

    @explained
    def invited_total_many(self, rooms: Sequence[RoomId]) -> list[int]:
        """:meth:`invited_total` of many rooms, in their order. Cost: one bulk read."""
        return totals_in(self._invited_totals, map(_ROOM, listed(rooms, "rooms")))

    def server_totals(self, room: RoomId) -> dict[ServerName, int]:
        """How many of each server are in the room. Ours."""
        tree, prefix = self._server_totals, _ROOM_SERVER.prefix(room)
        return {
            _ROOM_SERVER.unpack(key)[1]: unpack_u64(tree.name, value)
            for key, value in tree.scan_prefix(prefix)
        }

    def servers(self, room: RoomId) -> list[ServerName]:
        """The servers with someone in the room. Source: Conduit, room_servers."""
        keys = self._room_servers.keys(_ROOM_SERVER.prefix(room))
        return [_ROOM_SERVER.unpack(key)[1] for key in keys]

    def server_in_room(self, server: ServerName, room: RoomId) -> bool:
        """Whether someone of the server is in the room. Source: Conduit, server_in_room."""
        return self._server_rooms.contains_key(_SERVER_ROOM.pack(server, room))

    @explained
    def server_among(self, server: ServerName, rooms: Sequence[RoomId]) -> list[RoomId]:
        """Those of ``rooms`` that someone of the server is in. Cost: one bulk read."""
        given = listed(rooms, "rooms")
        values = self._server_rooms.get_many([_SERVER_ROOM.pack(server, room) for room in given])
        return [room for room, value in zip(given, values, strict=True) if value is not None]

    def server_rooms(self, server: ServerName) -> list[RoomId]:
        """The rooms someone of the server is in. Source: Conduit, server_rooms."""
        keys = self._server_rooms.keys(_SERVER_ROOM.prefix(server))
        return [_SERVER_ROOM.unpack(key)[1] for key in keys]


_MEMBERSHIPS: tuple[Membership, ...] = ("join", "invite", "knock", "leave")


def _with_events(membership: Membership) -> Membership:
    if membership not in _MEMBERSHIPS[1:]:
        raise InvalidArgumentError(f"for invite, knock and leave, not {shown(membership)}")
    return membership


def _second(tree: Tree, room: RoomId) -> list[UserId]:
    return [_BY_ROOM.unpack(key)[1] for key in tree.keys(_BY_ROOM.prefix(room))]
