"""What every operation may ask of arguments that only a tired caller gets wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from conduitstore.errors import InvalidArgumentError, shown

T = TypeVar("T")


def listed(values: Iterable[T], what: str) -> list[T]:
    """``values`` as a list. Text and mappings can be walked through, and are no list of anything.

    Args:
        values: the argument.
        what: of what it is a list, for the message.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidArgumentError(f"a list of {what} is needed here, not {shown(values)}")
    return list(values)


def distinct(values: Iterable[T], what: str) -> list[T]:
    """Likewise, each once, in the order they came first."""
    try:
        return list(dict.fromkeys(listed(values, what)))
    except TypeError as error:
        raise InvalidArgumentError(f"{what} are ids, as text: {error}") from error
