"""Which receipt of a user is the newest, of a room and of each thread: read from the receipts."""

from __future__ import annotations

from conduitstore.codec.values import unpack_json_object
from conduitstore.consistency.rows import row_of
from conduitstore.errors import ConduitStoreError
from conduitstore.kv import Keyspace
from conduitstore.parts.rooms.receipts import read_in
from conduitstore.schema import TREES

from .derived import Derivation, Item, row_at

_RECEIPTS = TREES["readreceiptid_readreceipt"]
_NEWEST = TREES["roomuserthreadid_readreceiptid"]


def _newest(_view: Keyspace, item: Item) -> list[Item]:
    try:
        room, count, user = _RECEIPTS.key.unpack(item[0])
        event_id, thread = read_in(unpack_json_object(_RECEIPTS.name, item[1]), user)
        return [(_NEWEST.key.pack(room, user, thread), _NEWEST.value_fields.pack(count, event_id))]
    except ConduitStoreError:
        return []  # Of no use to anybody: what it says cannot be read.


def _receipt(view: Keyspace, item: Item) -> Item | None:
    row = row_of(_NEWEST, *item)
    if row is None:
        return None
    return row_at(view, _RECEIPTS.name, _RECEIPTS.key.join(row["room"], row["count"], row["user"]))


RECEIPTS = Derivation(_NEWEST.name, _RECEIPTS.name, _newest, _receipt)
