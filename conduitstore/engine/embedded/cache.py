"""Which clean leaves and blobs are in memory: bounded in bytes, loaded on demand, scans kept apart.

Whatever enters goes on probation first: a queue that gets a tenth of the room once the room is
full. What was read again when its turn comes moves to the main queue, anything else goes. The main
queue is a clock: what was read since its last turn stays for another. So one scan of everything
passes through the tenth and leaves what is hot alone. What comes back soon after it went on
probation is hot after all and enters the main queue at once: a leaf remembers when it went.

- Contents are installed and dropped under the cache's lock, read without it.
- Loading happens outside the lock: two readers may read the same leaf twice, never wait for
  each other's disk. Nor for the lock: who finds it taken leaves what it read out of the cache.
- Dirty leaves are not here: :mod:`.backlog` bounds them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from .blob import Blob
from .leaf import Leaf

Contents = tuple[list[bytes], dict[bytes, bytes]]
Entry = Leaf | Blob
E = TypeVar("E", Leaf, Blob)
C = TypeVar("C", Contents, bytes)
NO_WAITING = (False,)

PROBATION_SHARE = 10
"""One part in so many of the capacity is left to what was read only once."""


class Cache:
    """The clean leaves and blobs of one store that are in memory."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.resident_bytes = 0
        self.loads_total = 0
        self._lock = threading.Lock()
        self._probation: deque[Entry] = deque()
        self._probation_bytes = 0
        self._main: deque[Entry] = deque()
        self._turn = 1  # goes up with every entry that leaves probation for good

    def contents(self, leaf: Leaf) -> Contents:
        """Keys and entries of a leaf, read from its segment when they are not in memory."""
        keys, entries = leaf.keys, leaf.entries
        if keys is not None and entries is not None:
            leaf.touched = True
            return keys, entries
        location = leaf.location
        assert location is not None
        contents = location.segment.load(location, self)
        self._unless_taken(self._install, leaf, contents)
        return contents

    def blob_value(self, blob: Blob) -> bytes:
        """A blob's value, read from its segment."""
        value = blob.load()
        self._unless_taken(self._install_blob, blob, value)
        kept = blob.value  # Another reader may have been first: let both see the same object.
        return value if kept is None else kept

    def _unless_taken(self, install: Callable[[E, C], None], entry: E, contents: C) -> None:
        """Install what was read under the lock, or not at all where somebody has that."""
        taken: list[bool] = []
        try:
            # One call into C: an interrupt comes before it, or finds what it did.
            taken.extend(map(self._lock.acquire, NO_WAITING))
            if taken[0]:
                self.loads_total += 1
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
        while self.resident_bytes > self.capacity_bytes:
            share = self.capacity_bytes // PROBATION_SHARE
            if self._probation and (self._probation_bytes > share or not self._main):
                self._judge(self._probation.popleft())
            else:
                self._turn_clock()

    def _judge(self, entry: Entry) -> None:
        """The end of an entry's probation."""
        entry_bytes = entry.memory_bytes
        self._probation_bytes -= entry_bytes
        if entry.touched and entry_bytes <= self.capacity_bytes:
            entry.touched = False
            self._main.append(entry)
            return
        self._turn += 1
        entry.evicted_at = self._turn
        self._evict(entry)

    def _turn_clock(self) -> None:
        oldest = self._main.popleft()
        if oldest.touched:
            oldest.touched = False
            self._main.append(oldest)
        else:
            self._evict(oldest)

    def _evict(self, entry: Entry) -> None:
        self.resident_bytes -= entry.memory_bytes
        entry.evict()
