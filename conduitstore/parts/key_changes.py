"""Who got new keys, and who has to hear of it.

- A change is announced with one count, to the user and to the encrypted rooms the user is in.
- Of each user a room keeps the newest change only: who has to hear of an older one hears of that.
  (Of a user who left and came back an older one may stay; ``gc`` takes it.)
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Protocol

from conduitstore.codec.values import pack_text, unpack_text
from conduitstore.parts.arguments import listed
from conduitstore.parts.part import Near, Part, TreeOf, atomic, explained
from conduitstore.schema import TREES
from conduitstore.types import Count, RoomId, UserId

_CHANGE = TREES["keychangeid_userid"].key


class RoomsOfUser(Protocol):
    """Which rooms a user is in."""

    def rooms_joined(self, user: UserId) -> list[RoomId]: ...


class RoomStates(Protocol):
    """What the rooms' states say."""

    def is_encrypted(self, room: RoomId) -> bool: ...


class RoomsNear(Protocol):
    """Who is where, and where it is encrypted."""

    @property
    def members(self) -> RoomsOfUser: ...
    @property
    def state_accessor(self) -> RoomStates: ...


class KeyChangesNear(Near, Protocol):
    """The rooms where a change is announced."""

    @property
    def rooms(self) -> RoomsNear: ...


class KeyChanges(Part[KeyChangesNear]):
    """Tree: ``keychangeid_userid``."""

    _changes = TreeOf("keychangeid_userid")

    @atomic
    def mark(self, user: UserId) -> Count:
        """Announce that the user's keys changed: to the user, and in each encrypted room with them.

        Cost: for each room of the user a look at its state; for each encrypted one, two writes.
        Source: Conduit, mark_device_key_update.
        """
        newest = self._changes.scan_prefix(_CHANGE.prefix(user), reverse=True, limit=1)
        before = [_CHANGE.unpack(key)[1] for key, _ in newest]
        count = self._near.globals.draw()
        for room_or_user in (user, *self._encrypted_rooms(user)):
            for old in before:
                self._changes.put(_CHANGE.pack(room_or_user, old), None)
            self._changes.put(_CHANGE.pack(room_or_user, count), pack_text(user))
        return count

    def _encrypted_rooms(self, user: UserId) -> list[RoomId]:
        rooms = self._near.rooms
        joined = rooms.members.rooms_joined(user)
        return [room for room in joined if rooms.state_accessor.is_encrypted(room)]

    def since(self, room_or_user: RoomId | UserId, since: Count, upto: Count) -> list[UserId]:
        """Who got new keys in (since, upto], as a room or the user hears of it; each user once.

        On a snapshot whose count is ``upto`` this is exact. Elsewhere somebody who changed once
        more behind ``upto`` is told in the window that begins there, and not here too: what there
        is to fetch are the newest keys in any case. So nobody is missed by windows that join, as
        those of a sync do; and for one that lies behind, as of ``/keys/changes``, the newest count
        is the better bound. Cost: one range. Source: Conduit, keys_changed.
        """
        return list(self._changed([room_or_user], since, upto))

    @explained
    def since_many(
        self, rooms_and_users: Iterable[RoomId | UserId], since: Count, upto: Count
    ) -> set[UserId]:
        """Whose keys a client has to ask for again: :meth:`since` of all of these.

        Cost: one read of ranges.
        """
        return set(self._changed(listed(rooms_and_users, "ids"), since, upto))

    def _changed(
        self, rooms_and_users: Iterable[RoomId | UserId], since: Count, upto: Count
    ) -> dict[UserId, None]:
        """Each once, in the order of their changes."""
        bounds = [_CHANGE.counts(each, since=since, upto=upto) for each in rooms_and_users]
        rows = chain.from_iterable(self._changes.ranges(bounds))
        return dict.fromkeys(UserId(unpack_text("keychangeid_userid", user)) for _, user in rows)
