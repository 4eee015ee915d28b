"""The index of one tree: inner nodes over leaves, copied on write.

- An inner node never changes. Its i-th child holds the keys ``lows[i-1] <= key < lows[i]``.
- A change builds new nodes along one path; the caller publishes the new root with one store.
- All leaves are equally deep. A tree without entries is a single empty leaf.

Readers need no lock: whatever root they picked up stays whole for as long as they hold it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from .leaf import Leaf

FANOUT = 128
"""Children of an inner node before it splits."""
LEAF_SHELL_BYTES = 400
"""What a leaf costs in memory when its contents are not there: the shell, its place, its low key
without the bytes of that, and its share of the inner nodes and of the checkpoints' table."""


class Node:
    """An inner node."""

    __slots__ = ("children", "lows")

    def __init__(self, lows: tuple[bytes, ...], children: tuple[Any, ...]) -> None:
        self.lows = lows
        self.children = children


Root = Node | Leaf
Parts = list[tuple[bytes, Any]]
"""Neighbours that take one node's place: low key and node each; the first keeps the old low."""


def find(root: Root, key: bytes) -> Leaf:
    """The leaf that holds ``key`` if any does."""
    node: Any = root
    while type(node) is Node:
        node = node.children[bisect_right(node.lows, key)]
    return node  # type: ignore[no-any-return]


def first_leaf(root: Root, lo: bytes | None) -> tuple[Leaf, bytes | None]:
    """The leaf in which a range from ``lo`` begins, and where the next begins, if there is one."""
    node: Any = root
    beyond = None
    while type(node) is Node:
        lows = node.lows
        at = 0 if lo is None else bisect_right(lows, lo)
        if at < len(lows):
            beyond = lows[at]
        node = node.children[at]
    return node, beyond


def last_leaf(root: Root, hi: bytes | None) -> tuple[Leaf, bytes | None]:
    """The leaf in which a range to ``hi`` ends, and where it begins, if there is one before it."""
    node: Any = root
    low = None
    while type(node) is Node:
        lows = node.lows
        at = len(lows) if hi is None else bisect_left(lows, hi)
        if at:
            low = lows[at - 1]
        node = node.children[at]
    return node, low


def splice(root: Root, key: bytes, parts: Parts) -> Root:
    """A root in which ``parts`` stand in the place of the leaf that holds ``key``.

    No parts: the leaf, which is not the only one, goes. The tree grows a level where the root
    overflows and loses those that have become a single child.
    """
    tops = _splice(root, key, parts)
    while len(tops) > 1:
        tops = _grouped(tops)
    node: Any = tops[0][1]
    while type(node) is Node and len(node.children) == 1:
        node = node.children[0]
    return node  # type: ignore[no-any-return]


def _splice(node: Any, key: bytes, parts: Parts) -> Parts:
    if type(node) is Leaf:
        return parts
    lows, children = node.lows, node.children
    at = bisect_right(lows, key)
    below = _splice(children[at], key, parts)
    children = (*children[:at], *[child for _, child in below], *children[at + 1 :])
    # The first part inherits the low of what it replaces; when nothing replaces the first child,
    # its right neighbour inherits it and that neighbour's own low goes.
    if len(below) > 1:
        lows = (*lows[:at], *[low for low, _ in below[1:]], *lows[at:])
    elif not below:
        lows = lows[: at - 1] + lows[at:] if at else lows[1:]
    if not children:
        return []
    if len(children) <= FANOUT:
        return [(b"", Node(lows, children))]
    half = len(children) // 2
    return [
        (b"", Node(lows[: half - 1], children[:half])),
        (lows[half - 1], Node(lows[half:], children[half:])),
    ]


def _grouped(parts: Parts) -> Parts:
    """One level of inner nodes over ``parts``, evenly filled."""
    groups = -(-len(parts) // FANOUT)
    cuts = [len(parts) * i // groups for i in range(groups + 1)]
    columns = [zip(*parts[begin:end], strict=True) for begin, end in pairwise(cuts)]
    return [(lows[0], Node(lows[1:], children)) for lows, children in columns]


def build(leaves: Parts) -> Root:
    """A whole index over leaves in order; the first one's low counts as open."""
    if not leaves:
        return Leaf([], {})
    while len(leaves) > 1:
        leaves = _grouped(leaves)
    return leaves[0][1]  # type: ignore[no-any-return]


def neighbours(root: Root, key: bytes) -> tuple[Leaf, Leaf] | None:
    """The leaf that holds ``key`` and one beside it under the same node, in order."""
    node: Any = root
    while type(node) is Node and type(node.children[0]) is Node:
        node = node.children[bisect_right(node.lows, key)]
    if type(node) is Leaf or len(node.children) == 1:
        return None
    at = min(bisect_right(node.lows, key), len(node.children) - 2)
    return node.children[at], node.children[at + 1]


def leaves(root: Root, low: bytes = b"") -> Iterator[tuple[bytes, Leaf]]:
    """Every leaf with its low key, in order."""
    if type(root) is Leaf:
        yield low, root
        return
    assert type(root) is Node
    children = zip((low, *root.lows), root.children, strict=True)
    if type(root.children[0]) is Leaf:
        yield from children
        return
    for child_low, child in children:
        yield from leaves(child, child_low)


def memory_bytes(root: Root) -> int:
    """What one tree's index takes in memory."""
    return sum(LEAF_SHELL_BYTES + len(low) for low, _ in leaves(root))


def walk(root: Root, lo: bytes | None, hi: bytes | None, *, reverse: bool) -> Iterator[Leaf]:
    """The leaves that may hold keys in ``[lo, hi)``, from either end."""
    if type(root) is Leaf:
        yield root
        return
    assert type(root) is Node
    first = bisect_right(root.lows, lo) if lo is not None else 0
    last = bisect_left(root.lows, hi) if hi is not None else len(root.lows)
    children = root.children[first : last + 1]
    if reverse:
        children = children[::-1]
    if type(children[0]) is Leaf:
        yield from children
        return
    for child in children:
        yield from walk(child, lo, hi, reverse=reverse)
