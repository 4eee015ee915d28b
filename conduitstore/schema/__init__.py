"""Every tree once: what its keys and values look like, who owns it, and what it means.

Names and layouts are Conduit's, so that its readers feel at home; a tree of our own says so. Parts
take their key shapes from here, the inspector decodes with them, and a tree that appears in no part
appears in no release. Names that existed once stay as tombstones: a directory that still has one
is explained, and nobody gives the name a second meaning. One module per area holds the lines.
"""

from __future__ import annotations

from typing import Any

from conduitstore.errors import InvalidArgumentError
from conduitstore.schema.accounts import ACCOUNTS
from conduitstore.schema.keys import KEYS
from conduitstore.schema.media import MEDIA
from conduitstore.schema.retired import RETIRED
from conduitstore.schema.rooms import ROOMS
from conduitstore.schema.server import SERVER
from conduitstore.schema.state import STATE
from conduitstore.schema.timeline import TIMELINE
from conduitstore.schema.tree import VALUE_KINDS, TreeSchema

__all__ = [
    "AREAS",
    "RETIRED",
    "TREES",
    "VALUE_KINDS",
    "TreeSchema",
    "decode_key",
    "decode_value",
    "tree_schema",
]

AREAS: dict[str, list[TreeSchema]] = {
    "server": SERVER,
    "accounts": ACCOUNTS,
    "keys": KEYS,
    "state": STATE,
    "timeline": TIMELINE,
    "rooms": ROOMS,
    "media": MEDIA,
}
"""The trees by area, as the modules of this package hold them."""

TREES: dict[str, TreeSchema] = {tree.name: tree for area in AREAS.values() for tree in area}
assert len(TREES) == sum(map(len, AREAS.values()))


def tree_schema(name: str) -> TreeSchema:
    """The schema of a tree.

    Raises:
        InvalidArgumentError: no part has this tree; of a retired one, says what became of it.
    """
    found = TREES.get(name)
    if found is None:
        raise InvalidArgumentError(f"no such tree: {name} ({RETIRED.get(name, 'never heard of')})")
    return found


def decode_key(tree: str, key: bytes) -> dict[str, Any]:
    """A key's fields by name, for display."""
    shape = tree_schema(tree).key
    return dict(zip(shape.fields, shape.unpack(key), strict=True))


def decode_value(tree: str, value: bytes) -> Any:
    """A value for display: a number, text, JSON, or fields by name."""
    schema = tree_schema(tree)
    if schema.value_shape is None:
        return VALUE_KINDS[schema.value](tree, value)
    shape = schema.value_shape
    return dict(zip(shape.fields, shape.unpack(value), strict=True))
