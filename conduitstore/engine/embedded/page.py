"""Which ranges are pages: those that leaves in memory answer at once, as they do most.

And reads of many ranges or keys out of one root, without a call for each.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

from conduitstore.kv import Item

from .cache import Cache
from .index import Node, Root, first_leaf, last_leaf
from .leaf import in_order
from .pageitems import Page, page

LIMIT_MAX = 1_024
"""A range with a higher limit, or none, is a page only where a single leaf has all of it."""


def page_of(
    root: Root,
    lo: bytes | None,
    hi: bytes | None,
    limit: int | None,
    reverse: bool,  # noqa: FBT001 - by position: a keyword costs a page some of its time
) -> Page | None:
    """The page of ``[lo, hi)``; None where a leaf is not in memory, or has blobs, or for length."""
    keys: list[bytes] = []
    values: list[bytes] = []
    while True:
        leaf, edge = last_leaf(root, hi) if reverse else first_leaf(root, lo)
        leaf_keys, entries = leaf.keys, leaf.entries
        if leaf_keys is None or type(entries) is not dict:
            return None
        leaf.touched = leaf.walked = True
        if len(leaf_keys) != len(entries):
            leaf_keys = in_order(leaf, leaf_keys, entries)
        begin = bisect_left(leaf_keys, lo) if lo is not None else 0
        end = bisect_left(leaf_keys, hi) if hi is not None else len(leaf_keys)
        if limit is not None and end - begin >= limit:
            begin, end = (end - limit, end) if reverse else (begin, begin + limit)
            edge = None
        if begin < end:
            part = leaf_keys[begin:end]
            if reverse:
                part.reverse()
            keys += part
            values += map(entries.__getitem__, part)
        if edge is None or (
            (lo is not None and lo >= edge) if reverse else (hi is not None and hi <= edge)
        ):
            return page(keys, values)
        if limit is None or limit > LIMIT_MAX:
            return None
        limit -= max(end - begin, 0)
        if reverse:
            hi = edge
        else:
            lo = edge


def rows_of(
    root: Root,
    lo: bytes | None,
    hi: bytes | None,
    limit: int | None,
    reverse: bool,  # noqa: FBT001 - by position: a keyword costs a page some of its time
) -> list[Item] | None:
    """The entries of such a page; None where there is none."""
    leaf, edge = last_leaf(root, hi) if reverse else first_leaf(root, lo)
    keys, entries = leaf.keys, leaf.entries
    if keys is None or type(entries) is not dict:
        return None
    leaf.touched = True
    if len(keys) != len(entries):
        keys = in_order(leaf, keys, entries)
    begin = bisect_left(keys, lo) if lo is not None else 0
    end = bisect_left(keys, hi) if hi is not None else len(keys)
    if limit is not None and end - begin >= limit:
        begin, end = (end - limit, end) if reverse else (begin, begin + limit)
    elif edge is not None and (lo is None or lo < edge if reverse else hi is None or hi > edge):
        found = page_of(root, lo, hi, limit, reverse)  # It goes on in another leaf.
        return None if found is None else list(found)
    if begin >= end:
        return []
    part = keys[begin:end]
    if reverse:
        part.reverse()
    return list(zip(part, map(entries.__getitem__, part), strict=True))


def values_of(root: Root, keys: list[bytes], cache: Cache) -> list[bytes | None]:
    """The values of keys, in their order."""
    found: list[bytes | None] = []
    for key in keys:
        node: Any = root
        while type(node) is Node:
            node = node.children[bisect_right(node.lows, key)]
        entries: Any = node.entries  # Compiled, a dict's get() is none of a subclass.
        if entries is None:  # Not touched by this: read once is not hot yet.
            entries = cache.contents(node)[1]
            found.append(entries.get(key))
            continue
        value = entries.get(key)
        if value is not None:
            node.touched = True
        found.append(value)
    return found
