"""Pages: short ranges, read at once.

A page has keys and values of its own, so nothing has to be kept from changing for whoever walks it,
and no writer makes a copy for its sake.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import length_hint

from conduitstore.kv import Item


class Page(zip):  # type: ignore[type-arg]  # it takes none when it runs
    """See :class:`conduitstore.kv.Items`: a plain loop runs at C speed."""

    __slots__ = ("_left",)
    _left: tuple[Iterator[bytes], list[bytes], list[bytes]]

    def only_keys(self) -> Iterator[bytes]:
        """The keys, for whoever walks nothing else of it."""
        return self._left[0]

    def next_back(self) -> Item | None:
        """Take one entry from the far end: what the lists lose, nobody comes to."""
        near, keys, values = self._left
        return (keys.pop(), values.pop()) if length_hint(near) else None

    def __reversed__(self) -> Page:
        """Walk what is left from the far end; this iterator ends."""
        near, keys, values = self._left
        cut = len(keys) - length_hint(near)
        rest = page(keys[cut:][::-1], values[cut:][::-1])
        del keys[cut:], values[cut:]
        return rest


def page(keys: list[bytes], values: list[bytes]) -> Page:
    """Walk these, which are the page's own from now on."""
    near = iter(keys)
    page = Page(near, values)
    page._left = near, keys, values  # noqa: SLF001 - its own module
    return page
