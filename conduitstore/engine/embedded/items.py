"""Double-ended iterators over one frozen state.

``Items`` is an ``itertools.chain`` over one zip per leaf, so a plain loop runs at C speed and holds
one leaf's keys at a time. The first use of the far end stops that: from then on either end takes
single entries out of the range that is left, which is simple and fast enough for what is rare.

Most ranges are none of these, but pages that are read at once: see :mod:`.page`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from operator import length_hint

from conduitstore.kv import Item

from .frozen import Hold
from .index import Root, walk
from .leaf import in_order

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
        left = _Range(slices, lo, hi, limit, reverse)
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
    """What is left of a range: its bounds close in, and its limit goes down, as it is walked."""

    __slots__ = ("_iterator", "_keys", "_settled", "hi", "limit", "lo", "reverse", "slices")

    def __init__(
        self,
        slices: Slices,
        lo: bytes | None,
        hi: bytes | None,
        limit: int | None,
        reverse: bool,  # noqa: FBT001
    ) -> None:
        self.slices = slices
        self.lo = lo
        self.hi = hi
        self.limit = limit
        self.reverse = reverse
        self._keys: list[bytes] = []  # those of the near end's leaf, in walking order
        self._iterator = iter(self._keys)
        self._settled = False

    def __iter__(self) -> Iterator[Item]:
        """What is left of a range of which the far end was asked for."""
        while (item := self.take(reverse=self.reverse)) is not None:
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
        if not self.is_settled():
            self._settled = True
            keys = self._keys
            if keys:
                del keys[len(keys) - length_hint(self._iterator) :]
                self._taken(keys)
        if self.limit:
            self._end_at_limit()

    def _end_at_limit(self) -> None:
        """Put a bound where the limit was."""
        keys = keys_in(self.slices, self.lo, self.hi, self.limit, reverse=self.reverse)
        for last in deque(keys, maxlen=1):
            if self.reverse:
                self.lo = last
            else:
                self.hi = last + b"\0"
        self.limit = None

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
        return keys[0], entries[keys[0]]


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
            keys = in_order(leaf, keys, entries)
            begin = bisect_left(keys, lo) if lo is not None else 0
            end = bisect_left(keys, hi) if hi is not None else len(keys)
            if begin < end:
                part = keys[begin:end]
                if reverse:
                    part.reverse()
                yield part, entries

    return slices
