"""Receipts against the index that finds the newest of each user."""

from __future__ import annotations

from collections.abc import Iterator

from conduitstore.kv import Keyspace
from conduitstore.schema import TREES

from .findings import Finding
from .rows import rows

_RECEIPTS = "readreceiptid_readreceipt"
_NEWEST = "roomuserthreadid_readreceiptid"


def superseded_receipts(view: Keyspace) -> Iterator[Finding]:
    """Receipts that are not their user's newest of a room or thread. Cost: a short scan for each.

    Only the receipt itself says which thread it is of, so it may be the newest of any.
    """
    for row in rows(view, _RECEIPTS):
        newest = rows(view, _NEWEST, TREES[_NEWEST].key.join(row["room"], row["user"]))
        if all(found["count"] != row["count"] for found in newest):
            yield Finding(_RECEIPTS, row["key"], f"{_NEWEST} does not have its count")
