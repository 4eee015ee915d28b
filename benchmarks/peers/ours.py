"""conduitstore: the embedded engine, without parts above it."""

from __future__ import annotations

from collections.abc import Iterable

from conduitstore import engine
from conduitstore.kv import Tree

from .contender import Get, Getter, Page, Read, Row, Setup, Write


class OnConduitstore:
    name = "conduitstore"

    def __init__(self, setup: Setup) -> None:
        self._db = engine.open(
            setup.directory / self.name,
            cache_capacity_bytes=setup.cache_bytes,
            checkpoint_log_bytes=setup.log_bytes,
            durability="commit" if setup.is_durable else "interval",
        )
        self._trees = {name: self._db.open_tree(name) for name in setup.trees}

    def getter(self, tree: str) -> Getter:
        return self._trees[tree].get

    def insert(self, tree: str, key: bytes, value: bytes) -> None:
        self._trees[tree].insert(key, value)

    def write(self, writes: Iterable[Write]) -> None:
        batch = engine.Batch()
        for tree, key, value in writes:
            if value is None:
                batch.remove(tree, key)
            else:
                batch.insert(tree, key, value)
        self._db.apply_batch(batch)

    def page(self, page: Page) -> list[Row]:
        tree = self._trees[page.tree]
        return list(tree.range(page.lo, page.hi, reverse=page.reverse, limit=page.limit))

    def read(self, reads: Iterable[Read]) -> list[object]:
        """Each tree is opened once, as the parts do."""
        found: list[object] = []
        trees: dict[str, Tree] = {}
        with self._db.snapshot() as view:
            for read in reads:
                tree = trees.get(read.tree)
                if tree is None:
                    tree = trees[read.tree] = view.open_tree(read.tree)
                if isinstance(read, Get):
                    found.append(tree.get(read.key))
                else:
                    _, lo, hi, limit, reverse = read
                    found.append(list(tree.range(lo, hi, reverse=reverse, limit=limit)))
        return found

    def scan(self, tree: str) -> Iterable[Row]:
        return self._trees[tree]

    def settle(self) -> None:
        self._db.compact()

    def close(self) -> None:
        self._db.close()
