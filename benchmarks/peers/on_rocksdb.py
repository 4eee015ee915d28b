"""RocksDB by rocksdict: a column family a tree, options as its tuning guide begins, zstd below."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, takewhile
from typing import Any

import rocksdict

from .contender import Get, Getter, Page, Read, Row, Setup, Write


class OnRocksdb:
    """All column families share one block cache."""

    name = "RocksDB"

    def __init__(self, setup: Setup) -> None:
        options = options_for(setup)
        path = str(setup.directory / self.name)
        existing = (setup.directory / self.name).exists()
        families = dict.fromkeys(("default", *setup.trees), options) if existing else None
        self._db = rocksdict.Rdict(path, options, column_families=families)
        opened = self._db.get_column_family if existing else self._created(options)
        self._trees: dict[str, Any] = {name: opened(name) for name in setup.trees}
        self._handles = {name: self._db.get_column_family_handle(name) for name in setup.trees}
        self._how = rocksdict.WriteOptions()
        self._how.sync = setup.is_durable
        for tree in self._trees.values():
            tree.set_write_options(self._how)

    def _created(self, options: Any) -> Any:
        return lambda name: self._db.create_column_family(name, options)

    def getter(self, tree: str) -> Getter:
        get: Getter = self._trees[tree].get
        return get

    def insert(self, tree: str, key: bytes, value: bytes) -> None:
        self._trees[tree].put(key, value)

    def write(self, writes: Iterable[Write]) -> None:
        batch = rocksdict.WriteBatch(raw_mode=True)
        for tree, key, value in writes:
            if value is None:
                batch.delete(key, self._handles[tree])
            else:
                batch.put(key, value, self._handles[tree])
        self._db.write(batch, self._how)

    def page(self, page: Page) -> list[Row]:
        return rows_of(self._trees[page.tree], page)

    def read(self, reads: Iterable[Read]) -> list[object]:
        """From the newest state: rocksdict has no snapshot over several trees. In its favour."""
        trees = self._trees
        return [
            trees[read.tree].get(read.key)
            if isinstance(read, Get)
            else rows_of(trees[read.tree], read)
            for read in reads
        ]

    def scan(self, tree: str) -> Iterable[Row]:
        rows: Iterable[Row] = self._trees[tree].items()
        return rows

    def settle(self) -> None:
        every = rocksdict.CompactOptions()
        every.set_bottommost_level_compaction(rocksdict.BottommostLevelCompaction.force_optimized())
        for tree in self._trees.values():
            tree.flush()
            tree.compact_range(None, None, every)

    def close(self) -> None:
        self._trees.clear()
        self._handles.clear()
        self._db.close()


def rows_of(view: Any, page: Page) -> list[Row]:
    _, lo, hi, limit, reverse = page
    if not reverse:
        rows = view.items(from_key=lo)
        return list(islice(takewhile(lambda row: row[0] < hi, rows), limit))
    rows = view.items(backwards=True, from_key=hi)
    found = list(islice(takewhile(lambda row: row[0] >= lo, rows), limit + 1))
    if found and found[0][0] >= hi:  # it begins at the bound itself
        found = found[1:]
    return found[:limit]


def options_for(setup: Setup) -> Any:
    options = rocksdict.Options(raw_mode=True)
    options.set_write_buffer_size(setup.log_bytes)
    options.create_if_missing(create_if_missing=True)
    options.set_compression_type(rocksdict.DBCompressionType.zstd())
    options.set_bottommost_compression_type(rocksdict.DBCompressionType.zstd())
    options.set_level_compaction_dynamic_level_bytes(True)
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_block_size(16 * 1024)
    blocks.set_format_version(5)
    blocks.set_block_cache(rocksdict.Cache(setup.cache_bytes))
    blocks.set_bloom_filter(10, False)
    blocks.set_cache_index_and_filter_blocks(True)
    options.set_block_based_table_factory(blocks)
    return options
