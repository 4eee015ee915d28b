"""Find rooms by their numbers.

Timelines and what is built of them have a room's number in their keys, and nothing led from that
back to the room but a scan of all rooms. This step reads ``roomid_shortroomid`` and fills
``shortroomid_room``; it may see a room a second time.
"""

from __future__ import annotations

from conduitstore.codec.values import unpack_u64
from conduitstore.kv import Transaction


def room_by_number(tx: Transaction, room: bytes, number: bytes) -> None:
    """One room."""
    unpack_u64("roomid_shortroomid", number)
    tx.open_tree("shortroomid_room").insert(number, room)


rows = {"roomid_shortroomid": room_by_number}
