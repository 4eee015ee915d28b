"""What a transaction wrote to one tree: by key, and in order once somebody walks it.

In order means a forest of one tree, like the store's own: a walk is stable because it holds frozen
leaves, and costs what it visits, however much was written.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

from . import index
from .blob import entries_of
from .cache import Cache
from .forest import DEFAULT_TREE_ID, Forest
from .frozen import Hold
from .index import Root
from .items import Slice, Slices, slices_of
from .leaf import Leaf, stored_values
from .page import page_of
from .pageitems import Page, page

REMOVED = bytes(bytearray(b"removed"))
"""Stands for a removal where a value would be; it is known by being this very object."""
RUN = 64
"""Keys in a leaf to begin with."""
NO_BOUND = 1 << 62
NO_CACHE = Cache(0)


class Writes(dict[bytes, bytes | None]):
    """Values by key; None: removed. Changes go through :meth:`put` and :meth:`forget`."""

    __slots__ = ("_changed", "_ordered")

    def __init__(self) -> None:
        self._ordered: Forest | None = None
        self._changed: set[bytes]  # keys, since they were put in order

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write, or remove where ``value`` is None."""
        if self._ordered is not None:
            self._changed.add(key)  # First: an interrupt may come in between.
        self[key] = value

    def forget(self, key: bytes) -> None:
        """That nothing was written there; an interrupted write may indeed not have come so far."""
        if self._ordered is not None:
            self._changed.add(key)
        self.pop(key, None)

    def page(
        self,
        root: Root,
        lo: bytes | None,
        hi: bytes | None,
        limit: int | None,
        reverse: bool,  # noqa: FBT001
    ) -> Page | None:
        """A page of ``root`` as it looks with what was written; None: there is no page, or much."""
        if not self:
            return page_of(root, lo, hi, limit, reverse)
        if len(self) > RUN:
            return None
        own = {
            key: value
            for key, value in self.items()
            if (lo is None or lo <= key) and (hi is None or key < hi)
        }
        # Should all of them be removals, there is still as much as the page may have.
        most = None if limit is None else limit + len(own)
        found = page_of(root, lo, hi, most, reverse)
        if found is None or not own:
            return found
        rows: dict[bytes, Any] = dict(found) | own
        keys = sorted([key for key, value in rows.items() if value is not None], reverse=reverse)
        keys = keys[:limit]
        return page(keys, [rows[key] for key in keys])

    def over(self, slices: Slices, store: object) -> Slices:
        """``slices`` as they look with what was written until now, and nothing that comes."""
        if self._ordered is None and len(self) <= RUN:  # Sorting a few anew costs less.
            stored = self._stored(self)
            leaf, hold = Leaf(sorted(stored), stored), Hold(store, NO_CACHE)
            return _merging(slices, slices_of(leaf, hold)) if stored else slices
        ordered, self._ordered = self._ordered, None  # Begun anew if this is interrupted.
        if ordered is None:
            ordered = self._in_order()
        else:
            self._follow(ordered)
        self._changed = set()
        self._ordered = ordered
        return _merging(slices, slices_of(*ordered.freeze_tree(DEFAULT_TREE_ID, store)))

    def _stored(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        found = ((key, self[key]) for key in keys)
        return {key: REMOVED if value is None else value for key, value in found}

    def _in_order(self) -> Forest:
        forest = Forest(
            NO_CACHE, leaf_entries_max=2 * RUN, leaf_bytes_max=NO_BOUND, blob_bytes_min=NO_BOUND
        )
        stored = self._stored(self)
        keys = sorted(stored)
        runs = (keys[at : at + RUN] for at in range(0, len(keys), RUN))
        parts: index.Parts = [(run[0], forest.leaf_of(run, stored)) for run in runs]
        forest.roots[DEFAULT_TREE_ID] = index.build(parts)
        return forest

    def _follow(self, ordered: Forest) -> None:
        stored = self._stored(filter(self.__contains__, self._changed))
        ops: list[Any] = []
        for key in self._changed:
            ops += DEFAULT_TREE_ID, key, stored.get(key)
        ordered.apply(ops, ordered.prepare(ops), 0, 0)


def _merging(below: Slices, above: Slices) -> Slices:
    """The slices of ``below`` with those of ``above`` over them, each merged when it is reached."""

    def slices(lo: bytes | None, hi: bytes | None, reverse: bool) -> Iterator[Slice]:  # noqa: FBT001
        sides = below(lo, hi, reverse), above(lo, hi, reverse)
        old, new = next(sides[0], None), next(sides[1], None)
        while old is not None and new is not None:
            ends = old[0][-1], new[0][-1]
            end = max(ends) if reverse else min(ends)
            found = _merged(_taken(old, end, reverse), _taken(new, end, reverse), reverse=reverse)
            if found[0]:
                yield found
            old, new = (
                old if old[0] else next(sides[0], None),
                new if new[0] else next(sides[1], None),
            )
        if old is not None:
            yield old
            yield from sides[0]
        while new is not None:
            found = _merged(([], {}), new, reverse=reverse)
            if found[0]:
                yield found
            new = next(sides[1], None)

    return slices


def _taken(part: Slice, end: bytes, reverse: bool) -> Slice:  # noqa: FBT001
    """Take the keys up to ``end``, in walking order, out of a slice."""
    keys, entries = part
    if reverse:
        keys.reverse()
        at = bisect_left(keys, end)
        taken, keys[at:] = keys[at:], []
        keys.reverse()
    else:
        at = bisect_right(keys, end)
        taken, keys[:at] = keys[:at], []
    return taken, entries


def _merged(old: Slice, new: Slice, *, reverse: bool) -> Slice:
    """One slice of both, without what was removed; the order of the keys that come in is free."""
    values: dict[bytes, Any] = dict(zip(old[0], stored_values(*old), strict=True))
    values.update(zip(new[0], stored_values(*new), strict=True))
    left = {key: value for key, value in values.items() if value is not REMOVED}
    return sorted(left, reverse=reverse), entries_of(left)
