"""Sorted runs of entries by themselves: leaves on disk, an index, and the cache for reading them.

- A run is written whole, from entries in the order of their keys. It never changes; writing another
  one of its name puts that in its place in one step. Once ``write`` has returned the run survives
  power loss; before, the old one does.
- Who keeps a :class:`Run` reads on in it, whether it was replaced or dropped meanwhile.
- The files are those of ``docs/format/manifest.md`` and ``segment.md``: a run is a tree. Opening
  reads the index; leaves are read when they are asked for, into a cache that scans do not flush.

Any thread may read, without a lock; writers take turns. A run is in memory while it is written, and
writing one looks once at the index of all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import count as counting
from typing import TYPE_CHECKING, Any, Self, cast

from conduitstore.engine.embedded import index, names
from conduitstore.engine.embedded.blob import Blob, entries_of
from conduitstore.engine.embedded.cache import Cache
from conduitstore.engine.embedded.checkpoint import Checkpointer
from conduitstore.engine.embedded.collector import collector_at_rest
from conduitstore.engine.embedded.config import Settings
from conduitstore.engine.embedded.files import Directory, FileSystem, Os, path_of
from conduitstore.engine.embedded.forest import DEFAULT_TREE_ID, Forest
from conduitstore.engine.embedded.frozen import Frozen, Hold
from conduitstore.engine.embedded.index import Root
from conduitstore.engine.embedded.leaf import Leaf, payload_bytes
from conduitstore.engine.embedded.manifest import Ceilings, Generation
from conduitstore.engine.embedded.recovery import (
    check_ours,
    lock_directory,
    plant,
    read_directory,
)
from conduitstore.engine.embedded.tree import FrozenTree
from conduitstore.engine.guard import Guard
from conduitstore.errors import ClosedError, InvalidArgumentError, UnsupportedFormatError
from conduitstore.kv import DEFAULT_TREE, Item, check_key, check_tree_name, check_value

if TYPE_CHECKING:
    from conduitstore.engine.embedded.database import Database


class Run(FrozenTree):
    """One run, as it was written: all that can be read of a :class:`conduitstore.kv.Tree`."""

    __slots__ = ()

    def __init__(self, store: LeafStore, name: str, tree_id: int, root: Root) -> None:
        # All that reading asks of a database, the leaf store has.
        db = cast("Database", store)
        super().__init__(db, name, tree_id, {tree_id: root}, Hold(store, store.forest.cache))


class LeafStore(Guard):
    """See the module's rules. Close it, or use ``with``.

    Args:
        path: a directory that holds a leaf store, is empty, or does not exist.
        files: stands in for the operating system in tests.
        settings: ``cache_capacity_bytes``, ``compression_level``, ``leaf_entries_max``,
            ``leaf_bytes_max``, ``blob_bytes_min`` and ``segment_bytes_target`` of
            :class:`conduitstore.engine.embedded.Settings`.

    Raises:
        LockedError: somebody has it open.
        UnsupportedFormatError: the directory holds something else, or a newer release's runs.
        CorruptedError: the manifest or a segment's header is damaged.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, files: FileSystem | None = None, **settings: Any
    ) -> None:
        self._settings = _settings(settings)
        files, name = files or Os(), path_of(path)
        self._directory = files.directory(name) or files.make_directory(name)
        _check_leaves(self._directory)
        self._lock_file = lock_directory(self._directory)
        try:
            super().__init__()
            self._open()
        except BaseException:
            self._lock_file.close()
            raise

    @collector_at_rest()
    def _open(self) -> None:
        settings, directory = self._settings, self._directory
        cache = Cache(settings.cache_capacity_bytes)
        self.forest = Forest(
            cache,
            leaf_entries_max=settings.leaf_entries_max,
            leaf_bytes_max=settings.leaf_bytes_max,
            blob_bytes_min=settings.blob_bytes_min,
        )
        found = read_directory(directory, self._lock_file)
        plant(self.forest, found)
        roots = self.forest.roots
        self._runs = {name: (at, roots[at]) for name, at in self.forest.ids.items()}
        self._next_id = self.forest.next_tree_id
        self._generation = found.generation.generation
        numbers = counting(found.last_number + 1)
        self._checkpointer = Checkpointer(
            directory,
            found.store_id,
            settings,
            cache,
            lambda: next(numbers),
            segments=set(found.segments.values()),
        )
        self._publish(self._runs, is_first=True)
        for name in filter(names.is_leftover, directory.names()):
            directory.unlink(name)

    # Writing ------------------------------------------------------------------------------------
    def write(self, name: str, items: Iterable[Item]) -> Run:
        """Write a run, durably, in the place of any other of its name.

        Args:
            name: as those of trees; ``__default__`` is taken.
            items: keys and values, the keys ascending.

        Raises:
            InvalidArgumentError: a key is not above the one before it, or no key at all.
            StoreFullError: nothing has changed.
        """
        if check_tree_name(name) == DEFAULT_TREE:
            raise InvalidArgumentError(f"a run cannot be called {name}")
        self.check_writable()
        root = self._root_of(items)
        with self.writer_lock:
            self.check_writable()
            tree_id, self._next_id = self._next_id, self._next_id + 1
            self._change({**self._runs, name: (tree_id, root)})
        return Run(self, name, tree_id, root)

    def drop(self, name: str) -> bool:
        """Delete a run, durably; False when there was none."""
        with self.writer_lock:
            self.check_writable()
            if name == DEFAULT_TREE or name not in self._runs:
                return False
            self._change({other: run for other, run in self._runs.items() if other != name})
            return True

    def _change(self, runs: dict[str, tuple[int, Root]]) -> None:
        with self.latching():
            self._publish(runs, is_first=False)
        self._runs = runs

    def _root_of(self, items: Iterable[Item]) -> Root:
        settings, cache = self._settings, self.forest.cache
        parts: index.Parts = []
        keys: list[bytes] = []
        stored: dict[bytes, Any] = {}
        leaf_bytes, last = 0, b""
        for key, value in items:
            if check_key(key) <= last:
                raise InvalidArgumentError(f"keys must ascend, but {key!r} comes behind {last!r}")
            entry = check_value(value)
            entry_bytes = len(key) + min(len(value), settings.blob_bytes_min)
            is_full = leaf_bytes + entry_bytes > settings.leaf_bytes_max
            if keys and (is_full or len(keys) == settings.leaf_entries_max):
                parts.append(_part(keys, stored))
                keys, stored, leaf_bytes = [], {}, 0
            is_blob = len(entry) >= settings.blob_bytes_min
            stored[key] = Blob(cache, entry, size_bytes=len(entry)) if is_blob else entry
            keys.append(key)
            leaf_bytes, last = leaf_bytes + entry_bytes, key
        if keys:
            parts.append(_part(keys, stored))
        return index.build(parts)

    def _publish(self, runs: dict[str, tuple[int, Root]], *, is_first: bool) -> None:
        ids = {name: tree_id for name, (tree_id, _) in runs.items()}
        generation = Generation(
            generation=self._generation + 1,
            sequence=0,
            log_start=1,
            previous_log_start=1,
            count=0,
            drawn=0,
            ids=0,
            ceilings=Ceilings(),
            is_clean=True,
            fork=0,
            incarnations=(),
            trees={tree_id: name for name, tree_id in ids.items()},
            next_tree_id=self._next_id,
        )
        frozen = Frozen(dict(runs.values()), ids, 0, 0, self._next_id)
        self._checkpointer.publish(frozen, generation, is_first=is_first)
        self._generation += 1

    # Reading ------------------------------------------------------------------------------------
    def run(self, name: str) -> Run | None:
        """The newest run of that name; None: there is none."""
        self.check_handle()
        found = self._runs.get(check_tree_name(name))
        return (
            Run(self, name, *found) if found is not None and found[0] != DEFAULT_TREE_ID else None
        )

    def names(self) -> list[str]:
        """Of all runs, sorted."""
        self.check_handle()
        return sorted(self._runs.keys() - {DEFAULT_TREE})

    @property
    def cache_bytes(self) -> int:
        """What the leaves take that are in memory: no more than ``cache_capacity_bytes``."""
        return self.forest.cache.resident_bytes

    @property
    def loads_total(self) -> int:
        """How many leaves and big values were read from the disk."""
        return self.forest.cache.loads_total

    # The end ------------------------------------------------------------------------------------
    def close(self) -> None:
        """Let go of the directory; everything written is durable already."""
        if self.is_forked or self._no_reads is not None:
            return
        with self.writer_lock:
            self.refuse(_closed)
            self._checkpointer.close()
            self._lock_file.close()

    def on_fork(self) -> None:
        self._lock_file.close()  # The parent alone decides for how long it is locked.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


_SETTINGS = (
    "cache_capacity_bytes",
    "compression_level",
    "leaf_entries_max",
    "leaf_bytes_max",
    "blob_bytes_min",
    "segment_bytes_target",
)


def _settings(given: dict[str, Any]) -> Settings:
    unknown = sorted(given.keys() - set(_SETTINGS))
    if unknown:
        raise InvalidArgumentError(
            f"a leaf store has no setting {', '.join(unknown)}; it has {', '.join(_SETTINGS)}"
        )
    return Settings.of(given)


def _part(keys: list[bytes], stored: dict[bytes, Any]) -> tuple[bytes, Leaf]:
    entries = entries_of(stored)
    return keys[0], Leaf(keys, entries, size_bytes=payload_bytes(entries))


def _check_leaves(directory: Directory) -> None:
    """Refuse a directory that holds anything else, a whole store or a log among it."""
    check_ours(directory)
    logs = names.of_kind(names.LOG, directory.names())
    if logs:
        raise UnsupportedFormatError(
            f"{directory.path} holds {logs[0][1]}, but a leaf store has no log: it is another thing"
        )


def _closed() -> Exception:
    return ClosedError("the leaf store is closed")
