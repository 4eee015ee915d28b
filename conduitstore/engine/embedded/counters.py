"""The global count and the ids: drawn from memory, kept behind durable ceilings.

- No number above its ceiling is ever given out, and a ceiling is on the platter before the first
  number under it is. After an unclean end both go on from their ceilings, so no number comes twice
  and no count can appear below one that a client may hold.
- The flusher raises ceilings ahead of need; without it, whoever reaches one waits for one sync.
- A clean close records the exact numbers: no gap.
- Single ids come out of a block that is an iterator of numbers: its ``next`` is one call into C, so
  threads need no lock to share it. Whoever wants several takes back what is left of the block.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from operator import length_hint

from conduitstore.errors import ClosedError, InvalidArgumentError
from conduitstore.kv import IDS_MAX

from .manifest import Ceilings, Generation

ID_BLOCK = 1 << 10
"""How many ids are laid out for single calls."""
COUNT_RESERVE = 1 << 16
"""How far ahead the ceiling of the count is raised."""


def first_numbers(found: Generation, replayed_count: int) -> tuple[int, int]:
    """From which count drawn and which next id an open goes on."""
    ceilings = found.ceilings.raised_by(found.fork)
    if found.fork:
        return ceilings.count, ceilings.ids
    if not found.is_clean:
        # Above every number that was ever given out, seen by a client or not.
        return max(ceilings.count, replayed_count), ceilings.ids
    return found.drawn, found.ids


class Counters:
    """``draw`` needs the writer lock, taking ids nothing."""

    def __init__(
        self, *, drawn: int, ids: int, id_reserve: int, publish: Callable[[Ceilings], None]
    ) -> None:
        self.drawn = drawn
        self._block = iter(range(0))
        self._block_end = ids  # the next id is the next one of the block, or else this
        self._id_reserve = id_reserve
        self._publish = publish
        self._lock = threading.Lock()
        self._raise_lock = threading.Lock()
        self._is_sealed = False
        self.ceilings = self.wanted()

    def wanted(self) -> Ceilings:
        """Ceilings with a whole reserve below them."""
        return Ceilings(self.drawn + COUNT_RESERVE, self.ids + self._id_reserve)

    def draw(self) -> int:
        """The next global count; the first is 1."""
        if self.drawn >= self.ceilings.count:
            self._raise_ceilings(Ceilings(self.drawn + COUNT_RESERVE, 0))
        self.drawn += 1
        return self.drawn

    @property
    def ids(self) -> int:
        """The next id; exact once no more are given out."""
        with self._lock:
            return self._block_end - length_hint(self._block)

    def take_id(self) -> int:
        """The next id; the first ever is 0."""
        taken = next(self._block, None)
        return self._take_from_new_block() if taken is None else taken

    def _take_from_new_block(self) -> int:
        with self._lock:
            taken = next(self._block, None)
            if taken is None:  # Nobody was here meanwhile.
                taken = self._claim(1)
                self._block_end = min(taken + ID_BLOCK, self.ceilings.ids, IDS_MAX)
                self._block = iter(range(taken + 1, self._block_end))
        return taken

    def take_ids(self, total: int) -> range:
        """``total`` consecutive ids."""
        if type(total) is not int or total < 0:
            raise InvalidArgumentError(f"ids are reserved by a total of 0 or more, not {total!r}")
        with self._lock:
            self._take_back()
            begin = self._claim(total)
            self._block_end = begin + total
        return range(begin, begin + total)

    def _claim(self, total: int) -> int:
        """See to it that ``total`` ids may be given out; gives the first. Needs an empty block."""
        if self._is_sealed:
            raise ClosedError("the store is closed")
        begin, end = self._block_end, self._block_end + total
        if end > IDS_MAX:
            raise InvalidArgumentError(f"there are no {total} ids left below {IDS_MAX}")
        if end > self.ceilings.ids:
            self._raise_ceilings(Ceilings(0, end + self._id_reserve))
        return begin

    def _take_back(self) -> None:
        """Empty the block: who holds it gets nothing from it any more."""
        left = list(self._block)
        if left and len(left) == self._block_end - left[0]:  # Else somebody took one amid this.
            self._block_end = left[0]

    def advance(self, drawn: int, ids: int) -> None:
        """Go on above both; needs the writer lock, as :meth:`draw` does."""
        with self._lock:
            self._take_back()
            drawn, ids = max(drawn, self.drawn), max(ids, self._block_end)
            self._raise_ceilings(Ceilings(drawn + COUNT_RESERVE, ids + self._id_reserve))
            self.drawn, self._block_end = drawn, ids

    def seal(self) -> None:
        """Give out no more ids: what is recorded from here on is exact."""
        with self._lock:
            self._take_back()
            self._is_sealed = True

    def raise_ahead(self) -> None:
        """Raise the ceilings when half a reserve is gone."""
        count, ids = self.ceilings.count, self.ceilings.ids
        if count - self.drawn < COUNT_RESERVE // 2 or ids - self.ids < self._id_reserve // 2:
            self._raise_ceilings(self.wanted())

    def _raise_ceilings(self, to: Ceilings) -> None:
        with self._raise_lock:
            raised = self.ceilings.raised_to(to)
            if raised != self.ceilings:
                self._publish(raised)
                self.ceilings = raised
