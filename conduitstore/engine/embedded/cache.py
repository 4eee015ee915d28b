"""What is in memory of clean leaves and blobs: bounded in bytes, read on demand, scans kept apart.

Whatever enters goes on probation first: a queue that gets a tenth of the room once the room is
full. What was read again when its turn comes moves to the main queue, anything else goes. The main
queue is a clock: what was read since its last turn stays for another. So one scan of everything
passes through the tenth and leaves what is hot alone. What comes back soon after it went on
probation is hot after all and enters the main queue at once: a leaf remembers when it went.

Of a leaf that only point reads ask for, the rows that they ask for stay, and not the others: see
:mod:`.excerpt`. One whose columns are asked again and again is split after all, and then is as any.

- Contents are installed and dropped under the cache's lock, read without it.
- Loading happens outside the lock: two readers may read the same leaf twice, never wait for
  each other's disk. Nor for the lock: who finds it taken leaves what it read out of the cache.
- Dirty leaves are not here: :mod:`.backlog` bounds them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from .blob import Blob
from .columns import Columns
from .excerpt import EXCERPT_BYTES, Excerpt, Folded, Rows
from .leaf import Leaf

Contents = tuple[list[bytes], dict[bytes, bytes]]
Found = tuple[Columns | Folded, bytes, bytes | None]
"""Columns, a key that was looked for in them, and its value."""
Entry = Leaf | Blob
E = TypeVar("E", Leaf, Blob, Excerpt)
C = TypeVar("C", Contents, Found, bytes)
NO_WAITING = (False,)

PROBATION_SHARE = 10
"""One part in so many of the capacity is left to what was read only once."""
COLUMNS_SHARE = 20
"""And one in so many to the columns of leaves that are not whole."""
ASKED_MAX = 3
"""So often columns are asked for a row; then they are split."""


class Cache:
    """The clean leaves and blobs of one store that are in memory."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.resident_bytes = 0
        self.loads_total = 0
        self._lock = threading.Lock()
        self._probation: deque[Entry] = deque()
        self._probation_bytes = 0
        self._main: deque[Entry | Rows] = deque()
        self._columns: deque[Leaf] = deque()  # those that have columns, and these have a turn
        self._columns_bytes = 0
        self._turn = 1  # goes up with every entry that leaves probation for good

    # Reading --------------------------------------------------------------------------------
    def contents(self, leaf: Leaf) -> Contents:
        """Keys and entries of a leaf, read from its segment when they are not in memory.

        The keys that came last are for :func:`~.leaf.in_order`.
        """
        keys, entries = leaf.keys, leaf.entries
        if keys is not None and entries is not None:
            leaf.touched = leaf.walked = True
            return keys, entries
        location, excerpt = leaf.location, leaf.excerpt
        assert location is not None
        columns = excerpt.columns if excerpt is not None else None
        if columns is None:
            columns = location.segment.load(location)
            self.loads_total += 1
        if isinstance(columns, Folded):
            contents = columns.keys, columns.entries
        else:
            contents = location.segment.contents(location, columns, self)
        self._unless_taken(self._install, leaf, contents)
        return contents

    def value(self, leaf: Leaf, key: bytes) -> bytes | None:
        """What a leaf that is not whole in memory has under a key."""
        location, excerpt, columns = leaf.location, leaf.excerpt, None
        assert location is not None
        if excerpt is not None:
            row = excerpt.again.get(key)
            if row is not None:
                return row
            row = excerpt.once.get(key)
            if row is not None:
                self._unless_taken(self._renew, excerpt, key)
                return row
            columns = excerpt.columns
            if excerpt.asked_total >= ASKED_MAX:
                entries = self.contents(leaf)[1]
                leaf.touched = True
                return entries.get(key)
        elif location.blobs:
            stored: Any = self.contents(leaf)[1]  # Compiled, a dict's get() is none of a subclass.
            value: bytes | None = stored.get(key)
            return value
        if columns is None:
            columns = location.segment.load(location)
            self.loads_total += 1
        value = columns.get(key)
        self._unless_taken(self._keep, leaf, (columns, key, value))
        return value

    def has(self, leaf: Leaf, key: bytes) -> bool:
        """Whether a leaf has a key: no blob is read for that."""
        location = leaf.location
        if leaf.entries is None and location is not None and not location.blobs:
            return self.value(leaf, key) is not None
        return key in self.contents(leaf)[1]

    def blob_value(self, blob: Blob) -> bytes:
        """A blob's value, read from its segment."""
        value = blob.load()
        self.loads_total += 1
        self._unless_taken(self._install_blob, blob, value)
        kept = blob.value  # Another reader may have been first: let both see the same object.
        return value if kept is None else kept

    # Keeping --------------------------------------------------------------------------------
    def _unless_taken(self, install: Callable[[E, C], None], entry: E, contents: C) -> None:
        """Install what was read under the lock, or not at all where somebody has that."""
        taken: list[bool] = []
        try:
            # One call into C: an interrupt comes before it, or finds what it did.
            taken.extend(map(self._lock.acquire, NO_WAITING))
            if taken[0]:
                install(entry, contents)
        finally:
            if True in taken:
                self._lock.release()

    def _install(self, leaf: Leaf, contents: Contents) -> None:
        if leaf.entries is None:
            leaf.keys, leaf.entries = contents
            self._admit(leaf)

    def _install_blob(self, blob: Blob, value: bytes) -> None:
        if blob.value is None:
            blob.value = value
            self._admit(blob)

    def _renew(self, excerpt: Excerpt, key: bytes) -> None:
        excerpt.renew(key)

    def _keep(self, leaf: Leaf, found: Found) -> None:
        columns, key, value = found
        excerpt = leaf.excerpt
        if excerpt is None:
            excerpt = leaf.excerpt = Excerpt()
        if value is not None:
            if not excerpt.has_rows:
                self._main.append(Rows(leaf, excerpt))
                self.resident_bytes += EXCERPT_BYTES
            self.resident_bytes += excerpt.keep(key, value)
        excerpt.asked_total += 1
        if excerpt.columns is None:
            self._wait(leaf, excerpt, columns)
        if self.resident_bytes > self.capacity_bytes:
            self._make_room()

    def _wait(self, leaf: Leaf, excerpt: Excerpt, columns: Columns | Folded) -> None:
        excerpt.columns = columns
        leaf.excerpt = excerpt
        self._columns.append(leaf)
        columns_bytes = columns.memory_bytes
        self._columns_bytes += columns_bytes
        self.resident_bytes += columns_bytes

    def admit(self, entry: Entry) -> None:
        """Take in what was dirty until now."""
        with self._lock:
            self._admit(entry)

    def _admit(self, entry: Entry) -> None:
        entry_bytes = entry.memory_bytes
        self.resident_bytes += entry_bytes
        if entry.evicted_at and self._turn - entry.evicted_at <= len(self._main):
            self._main.append(entry)
        else:
            self._probation.append(entry)
            self._probation_bytes += entry_bytes
        self._make_room()

    # Letting go -----------------------------------------------------------------------------
    def _make_room(self) -> None:
        while self.resident_bytes > self.capacity_bytes:
            columns_over = self._columns_bytes > self.capacity_bytes // COLUMNS_SHARE
            probation_over = self._probation_bytes > self.capacity_bytes // PROBATION_SHARE
            if self._columns and (columns_over or not (self._probation or self._main)):
                self._forget_columns(self._columns.popleft())
            elif self._probation and (probation_over or not self._main):
                self._judge(self._probation.popleft())
            elif self._main:
                self._turn_clock(self._main.popleft())
            else:  # An interrupt amid the sums left them too high: nothing is here.
                self.resident_bytes = self._columns_bytes = self._probation_bytes = 0

    def _fold(self, leaf: Leaf) -> None:
        """Only rows were asked for: from now on see which. If many are it is whole again soon."""
        keys, entries, excerpt = leaf.keys, leaf.entries, leaf.excerpt or Excerpt()
        if type(entries) is dict and keys is not None and excerpt.columns is None:
            self._wait(leaf, excerpt, Folded(keys, entries, leaf.memory_bytes))
            leaf.touched = False

    def _forget_columns(self, leaf: Leaf) -> None:
        excerpt = leaf.excerpt
        assert excerpt is not None
        assert excerpt.columns is not None
        columns_bytes = excerpt.columns.memory_bytes
        excerpt.columns, excerpt.asked_total = None, 0
        if not excerpt.has_rows:
            leaf.excerpt = None
        self._columns_bytes -= columns_bytes
        self.resident_bytes -= columns_bytes

    def _judge(self, entry: Entry) -> None:
        """The end of an entry's probation."""
        entry_bytes = entry.memory_bytes
        self._probation_bytes -= entry_bytes
        if entry.was_asked() and entry_bytes <= self.capacity_bytes:
            self._main.append(entry)
            return
        self._turn += 1
        entry.evicted_at = self._turn
        entry.evict()
        self.resident_bytes -= entry_bytes

    def _turn_clock(self, oldest: Entry | Rows) -> None:
        if isinstance(oldest, Leaf) and oldest.touched and not oldest.walked:
            self._fold(oldest)
        self.resident_bytes -= oldest.memory_bytes
        if oldest.was_asked():
            self._main.append(oldest)
            self.resident_bytes += oldest.memory_bytes
        else:
            oldest.evict()
