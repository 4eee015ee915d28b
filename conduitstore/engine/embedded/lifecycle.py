"""The life of an open store: opening, keeping up in the background, checkpoints, closing."""

from __future__ import annotations

import atexit
import logging
import secrets
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from itertools import count as counting
from typing import Any

from conduitstore.engine.guard import closed
from conduitstore.errors import ConduitStoreError, InvalidArgumentError, StoreFullError

from . import names, recovery
from .checkpoint import Checkpointer
from .collector import collector_at_rest
from .config import Settings
from .counters import Counters, first_numbers
from .database import BACKLOG_MAX, Database
from .files import File, FileSystem
from .flusher import Flusher
from .frozen import Frozen
from .history import commits_since
from .loss import keep_aside, let_go
from .manifest import FORK_GAP, Ceilings, Generation
from .merging import SmallLeaves
from .opening import open_directory
from .recovery import Recovered, Replayed
from .wal import WriteAheadLog

log = logging.getLogger("conduitstore")
BACKLOG_LOOK_SECONDS = 0.05
"""How often a writer that waits looks whether the store was closed or latched meanwhile."""
MERGED_LEAVES_MAX = 64
"""About how many small leaves a checkpoint reads, to merge them."""
COMPACTED_LEAVES_MAX = 1024
"""The same for a round of ``compact``."""


class Store(Database):
    """A database on a directory. Made by :func:`open_store`."""

    def __init__(self, replayed: Replayed, settings: Settings, filesystem: FileSystem) -> None:
        recovered = replayed.found
        super().__init__(recovered.directory.path, settings, replayed.forest)
        self.directory = recovered.directory
        self._lock_file: File | None = recovered.lock
        self._numbers: Iterator[int] = counting(recovered.last_number + 1)
        self.checkpoint_lock = threading.Lock()
        self.generation = recovered.generation
        self._incarnations = recovered.generation.incarnations
        self.filesystem = filesystem
        self.store_id = recovered.store_id
        self._flusher: Flusher | None = None
        self._full: StoreFullError | None = None  # why the newest checkpoint was none
        self._caught_up = threading.Event()
        self.checkpointer = Checkpointer(
            self.directory,
            recovered.store_id,
            settings,
            replayed.forest.cache,
            self.next_number,
            segments=set(recovered.segments.values()),
        )
        self._start(replayed)

    def next_number(self) -> int:
        """For a new file: above that of every other, ever."""
        return next(self._numbers)

    # Opening ----------------------------------------------------------------------------------
    @collector_at_rest()
    def _start(self, replayed: Replayed) -> None:
        recovered, loss = replayed.found, replayed.loss
        old, forest, settings = recovered.generation, self.forest, self.settings
        self.was_recovered = not old.is_clean
        drawn, ids = first_numbers(old, forest.count)
        if self.was_recovered or old.fork:
            forest.count = drawn
        if old.fork or recovered.is_new or loss is not None:
            self._incarnations += ((recovered.last_number + 1, secrets.randbits(63)),)
        self.recovery_report = recovery.report(replayed)
        forest.sequence += old.fork * FORK_GAP
        self.counters = Counters(
            drawn=drawn,
            ids=ids,
            id_reserve=settings.idgen_persist_interval,
            publish=self._publish_ceilings,
        )
        if recovered.is_new and names.ABOUT not in self.directory.names():
            about = self.directory.create(names.ABOUT)
            about.write_at(names.ABOUT_TEXT.encode(), 0)
            about.close()
        self.log = WriteAheadLog(
            self.directory,
            recovered.store_id,
            number=self.next_number(),
            sequence=forest.sequence,
            on_durable=self.on_durable,
        )
        if loss is not None:
            keep_aside(self.directory, loss.aside)
            self.checkpointer.condemned = loss.condemned
        self._publish(forest.freeze(), is_clean=False, is_first=True)
        let_go(self.directory, loss.aside if loss else (), self.checkpointer.named_segments())
        for name in self.directory.names():
            if names.is_leftover(name):
                self.directory.unlink(name)

    def begin(self) -> None:
        """Do from now on what a store does by itself: in the background, and at exit."""
        if self.settings.flush_every_ms is not None:
            self._flusher = Flusher(self, self.settings.flush_every_ms)
            self._flusher.start()
        _open_stores.add(self)

    # Checkpoints ------------------------------------------------------------------------------
    def checkpoint(self) -> None:
        """Write what only the log holds into segments, so that the log may be cut.

        Cost: every leaf that changed since the last one is written anew.
        """
        self.check_handle()
        with self.checkpoint_lock:
            self.checkpointed()

    def compact(self) -> None:
        """Rewrite every segment where that gives space back, and merge small neighbouring leaves.

        It goes in rounds, each a checkpoint, so that writers wait for none of it and the disk
        holds one round twice at most. The last round lets go of what the ones before it replaced.
        """
        self.check_handle()
        newest = self.next_number()  # What writers leave behind meanwhile is not our business.
        done: set[int] = set()
        while True:
            with self.checkpoint_lock:
                _, merged, victims = self._checkpoint(COMPACTED_LEAVES_MAX, is_thorough=True)
            victims = {number for number in victims if number < newest} - done
            if not merged and not victims:  # Those that are done and still there cannot be read.
                return
            done |= victims

    def checkpointed(self) -> Frozen:
        """Checkpoint, under the checkpoint lock; every entry of what it gives is in a segment."""
        frozen, _, _ = self._checkpoint(MERGED_LEAVES_MAX)
        return frozen

    def _checkpoint(
        self, merged_max: int, *, is_thorough: bool = False
    ) -> tuple[Frozen, int, set[int]]:
        """Merge, freeze, publish; gives the state, how many leaves went, and which segments."""
        keeper = self.checkpointer
        small = SmallLeaves(self.forest, leaves_max=merged_max)
        with self.writer_lock:
            self.check_writable()
            if not self.log.is_empty:
                log_bytes = self.log.commits_bytes
                with self.latching():
                    self.log.rotate(self.next_number())
                self.frozen_log_bytes += log_bytes
            elif self._is_published and not is_thorough and not keeper.is_manifest_long:
                return self.forest.freeze(), 0, set()
            merged = small.merge()
            self.frozen_dirty_bytes += self.forest.dirty_bytes
            frozen = self.forest.freeze_dirty()
        try:
            with self.latching():
                victims = self._publish(frozen, is_clean=False, is_thorough=is_thorough)
        except StoreFullError as error:
            self._full = error
            raise
        return frozen, merged, victims

    def leap(self, sequence: int, count: int) -> None:
        """Go on behind a sequence far above, with that count; needs both locks.

        No log fills the gap, so what is before it is published first: behind a crash there is
        either no gap, or nothing but what follows it.

        Raises:
            StoreFullError: no space; the store has to be opened again, and is as it was.
        """
        with self.latching():
            self.log.rotate(self.next_number(), sequence)
            with self.forest.lock:
                self.forest.sequence, self.forest.count = sequence, count
            try:
                self._publish(self.forest.freeze_dirty(), is_clean=False)
            except StoreFullError as error:
                self.latch(error, is_torn=False)
                raise

    @property
    def _is_published(self) -> bool:
        """Whether every leaf is in a segment, with an empty log: merged ones may still not be."""
        return self._full is None and self.generation.log_start == self.log.number

    def _publish(
        self, frozen: Frozen, *, is_clean: bool, is_first: bool = False, is_thorough: bool = False
    ) -> set[int]:
        """Publish a generation of everything before the current log file."""
        old = self.generation
        generation = Generation(
            generation=old.generation + 1,
            sequence=frozen.sequence,
            log_start=self.log.number,
            previous_log_start=old.log_start,
            count=frozen.count,
            drawn=self.counters.drawn,
            ids=self.counters.ids,
            ceilings=self.counters.ceilings,
            is_clean=is_clean,
            fork=0,
            incarnations=self._incarnations,
            trees={tree_id: name for name, tree_id in frozen.ids.items()},
            next_tree_id=frozen.next_tree_id,
        )
        victims = self.checkpointer.publish(
            frozen, generation, is_first=is_first, is_thorough=is_thorough
        )
        self.generation = replace(generation, leaves={})
        self._full = None
        self.frozen_log_bytes = self.frozen_dirty_bytes = 0
        self.is_behind = self.backlog >= BACKLOG_MAX
        self._caught_up.set()
        self._caught_up.clear()
        return victims

    def _publish_ceilings(self, ceilings: Ceilings) -> None:
        with self.latching():
            self.checkpointer.publish_ceilings(ceilings)

    def wait_for_checkpoint(self) -> None:
        while self.is_behind:
            self.check_handle()
            self.check_writable()
            if self._flusher is None or self._full is not None:
                # With a full disk the writer asks for itself: it gets the error, or goes on.
                self.checkpoint()
            else:
                self._flusher.nudge()
                self._caught_up.wait(BACKLOG_LOOK_SECONDS)

    def on_long_log(self) -> None:
        if self._flusher is not None:
            self._flusher.nudge()
            return
        try:
            self.checkpoint()
        except StoreFullError as error:
            # The commit that brought us here is safe in the log, and must not seem to fail.
            log.warning("%s: %s; will try again", self.path, error)

    def keep_up(self) -> None:
        """One turn of the background thread."""
        if self.settings.durability == "none":
            with self.writer_lock:
                self.check_writable()
                with self.latching():
                    self.log.write_held()
        else:
            self.flush()
        self.check_handle()  # Who was told of a durable commit may have closed the store.
        self.counters.raise_ahead()
        if self.is_long or self.is_behind or self.checkpointer.is_manifest_long:
            self.checkpoint()

    # Closing ----------------------------------------------------------------------------------
    def close(self) -> None:
        """Checkpoint, record the exact counters and let go of the directory.

        Closing a latched store only lets go: the next open recovers what the log holds. Where the
        disk is full the log stays as it is and ``StoreFullError`` says so; nothing is lost.
        """
        if self.is_forked:
            return
        if self.is_mine:
            self.check_handle()  # Closing inside a transaction would wait for itself.
        if self._flusher is not None:
            self._flusher.stop()
        try:
            with self.checkpoint_lock, self.writer_lock:
                if self._lock_file is not None:
                    self._close()
        finally:
            self.subscribers.close()  # Without the locks: a callback may close the store as well.

    def _close(self) -> None:
        try:
            if not self.is_latched:
                with self.latching():
                    self._finish()
                    self.no_writes = closed  # Whatever interrupts what is left to do.
        finally:
            try:
                if self.settings.temporary:
                    self._remove()
            finally:
                self._let_go()

    def commits_since(self, since: int, upto: int) -> list[tuple[int, list[Any]]]:
        return commits_since(self.directory, self.store_id, since, upto)

    def refresh(self) -> int:
        self.check_handle()
        return self.sequence

    def abandon(self) -> None:
        """Let go without writing anything, as if the process had been killed."""
        if self._flusher is not None:
            self._flusher.stop()
        self._let_go()
        self.subscribers.close()

    def on_fork(self) -> None:
        super().on_fork()
        # The parent alone decides for how long the directory is locked.
        if self._lock_file is not None:
            self._lock_file.close()

    def _finish(self) -> None:
        self.counters.seal()
        self.log.write_held()
        self.log.sync(self.log.written)
        if not self.log.is_empty:
            self.log.rotate(self.next_number())
        self._publish(self.forest.freeze(), is_clean=True)

    def _remove(self) -> None:
        """Delete what is ours, still under the lock: nobody else can have moved in yet."""
        ours = filter(names.is_ours, self.directory.names())
        for name in sorted(ours, key=lambda name: name == names.LOCK):  # The lock goes last.
            self.directory.unlink(name)
        self.directory.remove()

    def _let_go(self) -> None:
        self.refuse(closed)
        self.log.close()
        self.checkpointer.close()
        if self._lock_file is not None:
            self._lock_file.close()
        self._lock_file = None
        _open_stores.discard(self)


def open_store(filesystem: FileSystem, path: str, settings: Settings, made: list[Store]) -> None:
    """Open or create the store in a directory. See :mod:`.recovery` for the order of things.

    It is added to ``made``, so that a caller who is interrupted knows what to let go of. Before
    that the directory is let go of here.
    """
    replayed = open_directory(filesystem, path, settings)
    try:
        _check_new(replayed.found, settings)
        # One call into C: an interrupt comes before it, or finds what it made.
        made.extend(map(Store, (replayed,), (settings,), (filesystem,)))
        made[0].begin()
    except BaseException:
        if not made:
            replayed.close()
        raise


def _check_new(recovered: Recovered, settings: Settings) -> None:
    if not recovered.is_new and (settings.create_new or settings.temporary):
        path = recovered.directory.path
        raise InvalidArgumentError(f"{path} already holds a store, and a new one is asked for")


_open_stores: weakref.WeakSet[Store] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what nobody closed, so that the next open finds exact counters and no log."""
    for store in list(_open_stores):
        try:
            store.close()
        except (ConduitStoreError, OSError) as error:
            log.warning("%s could not be closed at exit: %s", store.path, error)
