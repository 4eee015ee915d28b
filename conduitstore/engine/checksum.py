"""One number for a whole content, the same on every engine that holds it.

CRC-32 over each tree that has entries, in name order: its name, then each key and value in key
order, every one of them behind its length (u32, big-endian), so that no two contents run together.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from conduitstore.engine.crc import crc32
from conduitstore.kv import Keyspace


def checksum(view: Keyspace) -> int:
    """The CRC-32 of everything ``view`` shows: take a snapshot to sum one instant. Reads it all."""
    crc = 0
    for name in view.tree_names():
        entries = iter(view.open_tree(name))
        first = next(entries, None)
        if first is not None:
            crc = extend(crc, (name.encode(), *first))
            crc = extend(crc, chain.from_iterable(entries))
    return crc


def extend(crc: int, fields: Iterable[bytes]) -> int:
    """Go on with a sum: over names, keys and values in the order of the module's account."""
    for field in fields:
        crc = crc32(field, crc32(len(field).to_bytes(4), crc))
    return crc
