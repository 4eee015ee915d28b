"""An open store: the commit path, and who waits for what.

A commit, step by step:

1. Take the writer lock; a transaction runs its function under it, writing into drafts.
2. Load every leaf that will change: afterwards nothing needs to be read.
3. Append one frame to the log, or have it wait for step 6 where it has room in the file. No space:
   the commit fails whole, here.
4. Under the apply lock, which does no I/O and runs no user code, change the leaves; count and
   sequence last. Now everybody can see it.
5. Queue events for subscribers, release the writer lock.
6. ``commit`` durability: wait until the frame is on the platter; one sync serves all who wait.

Between 3 and 5 any exception, an interrupt too, latches the store: memory and log may differ, so
nothing more is written, and reads end as well if the change had begun.

Locks, always taken in this order: checkpoint, writer, ceilings, apply. The log's own are innermost.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Self, TypeVar, cast

import msgpack

from conduitstore import kv
from conduitstore.engine.checksum import checksum
from conduitstore.engine.guard import Guard, Refusal
from conduitstore.engine.merge import MERGE_OPERATORS, MergeOperators
from conduitstore.engine.reading import read
from conduitstore.engine.subscriber import Subscriber, Subscribers, check_since
from conduitstore.engine.waiting import DurableWaiters
from conduitstore.errors import InvalidArgumentError, PoisonedError, StoreFullError
from conduitstore.kv import (
    DEFAULT_TREE,
    Batch,
    Durability,
    Event,
    Insert,
    Remove,
    check_durability,
    check_tree_name,
)

from .batches import placed
from .config import Settings
from .counters import Counters
from .forest import DEFAULT_TREE_ID, Forest, Place
from .format import FRAME_PAYLOAD_BYTES_MAX, HEADER_BYTES
from .history import events_of
from .operations import StoreOperations
from .snapshot import Snapshot
from .transaction import Transaction
from .tree import LiveTree
from .wal import Op, WriteAheadLog

T = TypeVar("T")
BACKLOG_MAX = 2
"""Writers wait once the log, or the dirty memory, is so many times its bound."""


class Database(StoreOperations, LiveTree, Guard):
    """See :class:`conduitstore.kv.Database`; made by :mod:`.lifecycle`, which subclasses it."""

    counters: Counters
    log: WriteAheadLog

    def __init__(self, path: str, settings: Settings, forest: Forest) -> None:
        Guard.__init__(self)
        self.path = path
        self.settings = settings
        self.forest = forest
        self.subscribers = Subscribers()
        self.operators = MergeOperators()
        self.was_recovered = False
        self._running: Transaction | None = None
        self.is_behind = False
        self._log_bytes_max = settings.checkpoint_log_bytes + HEADER_BYTES  # of one file
        self.frozen_log_bytes = 0  # of checkpoints that are not published, or failed
        self.frozen_dirty_bytes = 0
        self._waiters = DurableWaiters()
        self._pack: Callable[[list[Any]], bytes] = msgpack.Packer().pack
        super().__init__(self, DEFAULT_TREE, DEFAULT_TREE_ID, forest.roots)

    # Trees ------------------------------------------------------------------------------------
    def open_tree(self, name: str) -> LiveTree:
        self.check_handle()
        tree_id = self.forest.ids.get(check_tree_name(name))
        if tree_id is None:
            tree_id = self.transaction(lambda tx: cast("Transaction", tx).open_tree(name).tree_id)
        return LiveTree(self, name, tree_id, self.forest.roots)

    def tree_names(self) -> list[str]:
        self.check_handle()
        return sorted(self.forest.ids)

    def drop_tree(self, name: str) -> bool:
        if check_tree_name(name) == DEFAULT_TREE:
            raise InvalidArgumentError("the default tree cannot be dropped: clear it")
        self.check_handle()
        with self.writer_lock:
            self.check_writable()
            ids = self.forest.ids
            if name not in ids:
                return False
            ops: list[Any] = [ids[name], Op.DROP, None]
            if name != MERGE_OPERATORS and MERGE_OPERATORS in ids:
                names = LiveTree(self, MERGE_OPERATORS, ids[MERGE_OPERATORS], self.forest.roots)
                if name.encode() in names:
                    ops += [names.tree_id, name.encode(), None]
            sequence = self.commit(ops, self.forest.count, self.settings.durability)
            self.operators.forget(name)
            self.subscribers.close(name)
        self.settle(sequence, self.settings.durability)
        return True

    def snapshot(self) -> Snapshot:
        if self.guarded:
            self.check_handle()
        return Snapshot(self, *self.forest.freeze_for(self))

    def checksum(self) -> int:
        with self.snapshot() as view:
            return checksum(view)

    # Committing -------------------------------------------------------------------------------
    def transaction(
        self,
        fn: Callable[[kv.Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        check_durability(durability)
        if self.guarded:  # So it is while a transaction runs, this thread's or another's.
            if self.is_mine and self._running is not None:
                return self._running.transaction(fn, durability=durability, read_only=read_only)
            self.check_handle()
        if read_only:
            return read(self.snapshot(), fn)
        if self.is_behind:
            self.wait_for_checkpoint()
        with self.writer_lock:
            self.check_writable()
            tx = Transaction(self, durability or self.settings.durability)
            try:
                self._running = tx
                self.enter()
                result = fn(tx)
                ops, places, count = tx.finish()
            finally:
                self.leave()
                self._running = None
                tx.end()
            self.check_writable()  # Again: the function may have forked, and this be the child.
            if not ops and count == self.forest.count:
                return result
            sequence = self.commit_prepared(ops, places, count, tx.durability)
        self.settle(sequence, tx.durability)
        return result

    def apply_batch(self, batch: Batch, *, durability: Durability | None = None) -> None:
        """Runs no function of the caller's, so it needs no drafts, unless it makes a tree."""
        if durability is not None:
            check_durability(durability)
        if self.guarded:
            self.check_handle()
        if self.is_behind:
            self.wait_for_checkpoint()
        chosen = durability or self.settings.durability
        with self.writer_lock:
            self.check_writable()
            found = placed(batch, self.forest)
            if found is not None and found[0]:
                sequence = self.commit_prepared(*found, self.forest.count, chosen)
        if found is None:
            self.transaction(lambda tx: tx.apply_batch(batch), durability=durability)
        elif found[0]:
            self.settle(sequence, chosen)

    def commit(self, ops: list[Any], count: int, durability: Durability) -> int:
        """Steps 2 to 5 for whoever holds the writer lock; gives the commit's sequence."""
        return self.commit_prepared(ops, self.forest.prepare(ops), count, durability)

    def commit_prepared(
        self, ops: list[Any], places: list[Place], count: int, durability: Durability
    ) -> int:
        """Steps 3 to 5, where the leaves that will change are at hand."""
        forest, log = self.forest, self.log
        sequence = forest.sequence + 1
        payload = self._pack([sequence, log.durable, count, *ops])
        if len(payload) > FRAME_PAYLOAD_BYTES_MAX:
            raise InvalidArgumentError(f"a commit cannot have {len(payload)} bytes: make several")
        is_torn = False
        try:
            log.append(sequence, payload, durability)
            is_torn = True
            forest.apply(ops, places, count, sequence)
            if self.subscribers.watched:
                self._notify(ops)
        except StoreFullError:
            raise
        except BaseException as error:
            self.latch(error, is_torn=is_torn)
            raise
        return sequence

    def _notify(self, ops: list[Any]) -> None:
        self.subscribers.forget_gone()
        names = {tree_id: name for name, tree_id in self.forest.ids.items()}
        events: dict[str, list[Event]] = {}
        each = iter(ops)
        for tree_id, key, value in zip(each, each, each, strict=True):
            name = names.get(tree_id)
            if name in self.subscribers.watched and type(key) is bytes:
                event = Remove(key) if value is None else Insert(key, value)
                events.setdefault(name, []).append(event)
        self.enter()  # A callback that uses the store is told so, and does not wait for itself.
        try:
            for name, happened in events.items():
                self.subscribers.publish(name, happened, self.forest.sequence)
        finally:
            self.leave()

    def settle(self, sequence: int, durability: Durability) -> None:
        """Step 6, without the writer lock; also sees to it that a long log is checkpointed."""
        if durability == "commit":
            self.sync(sequence)
        if self.frozen_log_bytes or self.is_long:
            self.is_behind = self.backlog >= BACKLOG_MAX
            if self.is_long:
                self.on_long_log()

    @property
    def is_long(self) -> bool:
        """Whether the log, or what is dirty in memory, has reached its bound."""
        return (
            self.log.size_bytes >= self._log_bytes_max
            or self.forest.dirty_bytes >= self.settings.dirty_bytes_max
        )

    @property
    def backlog(self) -> float:
        """How many times its bound the log or the dirty memory is, with what is not published."""
        settings = self.settings
        log_bytes = self.frozen_log_bytes + self.log.commits_bytes
        dirty_bytes = self.frozen_dirty_bytes + self.forest.dirty_bytes
        return max(
            log_bytes / settings.checkpoint_log_bytes, dirty_bytes / settings.dirty_bytes_max
        )

    def wait_for_checkpoint(self) -> None:
        """Let the checkpoint that lags catch up, before the writer lock is taken.

        Raises:
            StoreFullError: there is no space for one: nothing was written.
        """
        raise NotImplementedError

    def on_long_log(self) -> None:
        """The log has reached its bound: have a checkpoint made."""
        raise NotImplementedError

    # Durability -------------------------------------------------------------------------------
    def sync(self, sequence: int) -> None:
        """Return once a commit, already handed to the kernel, is on the platter."""
        if self.log.durable < sequence:
            try:
                self.log.sync(sequence)
            except BaseException:
                with self.latching():
                    raise

    def on_durable(self, sequence: int) -> None:
        """The log has synced up to here."""
        self._waiters.reached(sequence)
        self.subscribers.reached(sequence)

    def flush(self) -> int:
        self.check_handle()
        with self.writer_lock:
            self.check_writable()
            with self.latching():
                self.log.write_held()
            written = self.log.written
        self.sync(written)
        return self.log.durable

    async def flush_async(self) -> int:
        return await asyncio.to_thread(self.flush)

    async def wait_durable(self, sequence: int) -> None:
        self.check_handle()
        if sequence > self.forest.sequence:
            raise InvalidArgumentError(
                f"{sequence} is no commit yet: the newest is {self.sequence}"
            )
        if sequence <= self.log.durable:
            return
        self.check_writable()
        if self.settings.flush_every_ms is None or self.settings.durability == "none":
            await self.flush_async()
        else:
            await self._waiters.wait(sequence, lambda: self._is_durable(sequence))

    def _is_durable(self, sequence: int) -> bool:
        if self.log.durable < sequence:
            self.check_writable()  # Where nothing is written any more nothing becomes durable.
            return False
        return True

    def latch(self, cause: BaseException, *, is_torn: bool) -> None:
        super().latch(cause, is_torn=is_torn)
        self._waiters.fail(PoisonedError("the store was latched before that commit was durable"))

    def refuse(self, refusal: Refusal) -> None:
        super().refuse(refusal)
        self._waiters.fail(refusal())

    def on_fork(self) -> None:
        if self._running is not None:
            self._running.end()

    @property
    def sequence(self) -> int:
        return self.forest.sequence

    @property
    def durable_sequence(self) -> int:
        return self.log.durable

    # Counts and ids ---------------------------------------------------------------------------
    def current_count(self) -> int:
        self.check_handle()
        return self.forest.count

    def generate_id(self) -> int:
        if self.guarded:
            self.check_handle()
        return self.counters.take_id()

    def reserve_ids(self, total: int) -> range:
        self.check_handle()
        return self.counters.take_ids(total)

    def watch(self, tree: str, tree_id: int, subscriber: Subscriber, since: int | None) -> None:
        """Register a subscriber; with ``since``, tell it first what happened behind that."""
        check_since(since)
        if since is None:
            subscriber.sequence = self.forest.sequence
            self.subscribers.add(tree, subscriber)
        else:
            with nullcontext() if self.is_mine else self.writer_lock:
                self.check_writable()
                with self.latching():
                    self.log.write_held()
                upto = self.forest.sequence
                self.subscribers.add(tree, subscriber)  # It gets what is committed behind upto.
            for sequence, ops in self.commits_since(since, upto):
                subscriber.remember(events_of(ops, tree_id), sequence)
            subscriber.sequence = since
        subscriber.reached(self.log.durable)

    def commits_since(self, since: int, upto: int) -> list[tuple[int, list[Any]]]:
        """Sequence and operations of each commit behind ``since``; see :mod:`.history`."""
        raise NotImplementedError

    @abstractmethod
    def refresh(self) -> int: ...

    @abstractmethod
    def compact(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
