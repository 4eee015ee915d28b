"""Room states as bytes: entries, hashes, and what is kept of a state beside its parent.

- An *entry* is ``short_state_key ‖ short_event``, 16 bytes: one event's place in a state.
- A state is a set of entries; sorted, it has one text, and with it one hash.
- A stored state is ``parent(8) ‖ added* ‖ [0(8) ‖ removed*]``, parent 0 where ``added`` is all of
  it. Short ids are never 0, so the zero word cannot be the beginning of an entry. The layout is
  Conduit's; here both lists are sorted, so that one entry is found by bisection.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, cast

from conduitstore.codec.keys import encode_u64
from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.types import ShortEventId, ShortStateHash, ShortStateKey, StateEntry

ENTRY_BYTES = 16
_WORD = 8
_ZERO = b"\0" * _WORD
_ENTRY = struct.Struct(f"{ENTRY_BYTES}s")
_PAIR = struct.Struct(">QQ")


class StateDiff(NamedTuple):
    """A state as it is stored: what it adds to its parent's and takes away; both sorted."""

    parent: ShortStateHash | None
    added: list[StateEntry]
    removed: list[StateEntry]


def pack_entry(short_state_key: ShortStateKey, short_event: ShortEventId) -> StateEntry:
    """The entry of an event under a state key."""
    if not short_state_key or not short_event:
        raise InvalidArgumentError("short ids begin at 1")
    return StateEntry(encode_u64(short_state_key) + encode_u64(short_event))


def unpack_entries(entries: Iterable[StateEntry]) -> list[tuple[ShortStateKey, ShortEventId]]:
    """The inverse of :func:`pack_entry`, of many at once."""
    pairs = list(_PAIR.iter_unpack(b"".join(entries)))
    return cast("list[tuple[ShortStateKey, ShortEventId]]", pairs)


def state_hash(entries: Sequence[StateEntry]) -> str:
    """SHA-256 in hex over sorted entries, joined by 0xFF: equal for equal states."""
    return sha256(b"\xff".join(entries)).hexdigest()


def check_state(entries: Sequence[StateEntry]) -> None:
    """Sorted entries, no two under one state key; or an :class:`InvalidArgumentError`."""
    if any(type(e) is not bytes or len(e) != ENTRY_BYTES or e[:_WORD] == _ZERO for e in entries):
        raise InvalidArgumentError("a state is made of entries of 16 bytes: use pack_entry")
    if len({entry[:_WORD] for entry in entries}) != len(entries):
        raise InvalidArgumentError("a state has one event for each type and state key, not two")


def pack_diff(diff: StateDiff) -> bytes:
    """The stored bytes."""
    parts = [encode_u64(diff.parent or 0), *diff.added]
    return b"".join([*parts, _ZERO, *diff.removed] if diff.removed else parts)


def unpack_diff(tree: str, value: bytes) -> StateDiff:
    """The inverse of :func:`pack_diff`.

    Raises:
        CorruptedError: cut short, or without the word between the two lists.
    """
    added_end, removed_start = _cut(tree, value)
    removed = _entries(value, removed_start, len(value)) if removed_start < len(value) else []
    return StateDiff(parent_of(tree, value), _entries(value, _WORD, added_end), removed)


def parent_of(tree: str, value: bytes) -> ShortStateHash | None:
    """Only the parent; None for a full state."""
    if len(value) < _WORD:
        raise CorruptedError(tree, 0, f"a state begins with 8 bytes, this one has {len(value)}")
    return ShortStateHash(int.from_bytes(value[:_WORD])) or None


def find_in(
    tree: str, value: bytes, keys: Iterable[ShortStateKey]
) -> dict[ShortStateKey, ShortEventId | None]:
    """What a stored state says of some state keys, without taking it apart.

    Returns:
        Nothing for a key that it says nothing of, None for one that it only takes away.
    """
    added_end, removed_start = _cut(tree, value)
    found: dict[ShortStateKey, ShortEventId | None] = {}
    for key in keys:
        packed = encode_u64(key)
        event = _bisect(value, _WORD, added_end, packed)
        if event or _bisect(value, removed_start, len(value), packed):
            found[key] = event
    return found


def show_diff(tree: str, value: bytes) -> dict[str, Any]:
    """A stored state for display."""
    diff = unpack_diff(tree, value)
    return {
        "parent": diff.parent,
        "added": unpack_entries(diff.added),
        "removed": unpack_entries(diff.removed),
    }


def _cut(tree: str, value: bytes) -> tuple[int, int]:
    """Where the added entries end and the removed ones begin."""
    odd = (len(value) - _WORD) % ENTRY_BYTES
    if len(value) < _WORD or odd not in (0, _WORD):
        raise CorruptedError(tree, 0, f"{len(value)} bytes are no whole number of entries")
    if not odd:  # Removed entries come with eight bytes more.
        return len(value), len(value)
    for start in range(_WORD, len(value), ENTRY_BYTES):
        if value[start : start + _WORD] == _ZERO:
            return start, start + _WORD
    raise CorruptedError(tree, 0, "nothing separates what is added from what is removed")


def _entries(value: bytes, start: int, end: int) -> list[StateEntry]:
    return [entry for (entry,) in _ENTRY.iter_unpack(value[start:end])]


def _bisect(value: bytes, start: int, end: int, short_state_key: bytes) -> ShortEventId | None:
    starts = range(start, end, ENTRY_BYTES)
    found = bisect_left(starts, short_state_key, key=lambda at: value[at : at + _WORD])
    if found == len(starts) or value[starts[found] : starts[found] + _WORD] != short_state_key:
        return None
    return ShortEventId(int.from_bytes(value[starts[found] + _WORD : starts[found] + ENTRY_BYTES]))
