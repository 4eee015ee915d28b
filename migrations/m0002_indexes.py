"""Find rooms by their numbers, and each user's newest receipt of a room and of each thread.

Timelines and what is built of them have a room's number in their keys, and nothing led from that
back to the room but a scan of all rooms: ``shortroomid_room``, read from ``roomid_shortroomid``.

Receipts had an index by room and user; now that they are kept by thread too, the index is
``roomuserthreadid_readreceiptid``, read from ``readreceiptid_readreceipt``. The former index,
``roomuserid_readreceiptcount``, stays where it is and is retired.
"""

from __future__ import annotations

from conduitstore.codec.keys import KeyShape
from conduitstore.codec.values import unpack_json_object, unpack_u64
from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.kv import Transaction

# As they were when this was written, whatever the schema says by now.
_RECEIPT = KeyShape("readreceiptid_readreceipt", "room ff count:u64 ff user")
_NEWEST = KeyShape("roomuserthreadid_readreceiptid", "room ff user ff thread:text")
_COUNT_EVENT = KeyShape("roomuserthreadid_readreceiptid", "count:u64 event")


def room_by_number(tx: Transaction, room: bytes, number: bytes) -> None:
    """One room."""
    unpack_u64("roomid_shortroomid", number)
    tx.open_tree("shortroomid_room").insert(number, room)


def newest_receipt(tx: Transaction, key: bytes, value: bytes) -> None:
    """One receipt; later ones of a user come later."""
    room, count, user = _RECEIPT.unpack(key)
    event = unpack_json_object(_RECEIPT.tree, value, "content")
    try:
        ((event_id, readers),) = event["content"].items()
        thread = readers["m.read"][user].get("thread_id", "")
        index_key, index_value = (
            _NEWEST.pack(room, user, thread),
            _COUNT_EVENT.pack(count, event_id),
        )
    except (AttributeError, KeyError, TypeError, ValueError, InvalidArgumentError) as error:
        raise CorruptedError(_RECEIPT.tree, 0, f"the receipt cannot be read: {error}") from error
    tx.open_tree(_NEWEST.tree).insert(index_key, index_value)


rows = {"roomid_shortroomid": room_by_number, "readreceiptid_readreceipt": newest_receipt}
