"""A leaf: a run of neighbouring entries, the unit of memory, compression and disk.

- ``keys`` is sorted and holds exactly the keys of ``entries``.
- A leaf without a location is dirty: it is in memory and nowhere else but in the log.
- A leaf with a location is clean and its contents never change again. They may be dropped from
  memory (both attributes None) and loaded again. A checkpoint may give it another location.
- A dirty leaf changes in place only while nobody else can walk it: see ``index.Index.writable``.
  Point readers may look while it does: a new key enters ``entries`` before ``keys``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgpack

from .compression import compressed, decompressed
from .format import COMPRESSED
from .location import Location

if TYPE_CHECKING:
    import zstandard


ENTRY_OVERHEAD_BYTES = 160
"""What an entry costs in memory beside the bytes of its key and value."""
NUMBER_BYTES_MAX = 8
"""Suffixes of one length up to this are stored as differences."""
SUFFIXES_MAX = 1 << 20
"""So many may be told by their first two."""
EMPTY_COLUMN = [0, b""]
BYTES_ONLY = {bytes}
BlobReference = tuple[int, int, int, int]
"""As a leaf stores it: segment number, offset, bytes of the frame, bytes of the value."""


class Leaf:
    """See the module's rules."""

    __slots__ = ("entries", "epoch", "evicted_at", "keys", "location", "size_bytes", "touched")

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
        self.touched = False
        self.evicted_at = 0

    @property
    def entries_total(self) -> int:
        """How many entries it has, loaded or not."""
        keys = self.keys  # Looked at first: what is not loaded has a location by then, for good.
        if keys is not None:
            return len(keys)
        assert self.location is not None
        return self.location.entries_total

    @property
    def memory_bytes(self) -> int:
        """What its contents take while they are loaded."""
        return self.size_bytes + ENTRY_OVERHEAD_BYTES * self.entries_total

    def evict(self) -> None:
        """Let the contents leave memory."""
        self.entries = self.keys = None


def payload_bytes(entries: dict[bytes, bytes]) -> int:
    """Bytes of keys and values together."""
    return sum(map(len, entries)) + sum(map(len, entries.values()))


def stored_values(keys: list[bytes], entries: dict[bytes, bytes]) -> list[Any]:
    """What ``entries`` holds under ``keys``: blobs as they are, not their values."""
    if type(entries) is dict:
        return list(map(entries.__getitem__, keys))
    return list(map(partial(dict.__getitem__, entries), keys))


# On disk: msgpack [tree id, generation, shared prefix, column of key suffixes, column of values],
# compressed where that makes it shorter. A column whose items have all the same length is
# [length, items joined], so that equal lengths are stored once; any other is a plain list. Suffixes
# of one length up to 8 are numbers that rise: each is stored as how far it is above the one before,
# which for keys in sequence is always the same: then the column is [length, first and step, total],
# and takes no more however many they are. In the place of a
# value there may be a reference to a blob: [segment, offset, frame bytes, value bytes].


def encode_leaf(
    tree_id: int,
    generation: int,
    keys: list[bytes],
    stored: Iterable[bytes | BlobReference],
    compressor: zstandard.ZstdCompressor | None,
) -> tuple[bytes, int]:
    """Payload and flags of the leaf's frame; ``stored`` are the values of ``keys``, in order."""
    shared = _shared_prefix(keys[0], keys[-1]) if keys else b""
    cut = len(shared)
    suffixes = [key[cut:] for key in keys]
    values = list(stored)
    payload: bytes = msgpack.packb(
        [tree_id, generation, shared, _rising(_column(suffixes)), _column(values)]
    )
    payload, is_compressed = compressed(payload, compressor)
    return payload, COMPRESSED if is_compressed else 0


def decode_leaf(payload: bytes, flags: int) -> tuple[int, int, list[bytes], list[Any]]:
    """Tree id, generation, keys and values, blobs among them as their references.

    Raises:
        ValueError: the bytes are none of ours.
    """
    if flags & COMPRESSED:
        payload = decompressed(payload)
    tree_id, generation, shared, suffixes, values = msgpack.unpackb(payload)
    if type(shared) is not bytes:
        raise ValueError("keys that are not bytes")
    keys = _keys(shared, suffixes)
    if _is_joined(values):
        return tree_id, generation, keys, _uncolumn(values, len(keys))
    if not set(map(type, values)) <= BYTES_ONLY:
        _check_references(values)
    return tree_id, generation, keys, values


def _check_references(stored: list[Any]) -> None:
    for value in stored:
        if type(value) is bytes:
            continue
        if type(value) is not list or list(map(type, value)) != [int] * 4 or min(value) < 0:
            raise ValueError("a value that is neither bytes nor a reference")


def _shared_prefix(first: bytes, last: bytes) -> bytes:
    """What all keys between two begin with: in sorted order that is what the two share."""
    end = min(len(first), len(last))
    for position in range(end):
        if first[position] != last[position]:
            return first[:position]
    return first[:end]


def _column(items: Sequence[Any]) -> Sequence[Any]:
    lengths = set(map(len, items)) if set(map(type, items)) == {bytes} else set()
    return [lengths.pop(), b"".join(items)] if len(lengths) == 1 else items


def _is_joined(column: Sequence[Any]) -> bool:
    return len(column) == 2 and type(column[0]) is int


def _rising(column: Sequence[Any]) -> Sequence[Any]:
    """Differences in the place of numbers that rise: one subtraction does it for all of them."""
    if not _is_joined(column) or column[0] > NUMBER_BYTES_MAX:
        return column
    length, joined = column
    numbers = int.from_bytes(joined)
    steps = (numbers - (numbers >> 8 * length)).to_bytes(len(joined))
    head, total = steps[: 2 * length], len(steps) // length if length else 0
    is_even = 2 < total <= SUFFIXES_MAX and steps == head + head[length:] * (total - 2)
    return [length, head, total] if is_even else [length, steps]


def _keys(shared: bytes, column: list[Any]) -> list[bytes]:
    """The keys that begin with ``shared`` and end as the column says."""
    if len(column) != 3 or type(column[0]) is not int:
        return [shared + suffix for suffix in _uncolumn(_summed(column), 1)]
    length, head, total = column
    if not 0 < 2 * length == len(head) <= 2 * NUMBER_BYTES_MAX or not 2 < total <= SUFFIXES_MAX:
        raise ValueError("a column of equal steps that is none")
    first, step = int.from_bytes(shared + head[:length]), int.from_bytes(head[length:])
    key_bytes = len(shared) + length
    return [number.to_bytes(key_bytes) for number in range(first, first + step * total, step)]


def _summed(column: list[Any]) -> list[Any]:
    """The opposite: each step adds to every number the sum of twice as many before it.

    No sum is above the last number, so none runs over into its neighbour's bytes.
    """
    if not _is_joined(column) or not 0 < column[0] <= NUMBER_BYTES_MAX:
        return column
    length, joined = column
    numbers, shift = int.from_bytes(joined), 8 * length
    while shift < 8 * len(joined):
        numbers += numbers >> shift
        shift *= 2
    return [length, numbers.to_bytes(len(joined))]


def _uncolumn(column: list[Any], total: int) -> list[bytes]:
    """The items; ``total`` says how many they are where all are empty."""
    if column == EMPTY_COLUMN:
        return [b""] * total
    if not _is_joined(column):
        return column
    length, joined = column
    if length <= 0 or len(joined) % length:
        raise ValueError("a column's bytes are no multiple of its item length")
    return list(struct.unpack(f"{length}s" * (len(joined) // length), joined))
