"""Who takes part: everybody that is installed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .contender import Contender, Setup

CONTENDERS = {
    "conduitstore": ("ours", "OnConduitstore"),
    "LMDB": ("on_lmdb", "OnLmdb"),
    "RocksDB": ("on_rocksdb", "OnRocksdb"),
    "LevelDB": ("on_leveldb", "OnLeveldb"),
    "SQLite": ("sqlite", "OnSqlite"),
    "dict + bisect": ("floor", "OnFloor"),
}
OURS, FLOOR = "conduitstore", "dict + bisect"


def field_of(names: Sequence[str] | None = None) -> dict[str, Callable[[Setup], Contender]]:
    """How to open each contender, ours first.

    Raises:
        ModuleNotFoundError: one that was asked for by name is not installed: `pip install
            conduitstore[bench]`. Of all of them, those that are not installed stay away.
    """
    found = {}
    for name, (module, kind) in CONTENDERS.items():
        if names is not None and name not in (*names, OURS):
            continue
        try:
            found[name] = getattr(import_module(f"{__package__}.{module}"), kind)
        except ModuleNotFoundError:
            if names is not None:
                raise
            print(f"{name} stays away: its binding is not installed (extra `bench`)")
    return found
