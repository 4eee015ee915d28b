"""Trees as rows of named bytes: what rules, rebuilding and purging have in common.

A field's bytes fit into the keys of other trees as they are. Rows that do not have the shape the
schema says are passed over: the first rule reports them.
"""

from __future__ import annotations

from collections.abc import Iterator

from conduitstore.codec.keys import KeyShape, encode_any
from conduitstore.codec.values import unpack_u64
from conduitstore.errors import CorruptedError
from conduitstore.kv import KEY_BYTES_MAX, Keyspace, Tree, prefix_end
from conduitstore.schema import TREES, TreeSchema

Row = dict[str, bytes]
"""Fields by name, those of a value built like a key too; ``key`` and ``value`` are the whole.

Of a value that is text, ``folded`` is what stands for it in keys.
"""


def rows(view: Keyspace, tree: str, prefix: bytes = b"") -> Iterator[Row]:
    """The rows of a tree that have its shape, in order."""
    schema = TREES[tree]
    for key, value in view.open_tree(tree).scan_prefix(prefix):
        row = row_of(schema, key, value)
        if row is not None:
            yield row


def row_of(schema: TreeSchema, key: bytes, value: bytes) -> Row | None:
    """One row; None where it does not have the tree's shape."""
    row: Row = {}
    try:
        if schema.value_shape is not None:
            row.update(zip(schema.value_shape.fields, schema.value_shape.cut(value), strict=True))
        row.update(zip(schema.key.fields, schema.key.cut(key), strict=True))
    except CorruptedError:
        return None
    row |= {"key": key, "value": value}
    if schema.value == "text":
        row["folded"] = folded(value)
    return row


def folded(value: bytes) -> bytes:
    """A text of any length as keys have it; what is no text as it is."""
    try:
        return encode_any(value.decode())
    except UnicodeDecodeError:
        return value


def heads(tree: Tree, shape: KeyShape, total: int = 1) -> Iterator[tuple[bytes, ...]]:
    """The distinct leading fields of a tree's keys. Cost: two seeks for each, not a scan."""
    item = tree.first()
    while item is not None:
        try:
            head = shape.cut(item[0])[:total]
        except CorruptedError:
            item = tree.get_gt(item[0])
            continue
        yield head
        if total == len(shape.fields):  # A whole key: others may begin with it.
            item = tree.get_gt(item[0])
            continue
        end = prefix_end(shape.join(*head))
        item = None if end is None else next(tree.range(end, limit=1), None)


def under(tree: Tree, shape: KeyShape, *head: bytes) -> dict[bytes, bytes]:
    """The rows whose keys have these leading fields; of a whole key, its own."""
    if len(head) < len(shape.fields):
        return dict(iter(tree.scan_prefix(shape.join(*head))))
    value = tree.get(shape.join(*head))
    return {} if value is None else {shape.join(*head): value}


def found_at(tree: Tree, key: bytes | None) -> bytes | None:
    """The value at a key made of another row's value, which may be damaged and so no key."""
    return tree.get(key) if key and len(key) <= KEY_BYTES_MAX else None


def total_at(view: Keyspace, tree: str, key: bytes) -> int:
    """The number stored at ``key``; 0 where there is none, or none that can be read."""
    value = view.open_tree(tree).get(key)
    try:
        return 0 if value is None else unpack_u64(tree, value)
    except CorruptedError:
        return 0
