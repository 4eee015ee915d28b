"""Which members a device was told about already, so that no sync says it again.

A member goes with the sync that first shows it, and is noted with that sync's next token. The
answer may get lost; the device then asks again from where it was. So a note holds once the device
comes back with that token or a later one, and falls when it comes back with an earlier one.

:meth:`LazyLoading.witness` is called for each room that an answer has, in the order a device syncs.
"""

from __future__ import annotations

from collections.abc import Sequence

from conduitstore.codec.keys import check_u64
from conduitstore.codec.values import pack_u64, unpack_u64
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import Count, DeviceId, RoomId, UserId

_MEMBER = TREES["lazyloadedids"].key
_ROOM = TREES["userdeviceroomid_lazyloadcount"].key


class LazyLoading(Part[Near]):
    """Trees: ``lazyloadedids``, and the newest token noted for a room of a device."""

    _sent = TreeOf("lazyloadedids")
    _newest = TreeOf("userdeviceroomid_lazyloadcount")

    @atomic
    def witness(
        self,
        user: UserId,
        device: DeviceId,
        room: RoomId,
        members: Sequence[UserId],
        *,
        since: Count,
        token: Count,
    ) -> list[UserId]:
        """Which of ``members`` the answer must show, in order, each once; they are noted.

        Args:
            user: whose device.
            device: the one that syncs.
            room: of the answer.
            members: whom the answer's events are from or about.
            since: the token the device came with.
            token: the next token the answer gives it.

        Of two answers to one device at once the newer one's notes stay: nobody can tell which of
        the two it takes, and what it is told again does no harm.
        Cost: a point read and a bulk read; where an answer got lost, a range over the room's notes.
        Source: Conduit, lazy_load_was_sent_before, lazy_load_mark_sent and
        lazy_load_confirm_delivery; the forks, witness_retain, whose token in the row this is.
        """
        note = pack_u64(token)
        new = self.unsent(user, device, room, members, since)
        key = _ROOM.pack(user, device, room)
        newest = _number("userdeviceroomid_lazyloadcount", self._newest.get(key))
        if newest > max(token, since):
            return new
        if newest > since:
            self._forget_after(user, device, room, since)
            self._newest.put(key, pack_u64(since))
        for member in new:
            self._sent.put(_MEMBER.pack(user, device, room, member), note)
        if new:
            self._newest.put(key, note)
        return new

    def _forget_after(self, user: UserId, device: DeviceId, room: RoomId, since: Count) -> None:
        for member, value in self._sent.scan_prefix(_MEMBER.prefix(user, device, room)):
            if _number("lazyloadedids", value) > since:
                self._sent.put(member, None)

    def unsent(
        self,
        user: UserId,
        device: DeviceId,
        room: RoomId,
        members: Sequence[UserId],
        since: Count,
    ) -> list[UserId]:
        """Which of ``members`` a device that comes with ``since`` does not know, each once.

        Cost: one bulk read. Source: Conduit, lazy_load_was_sent_before.
        """
        if not isinstance(members, list | tuple):
            raise InvalidArgumentError(f"a list of users is needed here, not {shown(members)}")
        check_u64(since)
        keys = {member: _MEMBER.pack(user, device, room, member) for member in members}
        notes = self._sent.get_many(list(keys.values()))
        return [
            member
            for member, note in zip(keys, notes, strict=True)
            if note is None or _number("lazyloadedids", note) > since
        ]

    def was_sent(
        self, user: UserId, device: DeviceId, room: RoomId, member: UserId, since: Count
    ) -> bool:
        """Whether a device that comes with ``since`` knows the member.

        Source: Conduit, lazy_load_was_sent_before.
        """
        return not self.unsent(user, device, room, [member], since)

    @atomic
    def reset(self, user: UserId, device: DeviceId, room: RoomId) -> int:
        """Say everything of a room again, as after a gap; gives how many members were noted.

        Source: Conduit, lazy_load_reset.
        """
        self._newest.put(_ROOM.pack(user, device, room), None)
        return self._sent.remove_prefix(_MEMBER.prefix(user, device, room))

    @atomic
    def forget_device(self, user: UserId, device: DeviceId) -> int:
        """Drop the notes of a device that is gone; gives how many there were."""
        self._newest.remove_prefix(_ROOM.prefix(user, device))
        return self._sent.remove_prefix(_MEMBER.prefix(user, device))


def _number(tree: str, value: bytes | None) -> int:
    return 0 if value is None else unpack_u64(tree, value)
