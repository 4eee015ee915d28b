"""Which clean leaves are in memory: bounded in bytes, loaded on demand, given a second chance.

- A leaf's contents are installed and dropped under the cache's lock, read without it.
- Loading happens outside the lock: two readers may read the same leaf twice, never wait for
  each other's disk.
- Dirty leaves are not here: they are bounded by the length of the log.
"""

from __future__ import annotations

import threading
from collections import deque

from .leaf import Leaf

Contents = tuple[list[bytes], dict[bytes, bytes]]


class Cache:
    """The clean leaves of one store that are in memory."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.resident_bytes = 0
        self.loads_total = 0
        self._lock = threading.Lock()
        self._resident: deque[Leaf] = deque()

    def contents(self, leaf: Leaf) -> Contents:
        """Keys and entries of a leaf, read from its segment when they are not in memory."""
        keys, entries = leaf.keys, leaf.entries
        if keys is not None and entries is not None:
            return keys, entries
        assert leaf.location is not None
        contents = leaf.location.segment.load(leaf)
        with self._lock:
            self.loads_total += 1
            if leaf.entries is None:
                leaf.keys, leaf.entries = contents
                self._admit(leaf)
        return contents

    def admit(self, leaf: Leaf) -> None:
        """Take in a leaf that was dirty until now."""
        with self._lock:
            self._admit(leaf)

    def _admit(self, leaf: Leaf) -> None:
        self._resident.append(leaf)
        self.resident_bytes += leaf.memory_bytes
        while self.resident_bytes > self.capacity_bytes and self._resident:
            oldest = self._resident.popleft()
            if oldest.touched:
                oldest.touched = False
                self._resident.append(oldest)
                continue
            self.resident_bytes -= oldest.memory_bytes
            oldest.entries = oldest.keys = None
