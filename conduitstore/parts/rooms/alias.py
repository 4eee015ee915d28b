"""Names of rooms on this server: what an alias stands for, who made it, which a room has.

An alias is given whole, ``#tea:example.org``, and found by its localpart: only aliases of the own
server belong here, and telling those apart is the caller's.
"""

from __future__ import annotations

from conduitstore.codec.keys import encode_id
from conduitstore.codec.values import pack_text, unpack_text
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import Tree
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import RoomAlias, RoomId, UserId

_ALIAS = TREES["alias_roomid"].key
_LISTING = TREES["aliasid_alias"].key


class Alias(Part[Near]):
    """Trees: ``alias_roomid``, ``alias_userid``, and the listings of rooms, ``aliasid_alias``."""

    _rooms = TreeOf("alias_roomid")
    _creators = TreeOf("alias_userid")
    _listings = TreeOf("aliasid_alias")

    @atomic
    def set(self, alias: RoomAlias, room: RoomId, creator: UserId) -> None:
        """Let ``alias`` stand for ``room``; one that stood for another stops doing so.

        Cost: three writes, and a range over the old room's aliases. Source: Conduit, set_alias,
        which leaves the listing in the old room.
        """
        key = _key(alias)
        encode_id(creator), encode_id(room)
        old = _text(self._rooms, key)
        self._creators.put(key, pack_text(creator))
        if old == room:
            return
        if old is not None:
            self._remove_listing(alias, RoomId(old))
        self._rooms.put(key, pack_text(room))
        count = self._near.globals.draw()
        self._listings.put(_LISTING.pack(room, count), pack_text(alias))

    @atomic
    def remove(self, alias: RoomAlias) -> bool:
        """Take an alias away; False where there is none. The room's other aliases stay.

        Cost: a range over the room's aliases. Source: Conduit, remove_alias, which takes all of the
        room's listings.
        """
        key = _key(alias)
        room = _text(self._rooms, key)
        if room is None:
            return False
        self._rooms.put(key, None)
        self._creators.put(key, None)
        self._remove_listing(alias, RoomId(room))
        return True

    def _remove_listing(self, alias: RoomAlias, room: RoomId) -> None:
        key = _key(alias)
        for listing, value in self._listings.scan_prefix(_LISTING.prefix(room)):
            if _key(RoomAlias(unpack_text("aliasid_alias", value))) == key:
                self._listings.put(listing, None)

    def resolve(self, alias: RoomAlias) -> RoomId | None:
        """The room an alias stands for. Source: Conduit, resolve_local_alias."""
        room = _text(self._rooms, _key(alias))
        return None if room is None else RoomId(room)

    def creator(self, alias: RoomAlias) -> UserId | None:
        """Who set the alias last. Source: Conduit, who_created_alias."""
        user = _text(self._creators, _key(alias))
        return None if user is None else UserId(user)

    def of_room(self, room: RoomId) -> list[RoomAlias]:
        """A room's aliases, oldest first. Cost: one range.

        Source: Conduit, local_aliases_for_room.
        """
        rows = self._listings.scan_prefix(_LISTING.prefix(room))
        return [RoomAlias(unpack_text("aliasid_alias", value)) for _, value in rows]

    def all(self) -> list[tuple[RoomAlias, RoomId]]:
        """Every alias with its room, by room. Cost: a full scan.

        Source: the forks, all_local_aliases.
        """
        return [
            (RoomAlias(unpack_text("aliasid_alias", value)), _LISTING.unpack(key)[0])
            for key, value in self._listings
        ]


def _key(alias: RoomAlias) -> bytes:
    localpart, colon, server = alias[1:].partition(":") if isinstance(alias, str) else ("", "", "")
    if not (localpart and colon and server and alias.startswith("#")):
        raise InvalidArgumentError(f"an alias is #localpart:server, not {shown(alias)}")
    encode_id(alias)
    return _ALIAS.pack(localpart)


def _text(tree: Tree, key: bytes) -> str | None:
    value = tree.get(key)
    return None if value is None else unpack_text(tree.name, value)
