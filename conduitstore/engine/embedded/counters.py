"""The global count and the ids: drawn from memory, kept behind durable ceilings.

- No number above its ceiling is ever given out, and a ceiling is on the platter before the first
  number under it is. After an unclean end both go on from their ceilings, so no number comes twice
  and no count can appear below one that a client may hold.
- The flusher raises ceilings ahead of need; without it, whoever reaches one waits for one sync.
- A clean close records the exact numbers: no gap.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from conduitstore.errors import ClosedError, InvalidArgumentError
from conduitstore.kv import IDS_MAX

from .manifest import FORK_GAP, Ceilings, Generation

COUNT_RESERVE = 1 << 16
"""How far ahead the ceiling of the count is raised."""


def first_numbers(found: Generation, replayed_count: int) -> tuple[int, int]:
    """From which count drawn and which next id an open goes on."""
    ceilings = found.ceilings
    if found.is_backup:
        return ceilings.count + FORK_GAP, ceilings.ids + FORK_GAP
    if not found.is_clean:
        # Above every number that was ever given out, seen by a client or not.
        return max(ceilings.count, replayed_count), ceilings.ids
    return found.drawn, found.ids


class Counters:
    """``draw`` needs the writer lock, ``take_ids`` nothing."""

    def __init__(
        self, *, drawn: int, ids: int, id_reserve: int, publish: Callable[[Ceilings], None]
    ) -> None:
        self.drawn = drawn
        self.ids = ids
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

    def take_ids(self, total: int) -> range:
        """``total`` consecutive ids; the first ever is 0."""
        if type(total) is not int or total < 0:
            raise InvalidArgumentError(f"ids are reserved by a total of 0 or more, not {total!r}")
        with self._lock:
            if self._is_sealed:
                raise ClosedError("the store is closed")
            end = self.ids + total
            if end > IDS_MAX:
                raise InvalidArgumentError(f"there are no {total} ids left below {IDS_MAX}")
            if end > self.ceilings.ids:
                self._raise_ceilings(Ceilings(0, end + self._id_reserve))
            taken = range(self.ids, end)
            self.ids = end
        return taken

    def advance(self, drawn: int, ids: int) -> None:
        """Go on above both; needs the writer lock, as :meth:`draw` does."""
        with self._lock:
            drawn, ids = max(drawn, self.drawn), max(ids, self.ids)
            self._raise_ceilings(Ceilings(drawn + COUNT_RESERVE, ids + self._id_reserve))
            self.drawn, self.ids = drawn, ids

    def seal(self) -> None:
        """Give out no more ids: what is recorded from here on is exact."""
        with self._lock:
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
