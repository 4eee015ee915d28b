"""What every engine refuses before it does anything: keys, values, bounds, names.

Part of the waist: :mod:`conduitstore.kv` offers all of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Literal, get_args

from .errors import InvalidArgumentError, shown

KEY_BYTES_MAX = 2_048
VALUE_BYTES_MAX = 64 * 1024 * 1024
TREE_NAME_BYTES_MAX = 255
IDS_MAX = 1 << 63
"""No id reaches this: they fit a signed 64-bit integer."""
Durability = Literal["interval", "commit", "none"]
Bounds = tuple[bytes | None, bytes | None]
"""A half-open range of keys, ``[lo, hi)``; None is an open end."""


def check_key(key: bytes) -> bytes:
    """``key`` itself, or an :class:`InvalidArgumentError` that says what is wrong with it."""
    if type(key) is not bytes:
        raise InvalidArgumentError(f"a key must be bytes, not {type(key).__name__}")
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise InvalidArgumentError(
            f"a key must have 1 to {KEY_BYTES_MAX} bytes, this one has {len(key)}"
        )
    return key


def check_value(value: bytes) -> bytes:
    """``value`` itself, or an :class:`InvalidArgumentError` that says what is wrong with it."""
    if type(value) is not bytes:
        raise InvalidArgumentError(f"a value must be bytes, not {type(value).__name__}")
    if len(value) > VALUE_BYTES_MAX:
        raise InvalidArgumentError(
            f"a value must have at most {VALUE_BYTES_MAX} bytes, this one has {len(value)}"
        )
    return value


def check_bound(bound: bytes | None) -> bytes | None:
    """A range bound: bytes of any length, or None for an open end."""
    if bound is not None and type(bound) is not bytes:
        raise InvalidArgumentError(f"a bound must be bytes or None, not {type(bound).__name__}")
    return bound


def check_ranges(ranges: Iterable[Bounds]) -> list[Bounds]:
    """Pairs of bounds, each as :func:`check_bound` has it."""
    found = list(ranges)
    for bounds in found:
        if type(bounds) is not tuple or len(bounds) != 2:
            raise InvalidArgumentError(f"a range is given as (lo, hi), not {shown(bounds)}")
        for bound in bounds:
            if type(bound) is not bytes:  # Most are, and there may be thousands.
                check_bound(bound)
    return found


def check_limit(limit: int | None) -> int | None:
    """A limit on items: zero or more, or None for no limit."""
    if limit is not None and (type(limit) is not int or limit < 0):
        raise InvalidArgumentError(
            f"a limit must be an int of 0 or more, or None, not {shown(limit)}"
        )
    return None if limit is None else min(limit, sys.maxsize)  # More is what no iterator takes.


def check_durability(durability: Durability | None) -> Durability | None:
    """One of the three durabilities, or None for the store's own."""
    if durability is not None and durability not in get_args(Durability):
        raise InvalidArgumentError(
            f"durability must be one of {', '.join(get_args(Durability))}, not {durability!r}"
        )
    return durability


def check_tree_name(name: str) -> str:
    """A usable tree name, or an :class:`InvalidArgumentError` that says what is wrong with it."""
    if not isinstance(name, str):
        raise InvalidArgumentError(f"a tree name must be str, not {type(name).__name__}")
    try:
        encoded = name.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"a tree name must be valid Unicode: {error}") from error
    if not 0 < len(encoded) <= TREE_NAME_BYTES_MAX or b"\0" in encoded:
        raise InvalidArgumentError(
            f"a tree name must have 1 to {TREE_NAME_BYTES_MAX} bytes and no NUL: {name!r}"
        )
    return name


NEXT_BYTE = [bytes([number]) for number in range(1, 256)]
"""The one above each byte but the last."""


def prefix_end(prefix: bytes) -> bytes | None:
    """The smallest key above every key that begins with ``prefix``; None when there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + NEXT_BYTE[stem[-1]] if stem else None
