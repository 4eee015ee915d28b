"""Rows that go by time: an index of ``time:u64`` and the row's key finds them without a search."""

from __future__ import annotations

from conduitstore.codec.keys import check_u64, encode_u64
from conduitstore.kv import Tree, check_limit


def expiry_key(time_ms: int, key: bytes) -> bytes:
    """The index row of ``key``."""
    return encode_u64(time_ms) + key


def take_before(index: Tree, time_ms: int, limit: int | None = None) -> list[bytes]:
    """Remove the index rows of before a time, oldest first; gives the keys they were for.

    Cost: one range and a removal for each.
    """
    rows = index.range(None, encode_u64(check_u64(time_ms)), limit=check_limit(limit))
    found = [key for key, _ in rows]
    for key in found:
        index.remove(key)
    return [key[8:] for key in found]
