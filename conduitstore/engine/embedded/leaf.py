"""A leaf: a run of neighbouring entries, the unit of memory, compression and disk.

- ``keys`` is sorted and holds the keys of ``entries`` but those that came last. A dict knows in
  which order its keys came, so a write notes nothing about that, and :func:`in_order` sorts them in
  when somebody asks for an order. In a clean leaf it holds them all.
- A leaf without a location is dirty: it is in memory and nowhere else but in the log.
- A leaf with a location is clean and its contents never change again. They may be dropped from
  memory (both attributes None) and loaded again; there may be an excerpt of them meanwhile. A
  checkpoint may give it another location.
- A dirty leaf changes in place only while nobody else can walk it: see ``forest``.
  Point readers may look while it does, and look only at ``entries``.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from .columns import BlobReference, Columns, encode_columns
from .compression import compressed, decompressed
from .format import COMPRESSED
from .location import Location

if TYPE_CHECKING:
    import zstandard

    from .excerpt import Excerpt

ENTRY_OVERHEAD_BYTES = 160
"""What an entry costs in memory beside the bytes of its key and value."""


FEW = 8
"""Fewer new keys are each put in their place: sorting compares all the others, too."""


class Leaf:
    """See the module's rules."""

    __slots__ = (
        "entries",
        "epoch",
        "evicted_at",
        "excerpt",
        "keys",
        "location",
        "size_bytes",
        "touched",
        "walked",
    )

    def __init__(
        self,
        keys: list[bytes] | None,
        entries: dict[bytes, bytes] | None,
        *,
        size_bytes: int = 0,
        epoch: int = 0,
        location: Location | None = None,
    ) -> None:
        self.keys = keys
        self.entries = entries
        self.size_bytes = size_bytes  # of keys and values
        self.epoch = epoch
        self.location = location
        self.excerpt: Excerpt | None = None
        self.touched = False  # by any reader, since its last turn in the cache
        self.walked = False  # by one who needed more than a row
        self.evicted_at = 0

    @property
    def entries_total(self) -> int:
        """How many entries it has, loaded or not."""
        entries = self.entries  # Looked at first: what is not loaded has a location, for good.
        if entries is not None:
            return len(entries)
        assert self.location is not None
        return self.location.entries_total

    @property
    def memory_bytes(self) -> int:
        """What its contents take while they are loaded."""
        return self.size_bytes + ENTRY_OVERHEAD_BYTES * self.entries_total

    def was_asked(self) -> bool:
        """Whether anything was asked for since this was last called."""
        was, self.touched, self.walked = self.touched, False, False
        return was

    def evict(self) -> None:
        """Let the contents leave memory."""
        self.entries = self.keys = None


def in_order(leaf: Leaf, keys: list[bytes], entries: dict[bytes, bytes]) -> list[bytes]:
    """All keys of a leaf that is in memory, sorted, from what its attributes were a moment ago.

    For whoever may walk the leaf, so nobody changes it meanwhile. Two may come here at once: both
    make the same list.
    """
    came_last = len(entries) - len(keys)
    if came_last:
        late = islice(reversed(entries), came_last)
        if came_last < FEW:
            keys = keys.copy()
            for key in late:
                insort(keys, key)
        else:
            keys = sorted([*keys, *late])
        leaf.keys = keys
    return keys


def payload_bytes(entries: dict[bytes, bytes]) -> int:
    """Bytes of keys and values together."""
    return sum(map(len, entries)) + sum(map(len, entries.values()))


def stored_values(keys: list[bytes], entries: dict[bytes, bytes]) -> list[Any]:
    """What ``entries`` holds under ``keys``: blobs as they are, not their values."""
    if type(entries) is dict:
        return list(map(entries.__getitem__, keys))
    return list(map(partial(dict.__getitem__, entries), keys))


def encode_leaf(
    tree_id: int,
    generation: int,
    keys: list[bytes],
    stored: Iterable[bytes | BlobReference],
    compressor: zstandard.ZstdCompressor | None,
) -> tuple[bytes, int]:
    """Payload and flags of the leaf's frame; ``stored`` are the values of ``keys``, in order."""
    payload = encode_columns(tree_id, generation, keys, stored)
    payload, is_compressed = compressed(payload, compressor)
    return payload, COMPRESSED if is_compressed else 0


def decode_columns(payload: bytes, flags: int) -> Columns:
    """The columns in a leaf's frame.

    Raises:
        ValueError: the bytes are none of ours.
    """
    return Columns(decompressed(payload) if flags & COMPRESSED else payload)


def decode_leaf(payload: bytes, flags: int) -> tuple[int, int, list[bytes], list[Any]]:
    """Tree id, generation, keys and values, blobs among them as their references.

    Raises:
        ValueError: the bytes are none of ours.
    """
    columns = decode_columns(payload, flags)
    return columns.tree_id, columns.generation, *columns.split()
