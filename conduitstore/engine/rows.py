"""Sorted entries that are copied before a change only while somebody still walks them.

- Whoever keeps a :class:`Held` sees its entries unchanged, for as long as it is kept.
- :meth:`Rows.hold` and :meth:`Rows.own` are called by one thread at a time; walking what is held
  takes no lock.
"""

from __future__ import annotations

import heapq
import weakref
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from typing import TypeVar

from sortedcontainers import SortedDict

from conduitstore.kv import Item, check_bound, check_limit

T = TypeVar("T")


class Held:
    """Entries that do not change while anybody keeps this object."""

    __slots__ = ("__weakref__", "entries")

    def __init__(self, entries: SortedDict) -> None:
        self.entries = entries


NOTHING = Held(SortedDict())


class Rows:
    """One tree's entries: read them as they are, hold them, or own them to change them."""

    __slots__ = ("_holder", "entries")

    def __init__(self) -> None:
        # Most are never written to, such as all trees of a store that is opened.
        self.entries = NOTHING.entries
        self._holder: Callable[[], Held | None] = lambda: NOTHING

    def hold(self) -> Held:
        held = self._holder()
        if held is None:
            held = Held(self.entries)
            self._holder = weakref.ref(held)
        return held

    def own(self) -> SortedDict:
        if self._holder() is not None:
            self.entries = self.entries.copy()
            self._holder = lambda: None
        return self.entries


class Cursor(Iterator[Item]):
    """See :class:`conduitstore.kv.Items`: two walks of the same entries, from either end."""

    def __init__(self, near: Iterator[Item], far: Iterator[Item]) -> None:
        self._ends = [near, far]
        self._last_keys: list[bytes | None] = [None, None]

    def _take(self, end: int) -> Item | None:
        item = next(self._ends[end], None)
        if item is None or item[0] == self._last_keys[1 - end]:
            self._ends = [iter(()), iter(())]  # Lets go of the entries.
            return None
        self._last_keys[end] = item[0]
        return item

    def __next__(self) -> Item:
        item = self._take(0)
        if item is None:
            raise StopIteration
        return item

    def next_back(self) -> Item | None:
        return self._take(1)

    def __reversed__(self) -> Cursor:
        near, far = self._ends
        rest = Cursor(far, near)
        rest._last_keys = self._last_keys[::-1]
        self._ends = [iter(()), iter(())]
        return rest


def _walk(
    base: Held, over: Held, lo: bytes | None, hi: bytes | None, *, reverse: bool
) -> Iterator[Item]:
    """``base`` in order, as the entries written ``over`` it (None: removed) change it."""
    sides = [side.entries.irange(lo, hi, (True, False), reverse) for side in (base, over)]
    for key, _ in groupby(heapq.merge(*sides, reverse=reverse)):
        value = over.entries[key] if key in over.entries else base.entries[key]
        if value is not None:
            yield key, value


def entries(
    base: Held,
    bounds: tuple[bytes | None, bytes | None],
    *,
    reverse: bool,
    limit: int | None,
) -> list[Item]:
    """What a cursor walks that nobody wrote over, read at once."""
    return list(islice(_walk(base, NOTHING, *bounds, reverse=reverse), limit))


def cursor(
    base: Held,
    over: Held,
    bounds: tuple[bytes | None, bytes | None],
    *,
    reverse: bool,
    limit: int | None,
) -> Cursor:
    """Walk the entries between ``bounds`` of ``base`` as changed by what is written ``over`` it."""
    lo, hi = map(check_bound, bounds)
    limit = check_limit(limit)
    near = _walk(base, over, lo, hi, reverse=reverse)
    if limit is None:
        return Cursor(near, _walk(base, over, lo, hi, reverse=not reverse))
    whole = _walk(base, over, lo, hi, reverse=reverse)
    return Cursor(islice(near, limit), backwards(islice(whole, limit)))


def backwards(items: Iterator[T]) -> Iterator[T]:
    """Reads them all when the first is asked for."""
    yield from reversed(list(items))
