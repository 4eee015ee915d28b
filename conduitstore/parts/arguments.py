"""Arguments of the wrong type: named once something has failed, so that good calls cost nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from conduitstore.codec.events import check_pdu
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import check_limit
from conduitstore.types import Direction, PlacedEvent

T = TypeVar("T")

SLIPS = (TypeError, AttributeError, ValueError, LookupError, ArithmeticError, RecursionError)
"""What Python raises where something is not of the type it should be."""


def blame_argument(method: Callable[..., Any], *args: object, **kwargs: object) -> None:
    """Raise an error that names the first argument that is not what ``method`` declares.

    Call it where one of :data:`SLIPS` was caught. Where every argument is as declared it returns:
    the fault is our own, or of a function that was given, and its error is the one to see.

    Raises:
        InvalidArgumentError: an argument has another type.
    """
    try:
        given = inspect.signature(method).bind(*args, **kwargs).arguments
    except TypeError:  # Too many, too few: Python has said so.
        return
    for name, hint in get_type_hints(method).items():
        if name in given and not fits(hint, given[name]):
            raise InvalidArgumentError(
                f"{method.__name__}: {name} must be {_written(hint)}, not {shown(given[name])}"
            )


def fits(hint: Any, value: object) -> bool:
    """Whether ``value`` has a declared type, what it holds included. A bool is no int here."""
    origin, parameters = get_origin(hint), get_args(hint)
    if hasattr(hint, "__supertype__"):
        fitting = fits(hint.__supertype__, value)
    elif origin in (Union, UnionType):
        fitting = any(fits(option, value) for option in parameters)
    elif origin is Literal:
        fitting = any(type(value) is type(option) and value == option for option in parameters)
    elif origin is tuple:
        fitting = _are_tuple(parameters, value)
    elif isinstance(origin, type):
        fitting = isinstance(value, origin) and _holds(origin, parameters, value)
    elif hint is Any:
        fitting = True
    elif hint is int:
        fitting = type(value) is int
    else:
        fitting = not isinstance(hint, type) or (isinstance(value, hint) and _is_whole(value))
    return fitting


def _are_tuple(parameters: tuple[Any, ...], value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == len(parameters)
        and all(map(fits, parameters, value))
    )


def _holds(origin: type, parameters: tuple[Any, ...], value: object) -> bool:
    if parameters[-1] is Any:  # What is in JSON is for its encoder to say.
        return True
    if isinstance(value, Mapping) and issubclass(origin, Mapping):
        return all(
            fits(parameters[0], key) and fits(parameters[1], inner) for key, inner in value.items()
        )
    if isinstance(value, str | bytes):
        return False
    return not isinstance(value, Collection) or all(fits(parameters[0], item) for item in value)


def _is_whole(value: object) -> bool:
    """Whether a record's fields are as it declares them."""
    if isinstance(value, PlacedEvent):
        try:
            check_pdu(value.pdu)
        except InvalidArgumentError:
            return False
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        names: Iterable[str] = value._fields
    else:
        names = [field.name for field in fields(value)] if is_dataclass(value) else ()
    hints = get_type_hints(type(value)) if names else {}
    return all(fits(hints[name], getattr(value, name)) for name in names)


def _written(hint: Any) -> str:
    """A type as it stands in the documentation."""
    return getattr(hint, "__name__", None) or str(hint).replace("conduitstore.types.", "")


def listed(values: Iterable[T], what: str) -> list[T]:
    """``values`` as a list. Text can be walked through, but is no list of anything.

    Args:
        values: the argument.
        what: of what it is a list, for the message.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidArgumentError(f"a list of {what} is needed here, not {shown(values)}")
    return list(values)


def distinct(values: Iterable[T], what: str) -> list[T]:
    """Likewise, each once, in the order they came first."""
    try:
        return list(dict.fromkeys(listed(values, what)))
    except TypeError as error:
        raise InvalidArgumentError(f"{what} are ids, as text: {error}") from error


def check_direction(direction: Direction) -> None:
    """One of the two, or an :class:`InvalidArgumentError`."""
    if direction not in ("b", "f"):
        raise InvalidArgumentError(f"a direction is 'b' or 'f', not {shown(direction)}")


def check_page_limit(limit: int) -> None:
    """A number of events, or an :class:`InvalidArgumentError`."""
    if not check_limit(limit):
        raise InvalidArgumentError("a page has room for 1 event or more")
