"""Records of our own: frozen dataclasses stored as msgpack maps.

A field that this version does not know came from a newer one: it is kept in ``unknown`` and written
back, so that two versions may share a store. A field added later has a default, which old rows get.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgpack

from conduitstore.errors import CorruptedError, InvalidArgumentError, shown


@dataclass(frozen=True, kw_only=True)
class Record:
    """The base of all records.

    Attributes:
        unknown: fields of a newer version.
    """

    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)


R = TypeVar("R", bound=Record)


def pack_record(record: Record) -> bytes:
    """A msgpack map of the fields, those of a newer version included.

    Raises:
        InvalidArgumentError: a field has a value of another type than it declares.
    """
    known = {name: getattr(record, name) for name in _shape_of(type(record)).types}
    wrong = _wrong_field(type(record), known)
    if wrong is not None:
        raise InvalidArgumentError(
            f"{type(record).__name__}.{wrong} cannot be {shown(known[wrong])}"
        )
    try:
        return msgpack.packb({**record.unknown, **known})  # type: ignore[no-any-return]
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgumentError(f"this record cannot be written: {error}") from error


def unpack_record(tree: str, value: bytes, kind: type[R]) -> R:
    """The inverse of :func:`pack_record`.

    Raises:
        CorruptedError: no msgpack map, or a field is missing or of another type.
    """
    found = unpack_fields(tree, value)
    known = {name: found.pop(name) for name in _shape_of(kind).types if name in found}
    missing = [name for name in _shape_of(kind).required if name not in known]
    wrong = _wrong_field(kind, known)
    if missing or wrong is not None:
        raise CorruptedError(tree, 0, f"no {kind.__name__}: look at {wrong or missing[0]!r}")
    return kind(**known, unknown=found)


def unpack_fields(tree: str, value: bytes) -> dict[str, Any]:
    """A record's fields as they are stored, for display."""
    try:
        found = msgpack.unpackb(value)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise CorruptedError(tree, 0, f"the value is not msgpack: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise CorruptedError(tree, 0, "the value is no map of fields by name")
    return found


class Shape(NamedTuple):
    """What the fields of a record must be."""

    types: dict[str, Any]  # What ``isinstance`` takes, by field.
    required: list[str]


_SHAPES: dict[type[Any], Shape] = {}


def _shape_of(kind: type[Record]) -> Shape:
    found = _SHAPES.get(kind)
    if found is None:
        hints = get_type_hints(kind)
        own = [f for f in fields(kind) if f.name != "unknown"]
        found = _SHAPES[kind] = Shape(
            {f.name: _checkable(hints[f.name]) for f in own},
            [f.name for f in own if f.default is MISSING and f.default_factory is MISSING],
        )
    return found


def _checkable(hint: Any) -> Any:
    if isinstance(hint, UnionType):
        return tuple(_checkable(member) for member in get_args(hint))
    supertype = getattr(hint, "__supertype__", None)  # An id type stands for its base.
    if supertype is not None:
        return _checkable(supertype)
    return get_origin(hint) or (object if hint is Any else hint)


def _wrong_field(kind: type[Record], values: Mapping[str, Any]) -> str | None:
    """The first field whose value has another type than declared; a bool is no int."""
    types = _shape_of(kind).types
    return next(
        (
            name
            for name, value in values.items()
            if not isinstance(value, types[name])
            or (isinstance(value, bool) and types[name] is int)
        ),
        None,
    )
