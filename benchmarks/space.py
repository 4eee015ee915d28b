"""Bytes on disk for an entry: the demo's rows in conduitstore, RocksDB with zstd, and SQLite.

    python benchmarks/space.py [--copies N]

Needs the extra `bench` for RocksDB. The rows are those of the packed demo history, all trees; more
copies repeat them under other prefixes, so that small files do not decide. Every store is closed
after it was compacted by its own means; what its directory holds is then divided by the entries.
Also printed: the share of key bytes that leaves save on sequential keys of equal length.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path

import rocksdict

import conduitstore
from conduitstore import engine
from conduitstore.demo.history import History
from conduitstore.demo.replay import replay
from conduitstore.engine.embedded.leaf import encode_leaf

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
    with engine.open(path) as db:
        batch = engine.Batch()
        for name, key, value in copied(trees, copies):
            batch.insert(name, key, value)
            if len(batch) == 1_000:
                db.apply_batch(batch)
                batch = engine.Batch()
        db.apply_batch(batch)
        db.compact()


def fill_rocksdb(path: Path, trees: Trees, copies: int) -> None:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(create_if_missing=True)
    options.set_compression_type(rocksdict.DBCompressionType.zstd())
    db = rocksdict.Rdict(str(path), options)
    for name, key, value in copied(trees, copies):
        db[name.encode() + b"\xff" + key] = value
    db.flush()
    db.compact_range(None, None)
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


def disk_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def saved_percent() -> float:
    keys = [number.to_bytes(16) for number in range(256)]
    payload, _ = encode_leaf(1, 1, keys, [b""] * 256, None)
    return 100 * (1 - (len(payload) - 256) / (16 * 256))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--copies", type=int, default=5)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="conduitstore-space-") as name:
        directory = Path(name)
        trees = demo_rows(directory)
        entries = options.copies * sum(map(len, trees.values()))
        raw = sum(len(key) + len(value) for _, key, value in copied(trees, options.copies))
        print(f"{entries} entries, {raw / entries:.1f} bytes of keys and values each")
        for fill in (fill_conduitstore, fill_rocksdb, fill_sqlite):
            path = directory / fill.__name__
            fill(path, trees, options.copies)
            contender = fill.__name__.removeprefix("fill_")
            print(f"{contender:<14}{disk_bytes(path) / entries:>8.1f} bytes an entry on disk")
    print(f"sequential keys of 16 bytes, uncompressed: {saved_percent():.1f} % of key bytes saved")


if __name__ == "__main__":
    main()
