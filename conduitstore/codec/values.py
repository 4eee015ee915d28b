"""Values to bytes and back: u64, text, JSON and canonical JSON.

Encoding refuses what cannot be written (:class:`InvalidArgumentError`); decoding names the tree
whose row is damaged (:class:`CorruptedError`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from canonicaljson import encode_canonical_json

from conduitstore.codec.keys import encode_id, encode_u64
from conduitstore.codec.parsing import REFUSALS, parse, parse_all
from conduitstore.errors import CorruptedError, InvalidArgumentError, shown
from conduitstore.types import JsonObject

EMPTY = b""
"""The value of a set member: the key's presence is all it says."""

JSON_DEPTH_MAX = 128
"""How deep objects and arrays may nest, as in other homeservers' parsers.

What is written must be readable from wherever the caller's stack happens to be, and Python's parser
takes its depth from that stack.
"""

pack_u64 = encode_u64

_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_UNWRITABLE = (TypeError, ValueError, RecursionError)  # UnicodeEncodeError is a ValueError.


def unpack_u64(tree: str, value: bytes) -> int:
    """A big-endian u64."""
    if len(value) != 8:
        raise CorruptedError(tree, 0, f"a u64 has 8 bytes, this value has {len(value)}")
    return int.from_bytes(value)


def unpack_u64s(tree: str, value: bytes) -> list[int]:
    """Any number of u64, one after the other."""
    if len(value) % 8:
        raise CorruptedError(tree, 0, f"{len(value)} bytes are no whole number of u64")
    return [int.from_bytes(value[at : at + 8]) for at in range(0, len(value), 8)]


def unpack_ids(tree: str, value: bytes) -> list[str]:
    """Ids, each with a byte 0xFF behind it."""
    *ids, rest = value.split(b"\xff")
    if rest:
        raise CorruptedError(tree, 0, "a list of ids ends with 0xFF, this one does not")
    return [unpack_text(tree, id) for id in ids]


def pack_ids(ids: Iterable[str]) -> bytes:
    """The inverse of :func:`unpack_ids`."""
    return b"".join(encode_id(id) + b"\xff" for id in ids)


def pack_text(text: str) -> bytes:
    """UTF-8 of any length."""
    try:
        return text.encode()
    except (AttributeError, UnicodeEncodeError) as error:
        raise InvalidArgumentError(f"not valid text: {shown(text)}: {error}") from error


def checked_text(text: str) -> str:
    """``text`` itself, or an :class:`InvalidArgumentError`: for text inside of JSON."""
    pack_text(text)
    return text


def unpack_text(tree: str, value: bytes) -> str:
    """UTF-8 of any length."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise CorruptedError(tree, 0, f"the value is not UTF-8: {error}") from error


def pack_json(value: Any) -> bytes:
    """Compact JSON, keys in the order they came."""
    return _written(value, lambda: _COMPACT.encode(value).encode())


def pack_canonical_json(value: Any) -> bytes:
    """Canonical JSON, as Matrix hashes and signs it: compact, keys sorted, one text per value."""
    return _written(value, lambda: encode_canonical_json(value))


def _written(value: Any, write: Callable[[], bytes]) -> bytes:
    try:
        raw = write()
    except _UNWRITABLE as error:
        raise InvalidArgumentError(f"this cannot be written as JSON: {error}") from error
    # Almost nothing has that many brackets, so almost nothing is walked through.
    if raw.count(b"{") + raw.count(b"[") > JSON_DEPTH_MAX:
        _check_depth(value)
    return raw


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(JSON_DEPTH_MAX):
        level = [inner for outer in level for inner in _containers_in(outer)]
        if not level:
            return
    raise InvalidArgumentError(f"JSON may nest {JSON_DEPTH_MAX} deep, this is deeper")


def _containers_in(outer: Any) -> list[Any]:
    inner = outer.values() if isinstance(outer, dict) else outer
    return [value for value in inner if isinstance(value, dict | list | tuple)]


def pack_json_object(value: object) -> bytes:
    """Compact JSON of what must be an object."""
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"a JSON object is needed here, not {type(value).__name__}")
    return pack_json(value)


def pack_json_objects(values: Sequence[object]) -> bytes:
    """Compact JSON of a list of what must be objects."""
    if not isinstance(values, list | tuple):
        raise InvalidArgumentError(f"a list of objects is needed, not {type(values).__name__}")
    if not all(isinstance(value, dict) for value in values):
        raise InvalidArgumentError("a list of objects is needed, and something in it is none")
    return pack_json(values)


def unpack_json_object(tree: str, value: bytes, *required: str) -> JsonObject:
    """A JSON object that has at least the keys ``required``."""
    found = unpack_json(tree, value)
    if isinstance(found, dict):
        for key in required:
            if key not in found:
                break
        else:
            return found
    raise CorruptedError(tree, 0, f"the value is no JSON object with {', '.join(required)}")


def unpack_json(tree: str, value: bytes) -> Any:
    """JSON of either kind."""
    try:
        return parse(value)
    except REFUSALS:
        pass
    try:
        return parse_all(value)
    except REFUSALS as error:
        raise CorruptedError(tree, 0, f"the value is not JSON: {error}") from error
