"""Bytes on disk for an entry: the demo's rows in conduitstore, RocksDB with zstd, and SQLite.

    python benchmarks/space.py [--copies N] [--minutes 15]

Needs the extra `bench` for RocksDB. The rows are those of the packed demo history, all trees; more
copies repeat them under other prefixes, so that small files do not decide. Every store is closed
after it was compacted by its own means; what its directory holds is then divided by the entries.
RocksDB is set up as its tuning guide begins, with zstd on all levels, once with the tree in front
of the key and once with a column family a tree; its last level is compacted too. SQLite has a table
`WITHOUT ROWID` a tree and is vacuumed.

Also printed: the share of key bytes saved on keys of one length in sequence. What a store takes
beside its values is held against the bytes of its keys, so that frames and manifest count.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path

import rocksdict
from suite.deadline import at_most

import conduitstore
from conduitstore import engine
from conduitstore.demo.history import History
from conduitstore.demo.replay import replay

SEQUENCE_ROWS = 100_000
KEY_BYTES = 16
Trees = dict[str, list[tuple[bytes, bytes]]]


def demo_rows(directory: Path) -> Trees:
    with conduitstore.open(directory / "demo") as store:
        for _ in replay(store, History()):
            pass
    with engine.open(directory / "demo") as db:
        return {name: list(db.open_tree(name)) for name in db.tree_names()}


def copied(trees: Trees, copies: int) -> Iterable[tuple[str, bytes, bytes]]:
    for copy in range(copies):
        for name, rows in trees.items():
            for key, value in rows:
                yield name, copy.to_bytes(2) + key, value


def fill_conduitstore(path: Path, trees: Trees, copies: int) -> None:
    with engine.open(path, log_keep_bytes=0) as db:
        batch = engine.Batch()
        for name, key, value in copied(trees, copies):
            batch.insert(name, key, value)
            if len(batch) == 1_000:
                db.apply_batch(batch)
                batch = engine.Batch()
        db.apply_batch(batch)
        db.compact()


def rocksdb_options() -> rocksdict.Options:
    """As RocksDB's tuning guide begins, with zstd on every level, not only the last."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(create_if_missing=True)
    options.set_compression_type(rocksdict.DBCompressionType.zstd())
    options.set_bottommost_compression_type(rocksdict.DBCompressionType.zstd())
    options.set_level_compaction_dynamic_level_bytes(True)
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_block_size(16 * 1024)
    blocks.set_format_version(5)
    options.set_block_based_table_factory(blocks)
    return options


def compacted(db: rocksdict.Rdict) -> None:
    """The last level too, which a compaction otherwise leaves as it is."""
    every = rocksdict.CompactOptions()
    every.set_bottommost_level_compaction(rocksdict.BottommostLevelCompaction.force_optimized())
    db.flush()
    db.compact_range(None, None, every)


def fill_rocksdb_prefixed(path: Path, trees: Trees, copies: int) -> None:
    db = rocksdict.Rdict(str(path), rocksdb_options())
    for name, key, value in copied(trees, copies):
        db[name.encode() + b"\xff" + key] = value
    compacted(db)
    db.close()


def fill_rocksdb_families(path: Path, trees: Trees, copies: int) -> None:
    db = rocksdict.Rdict(str(path), rocksdb_options())
    families = {name: db.create_column_family(name, rocksdb_options()) for name in trees}
    for name, key, value in copied(trees, copies):
        families[name][key] = value
    for family in families.values():
        compacted(family)
    families.clear()
    db.close()


def fill_sqlite(path: Path, trees: Trees, copies: int) -> None:
    path.mkdir()
    db = sqlite3.connect(path / "rows")
    for name in trees:
        db.execute(f'CREATE TABLE "{name}" (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID')
    for name, key, value in copied(trees, copies):
        db.execute(f'INSERT INTO "{name}" VALUES (?, ?)', (key, value))  # noqa: S608 - our own names
    db.commit()
    db.execute("VACUUM")
    db.close()


CONTENDERS = (fill_conduitstore, fill_rocksdb_prefixed, fill_rocksdb_families, fill_sqlite)


def disk_bytes(path: Path) -> int:
    """Of all files but RocksDB's diary and options, which no row is in."""
    files = (file for file in path.rglob("*") if file.is_file())
    return sum(f.stat().st_size for f in files if not f.name.startswith(("LOG", "OPTIONS")))


def saved_percent(path: Path, value_bytes: int, compression_level: int) -> float:
    """How much less than its keys a whole store takes beside its values, which do not compress."""
    values = random.Random(1)
    with engine.open(path, compression_level=compression_level, log_keep_bytes=0) as db:
        batch = engine.Batch()
        for number in range(SEQUENCE_ROWS):
            batch.insert(db, number.to_bytes(KEY_BYTES), values.randbytes(value_bytes))
        db.apply_batch(batch)
        db.compact()
    beside = disk_bytes(path) - SEQUENCE_ROWS * value_bytes
    return 100 * (1 - beside / (SEQUENCE_ROWS * KEY_BYTES))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--copies", type=int, default=5)
    arguments.add_argument("--minutes", type=float, default=15, help="for all of it, at most")
    options = arguments.parse_args()
    with (
        at_most(options.minutes),
        tempfile.TemporaryDirectory(prefix="conduitstore-space-") as name,
    ):
        directory = Path(name)
        trees = demo_rows(directory)
        entries = options.copies * sum(map(len, trees.values()))
        raw = sum(len(key) + len(value) for _, key, value in copied(trees, options.copies))
        print(f"{entries} entries, {raw / entries:.1f} bytes of keys and values each")
        for fill in CONTENDERS:
            path = directory / fill.__name__
            fill(path, trees, options.copies)
            contender = fill.__name__.removeprefix("fill_")
            print(f"{contender:<18}{disk_bytes(path) / entries:>8.1f} bytes an entry on disk")
        print(f"{SEQUENCE_ROWS} keys of {KEY_BYTES} bytes in sequence; saved of their bytes:")
        for value_bytes in (0, 8, 100):
            shares = [
                saved_percent(directory / f"{value_bytes}-{n}", value_bytes, n) for n in (3, 0)
            ]
            print(
                f"  with values of {value_bytes:>3} bytes {shares[0]:>6.1f} %"
                f"{shares[1]:>8.1f} % uncompressed"
            )


if __name__ == "__main__":
    main()
