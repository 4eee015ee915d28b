"""What is in memory of a clean leaf that is not whole there: rows, and for a while its columns.

A point read takes one row out of a leaf's columns. The columns stay for a while, so that the next
one finds them; the row for as long as it is asked for. So what is hot is in memory by the row,
however it is scattered over leaves.

- Rows were true when they were read, and a clean leaf does not change: who finds one may use it.
  Who finds none has to look further.
- A part changes under the cache's lock and is read without it.
- What it holds is in two queues of the cache: :class:`Rows` in the main one while there are any,
  the leaf in that of columns while there are these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .columns import Columns
    from .leaf import Leaf

ROW_BYTES = 160
"""What a row costs in memory beside its key and value."""
PART_BYTES = 400
"""What the rows of a leaf cost beside that."""
NO_ROWS: dict[bytes, bytes] = {}
"""Stands for the many dicts that would be empty. It stays so."""


class Part:
    """See the module's rules."""

    __slots__ = ("again", "again_bytes", "asked_total", "columns", "once", "once_bytes")

    def __init__(self) -> None:
        self.again = NO_ROWS  # rows that were asked for again since the clock came by
        self.again_bytes = 0  # in memory
        self.once = NO_ROWS  # those that were not, and go when it comes
        self.once_bytes = 0
        self.columns: Columns | Folded | None = None
        self.asked_total = 0  # how often these columns were

    @property
    def has_rows(self) -> bool:
        """Whether they are in the main queue."""
        return self.once is not NO_ROWS or self.again is not NO_ROWS

    def keep(self, key: bytes, value: bytes) -> int:
        """Keep a row that was read; gives how much more memory that takes."""
        once = self.once
        if key in once or key in self.again:
            return 0
        if once is NO_ROWS:
            once = self.once = {}
        added_bytes = ROW_BYTES + len(key) + len(value)
        once[key] = value
        self.once_bytes += added_bytes
        return added_bytes

    def renew(self, key: bytes) -> None:
        """A row was asked for again; by now it may be gone."""
        value = self.once.get(key)
        if value is None:
            return
        if self.again is NO_ROWS:
            self.again = {}
        moved_bytes = ROW_BYTES + len(key) + len(value)
        self.again[key] = value  # First: a reader finds it in one of them at any moment.
        self.again_bytes += moved_bytes
        del self.once[key]
        self.once_bytes -= moved_bytes


class Folded:
    """A leaf that was whole, in the place of its columns: see which rows of it are asked for."""

    __slots__ = ("entries", "keys", "memory_bytes")

    def __init__(self, keys: list[bytes], entries: dict[bytes, bytes], memory_bytes: int) -> None:
        self.keys = keys
        self.entries = entries
        self.memory_bytes = memory_bytes

    def get(self, key: bytes) -> bytes | None:
        """As of columns."""
        return self.entries.get(key)


class Rows:
    """The rows of a leaf."""

    __slots__ = ("_leaf", "_part")

    def __init__(self, leaf: Leaf, part: Part) -> None:
        self._leaf = leaf
        self._part = part

    @property
    def memory_bytes(self) -> int:
        """What they take."""
        part = self._part
        return PART_BYTES + part.again_bytes + part.once_bytes

    def was_asked(self) -> bool:
        """Whether any was asked for again since the clock came by; those that were not go."""
        part = self._part
        part.once, part.once_bytes = part.again, part.again_bytes
        part.again, part.again_bytes = NO_ROWS, 0
        return part.once is not NO_ROWS

    def evict(self) -> None:
        """Leave memory: when none was asked for, none is left."""
        part = self._part
        if part.columns is None and self._leaf.part is part:
            self._leaf.part = None
