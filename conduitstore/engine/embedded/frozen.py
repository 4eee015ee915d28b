"""States that do not change any more, and what keeps them from it."""

from __future__ import annotations

from dataclasses import dataclass

from .cache import Cache
from .index import Root


class Hold:
    """Kept by whoever looks at a frozen tree, or all trees: no leaf of them changes meanwhile.

    It also keeps the store open.
    """

    __slots__ = ("__weakref__", "cache", "frozen_at", "store")

    def __init__(self, store: object, cache: Cache) -> None:
        self.store = store
        self.cache = cache
        self.frozen_at = 0


@dataclass(slots=True)
class Frozen:
    """A whole state that will not change: what snapshots and checkpoints hold."""

    roots: dict[int, Root]
    ids: dict[str, int]
    count: int
    sequence: int
    next_tree_id: int
