"""Pages: ranges that leaves in memory answer at once, as most do.

A page has keys and values of its own, so nothing has to be kept from changing for whoever walks it,
and no writer makes a copy for its sake.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from operator import length_hint

from conduitstore.kv import Item

from .index import Root, first_leaf, last_leaf

LIMIT_MAX = 1_024
"""A range with a higher limit, or none, is a page only where a single leaf has all of it."""


class Page(zip, metaclass=type):  # type: ignore[type-arg]  # it takes none when it runs
    """See :class:`conduitstore.kv.Items`: a plain loop runs at C speed."""

    __slots__ = ("_left",)
    _left: tuple[Iterator[bytes], list[bytes], list[bytes]]

    def only_keys(self) -> Iterator[bytes]:
        """The keys, for whoever walks nothing else of it."""
        return self._left[0]

    def next_back(self) -> Item | None:
        """Take one entry from the far end: what the lists lose, nobody comes to."""
        near, keys, values = self._left
        return (keys.pop(), values.pop()) if length_hint(near) else None

    def __reversed__(self) -> Page:
        """Walk what is left from the far end; this iterator ends."""
        near, keys, values = self._left
        cut = len(keys) - length_hint(near)
        rest = page(keys[cut:][::-1], values[cut:][::-1])
        del keys[cut:], values[cut:]
        return rest


def page(keys: list[bytes], values: list[bytes]) -> Page:
    """Walk these, which are the page's own from now on."""
    near = iter(keys)
    page = Page(near, values)
    page._left = near, keys, values  # noqa: SLF001 - its own module
    return page


def page_of(
    root: Root,
    lo: bytes | None,
    hi: bytes | None,
    limit: int | None,
    reverse: bool,  # noqa: FBT001
) -> Page | None:
    """The page of ``[lo, hi)``; None where a leaf is not in memory, or has blobs, or for length."""
    keys: list[bytes] = []
    values: list[bytes] = []
    while True:
        leaf, edge = last_leaf(root, hi) if reverse else first_leaf(root, lo)
        leaf_keys, entries = leaf.keys, leaf.entries
        if leaf_keys is None or type(entries) is not dict:
            return None
        leaf.touched = True
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
