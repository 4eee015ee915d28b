"""The schema itself, and the counter that all numbers come from."""

from __future__ import annotations

from collections.abc import Iterator

from conduitstore.codec.keys import FIELD_KINDS, KeyShape
from conduitstore.engine.merge import MERGE_OPERATORS
from conduitstore.errors import CorruptedError
from conduitstore.kv import DEFAULT_TREE, Keyspace
from conduitstore.schema import RETIRED, TREES, decode_key, decode_value
from conduitstore.types import PduId

from .findings import Finding
from .rows import rows, total_at

_ENGINES_OWN = (DEFAULT_TREE, MERGE_OPERATORS)
_COUNTER = b"c"


def undecodable(view: Keyspace) -> Iterator[Finding]:
    """Rows that are not what the schema says, and trees that are not in it."""
    for name in view.tree_names():
        if name in _ENGINES_OWN or name in RETIRED:
            continue
        if name not in TREES:
            yield Finding(name, None, "no part has this tree")
            continue
        for key, value in view.open_tree(name):
            try:
                decode_key(name, key)
                decode_value(name, value)
            except CorruptedError as error:
                yield Finding(name, key, str(error))


def above_the_counter(view: Keyspace) -> Iterator[Finding]:
    """Keys with a count, and numbers standing for ids, that were never drawn."""
    newest = total_at(view, "global", _COUNTER)
    if newest > view.current_count():
        drawn = view.current_count()
        yield Finding("global", _COUNTER, f"it says {newest}, but {drawn} is the newest count")
    for name, tree in TREES.items():
        counted = _counted(tree.key)
        is_numbering = tree.worth == "numbering" and tree.value == "u64"
        if not counted and not is_numbering:
            continue
        for row in rows(view, name):
            numbers = [number for field, kind in counted for number in _numbers(kind, row[field])]
            if is_numbering:
                numbers.append(int.from_bytes(row["value"]))
            if max(numbers) > newest:
                above = f"{max(numbers)} is above the newest count, {newest}"
                yield Finding(name, row["key"], above)


def _counted(shape: KeyShape) -> list[tuple[str, str]]:
    """The fields that come from the counter, with their kinds."""
    return [
        (field, kind)
        for field, kind in zip(shape.fields, shape.kinds, strict=True)
        if kind in ("position", "queued")
        or (kind == "u64" and (field == "count" or field.startswith("short_")))
    ]


def _numbers(kind: str, raw: bytes) -> list[int]:
    found = FIELD_KINDS[kind].decode(raw)
    parts = found if isinstance(found, PduId) else (found,)
    return [abs(part) for part in parts]
