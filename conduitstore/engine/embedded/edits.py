"""Changes of one dirty leaf in place, and where a leaf may be cut."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from .blob import Blob
from .leaf import ENTRY_OVERHEAD_BYTES, Leaf

stored: Callable[[Any, bytes], Any] = dict.get  # of BlobEntries too: their get() reads blobs


def insert_into(leaf: Leaf, key: bytes, value: bytes | Blob) -> int:
    """Set one entry in place; gives how much more memory the leaf takes now."""
    entries: Any = leaf.entries
    old = stored(entries, key)  # Never the value of a blob: nothing is read here.
    entries[key] = value
    if old is None:
        added_bytes = len(key) + len(value)
        leaf.size_bytes += added_bytes
        return added_bytes + ENTRY_OVERHEAD_BYTES
    added_bytes = len(value) - len(old)
    leaf.size_bytes += added_bytes
    return added_bytes


def remove_from(leaf: Leaf, key: bytes) -> int:
    """Remove one entry in place; 0 if it was not there, else as :func:`insert_into`."""
    keys, entries = leaf.keys, leaf.entries
    assert keys is not None
    assert entries is not None
    old = stored(entries, key)
    if old is None:
        return 0
    at = bisect_left(keys, key)
    if keys[at : at + 1] == [key]:  # Else it came last, and is nowhere but among the entries.
        del keys[at]
    del entries[key]
    removed_bytes = len(key) + len(old)
    leaf.size_bytes -= removed_bytes
    return -removed_bytes - ENTRY_OVERHEAD_BYTES


def cut_of(keys: list[bytes], entries: dict[bytes, bytes], key: bytes) -> int:
    """Where a leaf, full since ``key`` came, is cut: so many of its keys stay on the left.

    Keys that arrive in order, be it at the end of the tree or of what some prefix groups, leave
    full leaves behind: a dict knows which key came before the newest. Any others halve them.
    """
    if key == keys[-1]:
        return len(keys) - 1
    at = bisect_left(keys, key)
    arrived = reversed(entries)
    follows = at > 0 and next(arrived) == key and next(arrived) == keys[at - 1]
    return at + 1 if follows else len(keys) // 2


def separator(left: bytes, right: bytes) -> bytes:
    """The shortest key above ``left`` and not above ``right``: short ones keep the index small."""
    both = min(len(left), len(right))
    unlike = int.from_bytes(left[:both]) ^ int.from_bytes(right[:both])
    equal = both - (unlike.bit_length() + 7) // 8  # leading bytes
    return right[: equal + 1]
