"""A store open for reading only, also beside a live writer: it takes no lock and changes nothing.

- It reads the newest manifest and replays the log behind it in memory, up to the last whole record.
- ``refresh`` goes on in the log where it stopped; where the manifest has changed meanwhile, it
  begins anew from that. Either way each state it shows is one the writer was in.
- The writer may unlink what a reader is about to open. Then the manifest has changed, and the
  reader starts over; where it has not, the store is damaged.
- Trees follow a refresh, those that did not exist yet too; snapshots and iterators do not.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import NoReturn

from conduitstore.engine.guard import closed
from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.kv import check_tree_name
from conduitstore.operations import OnRead

from . import index, names, recovery
from .cache import Cache
from .collector import collector_at_rest
from .compaction import live_bytes
from .config import Settings
from .database import Database
from .files import Directory, FileSystem
from .leaf import Leaf
from .replay import Replay
from .tree import LiveTree

ATTEMPTS_MAX = 100
"""How often a reader starts over because the writer published something meanwhile."""


def read_only() -> Exception:
    """There is no way to write here."""
    return InvalidArgumentError("this store is open for reading only")


class ReadOnlyStore(Database):
    """See the module's rules. Made by :func:`open_read_only`."""

    def __init__(self, directory: Directory, settings: Settings) -> None:
        cache = Cache(settings.cache_capacity_bytes)
        super().__init__(directory.path, settings, recovery.empty_forest(settings, cache))
        self.no_writes = read_only
        self.directory = directory
        self._refresh_lock = threading.Lock()
        self._absent: dict[str, int] = {}  # trees that were opened before they were there
        self._manifest: tuple[int, int] | None = None
        self._replay: Replay | None = None
        self._in_segments = 0
        self.refresh()

    # Keeping up -------------------------------------------------------------------------------
    def refresh(self) -> int:
        self.check_handle()
        with self._refresh_lock:
            newest, is_behind, attempts = self._newest_manifest(), True, 0
            while is_behind:
                try:
                    self._catch_up(newest)
                    is_behind = False
                except (CorruptedError, FileNotFoundError):
                    self._manifest = None  # What was applied so far stands, but begin anew.
                    before, newest, attempts = newest, self._newest_manifest(), attempts + 1
                    if newest == before or attempts == ATTEMPTS_MAX:
                        raise
            self._find_absent()
        return self.sequence

    def _newest_manifest(self) -> tuple[int, int]:
        """Number and length of the manifest that counts: they change with whatever it says."""
        number = recovery.newest_manifest(self.directory.names())
        if not number:
            raise InvalidArgumentError(f"there is no store at {self.directory.path}")
        try:
            file = self.directory.open(names.numbered(names.MANIFEST, number))
        except FileNotFoundError:  # The writer began a new one just now.
            return number, -1
        size = file.size()
        file.close()
        return number, size

    @collector_at_rest()
    def _catch_up(self, newest: tuple[int, int]) -> None:
        # What was handed out may be walked for as long as anybody likes.
        self.forest.freeze()
        if newest == self._manifest and self._replay is not None:
            self._replay.catch_up()
            return
        found = recovery.read_directory(self.directory)
        forest = recovery.empty_forest(self.settings, self.forest.cache)
        recovery.plant(forest, found)
        replay = Replay(forest, self.directory, found.store_id, found.generation.log_start)
        replay.catch_up()
        self.forest.become(forest)
        replay.forest = self.forest
        self._replay, self._manifest = replay, newest
        self._in_segments = found.generation.sequence
        self.generation = replace(found.generation, leaves={})

    def compact(self) -> NoReturn:
        raise read_only()

    def _find_absent(self) -> None:
        forest = self.forest
        with forest.lock:
            for name, stand_in in self._absent.items():
                tree_id = forest.ids.get(name)
                if tree_id is not None:
                    forest.roots[stand_in] = forest.roots[tree_id]
                else:
                    forest.roots[stand_in] = Leaf([], {})

    # What differs from a store that writes ----------------------------------------------------
    def open_tree(self, name: str) -> LiveTree:
        self.check_handle()
        tree_id = self.forest.ids.get(check_tree_name(name))
        if tree_id is None:
            with self._refresh_lock:
                tree_id = self._absent.setdefault(name, -1 - len(self._absent))
                self.forest.roots.setdefault(tree_id, Leaf([], {}))
        return LiveTree(self, name, tree_id, self.forest.roots)

    @property
    def durable_sequence(self) -> int:
        promised = self._replay.promised if self._replay is not None else 0
        return max(self._in_segments, promised)

    async def wait_durable(self, sequence: int) -> None:
        self.check_handle()
        if sequence > self.durable_sequence:
            raise InvalidArgumentError(f"{sequence} is not known to be durable: refresh, or wait")

    def generate_id(self) -> NoReturn:
        self.reserve_ids(1)

    def reserve_ids(self, total: int) -> NoReturn:  # noqa: ARG002 - refused whatever is asked
        self.check_handle()
        raise read_only()

    def positions(self) -> tuple[int, int]:
        found = self.generation  # A live writer may have given out ids up to its ceiling.
        return max(found.drawn, self.forest.count), found.ids if found.is_clean else (
            found.ceilings.ids
        )

    @property
    def log_bytes(self) -> int:
        return 0

    @property
    def space(self) -> tuple[int, int]:
        leaves = (leaf for root in self.forest.roots.values() for _, leaf in index.leaves(root))
        located = (leaf.location for leaf in leaves if leaf.location is not None)
        return sum(live_bytes(located).values()), 0

    def verify(
        self,
        *,
        bytes_per_second: int | None = None,  # noqa: ARG002 - refused whatever is asked
        on_read: OnRead | None = None,  # noqa: ARG002
    ) -> NoReturn:
        self.check_handle()
        raise InvalidArgumentError(
            "a writer may be at work, whose unfinished bytes would look like damage: ask it, or "
            "verify the store while nobody has it open"
        )

    def backup(
        self,
        path: str | os.PathLike[str],  # noqa: ARG002 - refused whatever is asked
        *,
        on_read: OnRead | None = None,  # noqa: ARG002
    ) -> NoReturn:
        self.check_handle()
        raise InvalidArgumentError(
            "a backup begins with a checkpoint, which only a writer makes: ask it for one, or open "
            "the store for writing"
        )

    def watch(self, *_: object) -> NoReturn:
        raise InvalidArgumentError("a store open for reading hears of no commits: refresh it")

    def close(self) -> None:
        if not self.is_forked:
            self.refuse(closed)


def open_read_only(filesystem: FileSystem, path: str, settings: Settings) -> ReadOnlyStore:
    """Open the store in a directory for reading.

    Raises:
        InvalidArgumentError: there is no store; none is made.
        UnsupportedFormatError: a newer release's, or another program's directory.
        CorruptedError: damage that no crash explains.
    """
    directory = filesystem.directory(path)
    if directory is None:
        raise InvalidArgumentError(f"there is no store at {path}")
    return ReadOnlyStore(directory, settings)
