"""Totals, each kept in a row of its own by steps; a row that would say 0 goes."""

from __future__ import annotations

from collections.abc import Iterable

from conduitstore.codec.values import pack_u64, unpack_u64
from conduitstore.kv import Tree


def totals_in(tree: Tree, keys: Iterable[bytes]) -> list[int]:
    """The totals under many keys, in their order. Cost: one bulk read."""
    values = tree.get_many(keys)
    return [0 if value is None else unpack_u64(tree.name, value) for value in values]


def total_in(tree: Tree, key: bytes) -> int:
    """The total under one."""
    value = tree.get(key)
    return 0 if value is None else unpack_u64(tree.name, value)


def add_to_total(tree: Tree, key: bytes, change: int) -> int:
    """The new total."""
    if total := total_in(tree, key) + change:
        tree.put(key, pack_u64(total))
    else:
        tree.put(key, None)
    return total
