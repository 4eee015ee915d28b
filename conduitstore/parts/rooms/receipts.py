"""How far users have read: public receipts, and the private marker only they see."""

from __future__ import annotations

from conduitstore.codec.values import pack_json_object, pack_u64, unpack_json_object, unpack_u64
from conduitstore.kv import Tree
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import Count, JsonObject, Receipt, RoomId, UserId

_RECEIPT = TREES["readreceiptid_readreceipt"].key
_MEMBER = TREES["roomuserid_readreceiptcount"].key.pack


class Receipts(Part[Near]):
    """Trees: ``readreceiptid_readreceipt``, ``roomuserid_privateread`` and two that find them.

    A user has at most one receipt row in a room.
    """

    _receipts = TreeOf("readreceiptid_readreceipt")
    _counts = TreeOf("roomuserid_readreceiptcount")
    _private = TreeOf("roomuserid_privateread")
    _private_updates = TreeOf("roomuserid_lastprivatereadupdate")

    @atomic
    def update(self, user: UserId, room: RoomId, event: JsonObject) -> Count:
        """Replace the user's receipt in the room. Cost: two point writes and a removal.

        ``event`` is an ``m.receipt`` event; Conduit finds the old row by scanning the room.
        Source: Conduit, readreceipt_update.
        """
        value = pack_json_object(event)
        key = _MEMBER(room, user)
        old = _count(self._counts, key)
        if old is not None:
            self._receipts.remove(_RECEIPT.pack(room, old, user))
        count = self._near.globals.draw()
        self._receipts.insert(_RECEIPT.pack(room, count, user), value)
        self._counts.insert(key, pack_u64(count))
        return count

    def since(self, room: RoomId, since: Count, upto: Count) -> list[Receipt]:
        """Receipts that changed in (since, upto], oldest first. Cost: one range.

        Source: Conduit, readreceipts_since.
        """
        lo, hi = _RECEIPT.counts(room, since=since, upto=upto)
        return [_receipt(key, value) for key, value in self._receipts.range(lo, hi)]

    @atomic
    def set_private_read(self, user: UserId, room: RoomId, read_upto: Count) -> Count:
        """Move the user's private marker to the event at ``read_upto``; gives when it moved.

        Source: Conduit, private_read_set.
        """
        key = _MEMBER(room, user)
        self._private.insert(key, pack_u64(read_upto))
        count = self._near.globals.draw()
        self._private_updates.insert(key, pack_u64(count))
        return count

    def private_read(self, user: UserId, room: RoomId) -> Count | None:
        """The count of the event the private marker is at; None where there is no marker.

        Source: Conduit, private_read_get.
        """
        return _count(self._private, _MEMBER(room, user))

    def last_private_read_update(self, user: UserId, room: RoomId) -> Count:
        """When the private marker last moved; 0 if never. Source: last_privateread_update."""
        return _count(self._private_updates, _MEMBER(room, user)) or Count(0)


def _count(tree: Tree, key: bytes) -> Count | None:
    value = tree.get(key)
    return None if value is None else Count(unpack_u64(tree.name, value))


def _receipt(key: bytes, value: bytes) -> Receipt:
    _, count, user = _RECEIPT.unpack(key)
    event = unpack_json_object("readreceiptid_readreceipt", value)
    event.pop("room_id", None)
    return Receipt(user, count, event)
