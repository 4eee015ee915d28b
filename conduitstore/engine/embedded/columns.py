"""The columns of a leaf: keys and values as they lie on disk.

In msgpack: [tree id, generation, shared prefix, column of key suffixes, column of values]. A column
whose items have all the same length is [length, items joined], so that equal lengths are stored
once; any other is a plain list. Suffixes of one length up to 8 are numbers that rise: each is
stored as how far it is above the one before, which for keys in sequence is always the same: then
the column is [length, first and step, total], and takes no more however many they are. In the place
of a value there may be a reference to a blob: [segment, offset, frame bytes, value bytes].

Decoded, they say what one key has without an object being made of every other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import msgpack

NUMBER_BYTES_MAX = 8
"""Suffixes of one length up to this are stored as differences."""
SUFFIXES_MAX = 1 << 20
"""So many may be told by their first two."""
COLUMNS_BYTES = 600
"""What columns cost in memory beside the bytes they were decoded from."""
ITEM_BYTES = 48
"""What each item of a plain list costs beside its bytes."""
EMPTY_COLUMN = [0, b""]
BYTES_ONLY = {bytes}
BlobReference = tuple[int, int, int, int]
"""As a leaf stores it: segment number, offset, bytes of the frame, bytes of the value."""


def encode_columns(
    tree_id: int, generation: int, keys: list[bytes], stored: Iterable[bytes | BlobReference]
) -> bytes:
    """The columns of ``keys`` and, in their order, of what is stored under them."""
    shared = _shared_prefix(keys[0], keys[-1]) if keys else b""
    cut = len(shared)
    suffixes = [key[cut:] for key in keys]
    values = list(stored)
    columns = [tree_id, generation, shared, _rising(_column(suffixes)), _column(values)]
    payload: bytes = msgpack.packb(columns)
    return payload


def _shared_prefix(first: bytes, last: bytes) -> bytes:
    """What all keys between two begin with: in sorted order that is what the two share."""
    end = min(len(first), len(last))
    for position in range(end):
        if first[position] != last[position]:
            return first[:position]
    return first[:end]


def _column(items: Sequence[Any]) -> Sequence[Any]:
    lengths = set(map(len, items)) if set(map(type, items)) == BYTES_ONLY else set()
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


class Steps:
    """Keys that are numbers of one length, each as far above the one before."""

    __slots__ = ("_key_bytes", "_numbers")

    def __init__(self, shared: bytes, length: int, head: bytes, total: int) -> None:
        if not 0 < 2 * length == len(head) <= 2 * NUMBER_BYTES_MAX or not 2 < total <= SUFFIXES_MAX:
            raise ValueError("a column of equal steps that is none")
        first, step = int.from_bytes(shared + head[:length]), int.from_bytes(head[length:])
        self._key_bytes = len(shared) + length
        self._numbers = range(first, first + step * total, step)
        self._numbers[-1].to_bytes(self._key_bytes)  # It fits, or raises OverflowError.

    def __len__(self) -> int:
        return len(self._numbers)

    def index(self, key: bytes) -> int:
        """Where a key is; ``ValueError``: nowhere."""
        if len(key) != self._key_bytes:
            raise ValueError("keys have another length")
        return self._numbers.index(int.from_bytes(key))

    def split(self) -> list[bytes]:
        """The keys."""
        key_bytes = self._key_bytes
        return [number.to_bytes(key_bytes) for number in self._numbers]


class Columns:
    """Columns decoded, and checked as far as reading them needs, but not split into items.

    Raises:
        ValueError: the payload is none of ours. Hostile bytes may raise anything else, too.
    """

    __slots__ = (
        "_shared",
        "_suffix_bytes",
        "_suffixes",
        "_value_bytes",
        "_values",
        "generation",
        "has_references",
        "keys_total",
        "memory_bytes",
        "tree_id",
        "values_total",
    )

    def __init__(self, payload: bytes) -> None:
        self.tree_id, self.generation, shared, suffixes, values = msgpack.unpackb(payload)
        if type(shared) is not bytes or type(suffixes) is not list or type(values) is not list:
            raise ValueError("keys that are not bytes, or columns that are none")
        self._shared: bytes = shared
        self._suffixes: Any  # joined where they have a length, else a list, or steps of whole keys
        if len(suffixes) == 3 and type(suffixes[0]) is int:
            self._shared, self._suffix_bytes, self._suffixes = b"", 0, Steps(shared, *suffixes)
            self.keys_total = len(self._suffixes)
        else:
            self._suffix_bytes, self._suffixes, self.keys_total = _items(_summed(suffixes), 1)
        self._value_bytes, self._values, self.values_total = _items(values, self.keys_total)
        self.has_references = False
        self.memory_bytes = COLUMNS_BYTES + len(payload)
        if type(self._suffixes) is list:
            self.memory_bytes += ITEM_BYTES * self.keys_total
            if not set(map(type, self._suffixes)) <= BYTES_ONLY:
                raise ValueError("keys that are not bytes")
        if type(self._values) is list:
            self.memory_bytes += ITEM_BYTES * self.values_total
            if not set(map(type, self._values)) <= BYTES_ONLY:
                _check_references(self._values)
                self.has_references = True

    def get(self, key: bytes) -> Any:
        """What is stored under a key; None where nothing is."""
        shared, size = self._shared, self._suffix_bytes
        if not key.startswith(shared):
            return None
        suffix = key[len(shared) :]
        try:
            at: int = self._suffixes.index(suffix)
            if size:
                if len(suffix) != size:
                    return None
                while at % size:  # The end of one item and the beginning of the next.
                    at = self._suffixes.index(suffix, at + 1)
                at //= size
        except ValueError:
            return None
        size = self._value_bytes
        return self._values[at * size : at * size + size] if size else self._values[at]

    def split(self) -> tuple[list[bytes], list[Any]]:
        """All keys, and what is stored under them."""
        shared, keys, values = self._shared, self._suffixes, self._values
        if type(keys) is Steps:
            keys = keys.split()
        elif self._suffix_bytes:
            keys = _split(keys, self._suffix_bytes)
        if shared:
            keys = [shared + suffix for suffix in keys]
        return keys, _split(values, self._value_bytes) if self._value_bytes else values


def _items(column: list[Any], total: int) -> tuple[int, Any, int]:
    """How long each item is, all of them joined, and how many; or 0, a list, and how many.

    ``total`` says how many they are where all are empty.
    """
    if len(column) != 2 or type(column[0]) is not int:
        return 0, column, len(column)
    if column == EMPTY_COLUMN:
        return 0, [b""] * total, total
    length, joined = column
    if type(joined) is not bytes or length <= 0 or len(joined) % length:
        raise ValueError("a column's bytes are no multiple of its item length")
    return length, joined, len(joined) // length


def _split(joined: bytes, length: int) -> list[bytes]:
    return list(struct.unpack(f"{length}s" * (len(joined) // length), joined))


def _check_references(stored: Iterable[Any]) -> None:
    for value in stored:
        if type(value) is bytes:
            continue
        if type(value) is not list or list(map(type, value)) != [int] * 4 or min(value) < 0:
            raise ValueError("a value that is neither bytes nor a reference")


def _summed(column: list[Any]) -> list[Any]:
    """The opposite of differences: each step adds to every number the sum of twice as many before.

    No sum is above the last number, so none runs over into its neighbour's bytes.
    """
    if not _is_joined(column) or not 0 < column[0] <= NUMBER_BYTES_MAX:
        return column
    length, joined = column
    numbers, shift, bits = int.from_bytes(joined), 8 * length, 8 * len(joined)
    while shift < bits:
        numbers += numbers >> shift
        shift *= 2
    return [length, numbers.to_bytes(len(joined))]
