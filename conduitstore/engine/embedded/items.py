"""Double-ended iterators over one frozen state.

``Items`` is an ``itertools.chain`` over one zip per leaf, so a plain loop runs at C speed and holds
one leaf's keys at a time. The first use of the far end stops that: from then on either end takes
single entries out of the range that is left, which is simple and fast enough for what is rare.

Most ranges are pages that one leaf in memory answers: those are cut at once, see ``items_of``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import chain, islice
from operator import length_hint

from conduitstore.kv import Item

from .frozen import Hold
from .index import Root, first_leaf, last_leaf, walk

Slice = tuple[list[bytes], dict[bytes, bytes]]
"""Some keys in walking order, the caller's to change, and a dict with at least their values."""
Slices = Callable[[bytes | None, bytes | None, bool], Iterator[Slice]]
"""(lo, hi, reverse) to the non-empty slices of a range, in walking order."""


class Items(chain[Item]):
    """See :class:`conduitstore.kv.Items`."""

    _range: _Range

    @classmethod
    def over(
        cls, slices: Slices, lo: bytes | None, hi: bytes | None, limit: int | None, *, reverse: bool
    ) -> Items:
        """Iterate ``[lo, hi)`` of a state that no longer changes."""
        left = _Range(slices, lo, hi, limit, reverse, [])
        items: Items = cls.from_iterable(left.near_end())  # type: ignore[assignment]
        items._range = left
        return items

    def next_back(self) -> Item | None:
        """Take one entry from the far end."""
        self._range.settle()
        return self._range.take(reverse=not self._range.reverse)

    def __reversed__(self) -> Items:
        """Walk what is left from the far end; this iterator ends."""
        left = self._range
        left.settle()
        rest = Items.over(left.slices, left.lo, left.hi, left.limit, reverse=not left.reverse)
        left.limit = 0
        return rest


class _Range:
    """What is left of a range: bounds and limit shrink as entries are taken."""

    __slots__ = ("_iterator", "_keys", "_settled", "hi", "limit", "lo", "reverse", "slices")

    def __init__(
        self,
        slices: Slices,
        lo: bytes | None,
        hi: bytes | None,
        limit: int | None,
        reverse: bool,  # noqa: FBT001
        keys: list[bytes],
    ) -> None:
        self.slices = slices
        self.lo = lo
        self.hi = hi
        self.limit = limit
        self.reverse = reverse
        self._keys = keys  # those of the near end's leaf, in walking order
        self._iterator = iter(keys)
        self._settled = False

    def only_leaf(self, entries: dict[bytes, bytes]) -> Iterator[Item]:
        """The near end where its first leaf has all of the range."""
        return zip(self._iterator, map(entries.__getitem__, self._keys), strict=False)

    def __iter__(self) -> Iterator[Item]:
        """What follows when that has ended: nothing, unless the far end was asked for."""
        while self._settled and (item := self.take(reverse=self.reverse)) is not None:
            yield item

    def near_end(self) -> Iterator[Iterator[Item]]:
        """One zip a leaf until somebody asks for the far end; then one entry at a time."""
        if self._is_empty():
            return
        for keys, entries in self.slices(self.lo, self.hi, self.reverse):
            if self.is_settled():
                break
            if self.limit is not None:
                del keys[self.limit :]
            self._keys, self._iterator = keys, iter(keys)
            yield zip(self._iterator, map(entries.__getitem__, keys), strict=False)
            if self.is_settled():
                break
            self._taken(keys)
            if self.limit == 0:
                return
        else:
            return
        yield iter(self)

    def _is_empty(self) -> bool:
        lo, hi = self.lo, self.hi
        return self.limit == 0 or (lo is not None and hi is not None and lo >= hi)

    def _taken(self, keys: list[bytes]) -> None:
        """Shrink the range by these keys of the near end."""
        self._keys = []
        if keys and self.reverse:
            self.hi = keys[-1]
        elif keys:
            self.lo = keys[-1] + b"\0"
        if self.limit is not None:
            self.limit -= len(keys)

    def is_settled(self) -> bool:
        """Whether the far end has been asked for."""
        return self._settled

    def settle(self) -> None:
        """Stop the near end's zip where it stands, so that both ends share one range."""
        if self.is_settled():
            return
        self._settled = True
        keys = self._keys
        if keys:
            del keys[len(keys) - length_hint(self._iterator) :]
            self._taken(keys)

    def take(self, *, reverse: bool) -> Item | None:
        """Take one entry from one end."""
        if self._is_empty():
            return None
        found = next(self.slices(self.lo, self.hi, reverse), None)
        if found is None:
            return None
        keys, entries = found
        if reverse:
            self.hi = keys[0]
        else:
            self.lo = keys[0] + b"\0"
        if self.limit is not None:
            self.limit -= 1
        return keys[0], entries[keys[0]]


def items_of(
    root: Root,
    hold: Hold,
    lo: bytes | None,
    hi: bytes | None,
    limit: int | None,
    reverse: bool,  # noqa: FBT001
) -> Items:
    """Iterate ``[lo, hi)`` of one root."""
    found = _in_one_leaf(root, lo, hi, limit, reverse)
    if found is None:
        return Items.over(slices_of(root, hold), lo, hi, limit, reverse=reverse)
    keys, entries = found
    left = _Range(slices_of(root, hold), lo, hi, limit, reverse, keys)
    items = Items(left.only_leaf(entries), left)
    items._range = left  # noqa: SLF001 - its own module
    return items


def _in_one_leaf(
    root: Root,
    lo: bytes | None,
    hi: bytes | None,
    limit: int | None,
    reverse: bool,  # noqa: FBT001
) -> Slice | None:
    """The whole range, if its first leaf is in memory and no other has to be asked."""
    leaf, end_of_leaf = last_leaf(root, hi) if reverse else first_leaf(root, lo)
    keys, entries = leaf.keys, leaf.entries
    if keys is None or entries is None:
        return None
    leaf.touched = True
    begin = bisect_left(keys, lo) if lo is not None else 0
    end = bisect_left(keys, hi) if hi is not None else len(keys)
    if limit is not None and end - begin >= limit:
        begin, end = (end - limit, end) if reverse else (begin, begin + limit)
    elif end_of_leaf is not None and (
        (lo is None or lo < end_of_leaf) if reverse else (hi is None or hi > end_of_leaf)
    ):
        return None
    part = keys[begin:end]
    if reverse:
        part.reverse()
    return part, entries


def keys_of(
    root: Root,
    hold: Hold,
    lo: bytes | None,
    hi: bytes | None,
    limit: int | None,
    reverse: bool,  # noqa: FBT001
) -> Iterator[bytes]:
    """Only the keys of ``[lo, hi)`` of one root: no blob is read for them."""
    found = _in_one_leaf(root, lo, hi, limit, reverse)
    if found is None:
        return keys_in(slices_of(root, hold), lo, hi, limit, reverse=reverse)
    return iter(found[0])


def keys_in(
    slices: Slices, lo: bytes | None, hi: bytes | None, limit: int | None, *, reverse: bool
) -> Iterator[bytes]:
    """Only the keys of ``[lo, hi)``: no blob is read for them."""
    if lo is not None and hi is not None and lo >= hi:
        return iter(())
    keys = chain.from_iterable(keys for keys, _ in slices(lo, hi, reverse))
    return keys if limit is None else islice(keys, limit)


def slices_of(root: Root, hold: Hold) -> Slices:
    """The slices of one root."""

    def slices(lo: bytes | None, hi: bytes | None, reverse: bool) -> Iterator[Slice]:  # noqa: FBT001
        for leaf in walk(root, lo, hi, reverse=reverse):
            keys, entries = hold.cache.contents(leaf)
            begin = bisect_left(keys, lo) if lo is not None else 0
            end = bisect_left(keys, hi) if hi is not None else len(keys)
            if begin < end:
                part = keys[begin:end]
                if reverse:
                    part.reverse()
                yield part, entries

    return slices
