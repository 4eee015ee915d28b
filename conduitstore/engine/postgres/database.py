"""An open store on PostgreSQL: many processes may write to it, each through one of these.

ADR 50 says why it is built so, ``docs/format/postgres.md`` draws the tables.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Self, TypeVar

from psycopg.types.numeric import Int8

from conduitstore import kv
from conduitstore.engine.checksum import checksum
from conduitstore.engine.guard import Guard, closed
from conduitstore.engine.merge import MergeOperators
from conduitstore.engine.reading import read
from conduitstore.engine.subscriber import Subscribers
from conduitstore.engine.waiting import DurableWaiters
from conduitstore.errors import ConduitStoreError, InvalidArgumentError, UnavailableError
from conduitstore.kv import (
    DEFAULT_TREE,
    Batch,
    Durability,
    check_durability,
    check_tree_name,
)
from conduitstore.operations import RecoveryReport

from . import sql
from .background import Background
from .catalog import Catalog
from .config import Settings
from .connections import Pool
from .counters import CountCeiling, Ids
from .delivery import Delivery
from .durability import Durability as Syncs
from .instant import Instant
from .listening import Listener
from .opening import Opened, channel, lock_key
from .operations import PostgresOperations
from .snapshot import Snapshot
from .tree import LiveTree
from .writer import LostCommitError, Writer

T = TypeVar("T")


class Store(PostgresOperations, LiveTree, Guard):
    """See :class:`conduitstore.kv.Database`."""

    def __init__(self, pool: Pool, settings: Settings, opened: Opened, holder: str) -> None:
        Guard.__init__(self)
        LiveTree.__init__(self, self, DEFAULT_TREE, 0)
        self.pool = pool
        self.settings = settings
        self.opened = opened
        self.holder = holder
        self._is_closed = False
        self.catalog = opened.catalog
        self.operators = MergeOperators()
        self.ceiling = CountCeiling(pool, opened.ceiling)
        self.ids = Ids(pool, settings.idgen_persist_interval)
        self.waiters = DurableWaiters()
        is_plain = opened.dialect == "postgresql"
        self.durability = Syncs(pool, self._on_durable, waits_for_disk=is_plain)
        self.delivery = Delivery(pool, lambda: self.durable_sequence, self._on_watched)
        locks_row = settings.locks_row if settings.locks_row is not None else not is_plain
        self.writer = Writer(self, lock_key=lock_key(settings.schema), locks_row=locks_row)
        self._channel = channel(settings.schema)
        notifies = is_plain and not settings.read_only
        self._listener = Listener(
            pool, self._channel if notifies else None, settings.poll_ms, self.delivery.look
        )
        self._notifier = Background("conduitstore-notifier", self._notify, None)
        self._flusher = Background("conduitstore-flusher", self.keep_up, settings.flush_every_ms)
        self._is_watching = False
        self.was_recovered = opened.was_recovered
        self.recovery_report = RecoveryReport(
            was_unclean=opened.was_recovered, sequence=opened.sequence, count=opened.count
        )
        if settings.read_only:
            self.no_writes = read_only
        elif not opened.is_standby:
            pool.greet = self.writer.greet
            with pool.session() as session:
                self.writer.greet(session)

    @property
    def _db(self) -> Store:
        return self

    def check(self) -> None:
        """Whether a handle other than the running transaction's may be used here and now."""
        self.check_handle()
        if self.delivery.is_telling:
            raise InvalidArgumentError("a subscriber's callback must not use the store")

    @property
    def subscribers(self) -> Subscribers:
        """Who watches."""
        return self.delivery.subscribers

    # Trees --------------------------------------------------------------------------------------
    def open_tree(self, name: str) -> LiveTree:
        self.check()
        if check_tree_name(name) not in self.catalog.numbers:
            if self.settings.read_only:
                return LiveTree(self, name, None)
            self.transaction(lambda tx: tx.open_tree(name))
        return LiveTree(self, name, self.catalog.numbers[name])

    def tree_names(self) -> list[str]:
        self.check()
        return sorted(name for name, _ in self.pool.rows(sql.TREES))

    def find_tree(self, name: str) -> int | None:
        """The number of a tree that may have been made since anybody looked."""
        if name not in self.catalog.numbers:
            self.forget_catalog()
        return self.catalog.numbers.get(name)

    def forget_catalog(self) -> int:
        """Another process may have changed the trees: learn them anew; gives the sequence."""
        newest, trees = self.pool.run([(sql.NEWEST, ()), (sql.TREES, ())])
        self.catalog = Catalog.of(newest[0][2], trees)
        return int(newest[0][0])

    def drop_tree(self, name: str) -> bool:
        if check_tree_name(name) == DEFAULT_TREE:
            raise InvalidArgumentError("the default tree cannot be dropped: clear it")
        self.check()
        self.check_writable()
        was_there = self.writer.drop_tree(name)
        if was_there:
            self.reap()
        return was_there

    # Transactions -------------------------------------------------------------------------------
    def transaction(
        self,
        fn: Callable[[kv.Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        check_durability(durability)
        if self.is_mine and self.writer.running is not None:
            return self.writer.running.transaction(fn, durability=durability, read_only=read_only)
        if read_only:
            return read(self.snapshot(), fn)
        self.check()
        self.check_writable()
        return self.writer.run(fn, durability or self.settings.durability)

    def apply_batch(self, batch: Batch, *, durability: Durability | None = None) -> None:
        self.check()
        self.transaction(lambda tx: tx.apply_batch(batch), durability=durability)

    def snapshot(self) -> Snapshot:
        self.check()
        instant, (newest,) = Instant.begin(self.pool, [(sql.NEWEST, ())])
        sequence, count, version, _ = newest[0]
        catalog = self.catalog
        if catalog.version != version:
            catalog = Catalog.of(version, instant.rows(sql.TREES))
            if version > self.catalog.version:
                self.catalog = catalog
        return Snapshot(self, instant, sequence, count, catalog)

    # Positions ----------------------------------------------------------------------------------
    @property
    def sequence(self) -> int:
        return int(self.pool.rows(sql.NEWEST)[0][0])

    def current_count(self) -> int:
        self.check()
        return int(self.pool.rows(sql.NEWEST)[0][1])

    def refresh(self) -> int:
        """Every read shows the newest state anyway; trees that were dropped or made are noticed."""
        self.check()
        return self.forget_catalog()

    def generate_id(self) -> int:
        self.check()
        self.check_writable()
        return self.ids.take(1)[0]

    def reserve_ids(self, total: int) -> range:
        self.check()
        self.check_writable()
        return self.ids.take(total)

    def checksum(self) -> int:
        with self.snapshot() as view:
            return checksum(view)

    # Durability ---------------------------------------------------------------------------------
    @property
    def durable_sequence(self) -> int:
        """On a standby, whatever can be seen: nothing is sent there before it is durable."""
        return self.sequence if self.opened.is_standby else self.durability.durable

    def flush(self) -> int:
        self.check()
        self.check_writable()
        return self.durability.sync()

    async def flush_async(self) -> int:
        self.check()
        return await asyncio.to_thread(self.flush)

    async def wait_durable(self, sequence: int) -> None:
        self.check()
        if sequence > self.durability.durable:
            await self._wait_durable(sequence)
        if await asyncio.to_thread(self._is_lost, sequence):
            raise LostCommitError(f"the server crashed and lost commit {sequence}")

    async def _wait_durable(self, sequence: int) -> None:
        newest = await asyncio.to_thread(lambda: self.sequence)
        if sequence > newest:
            raise InvalidArgumentError(f"no commit {sequence} yet: the newest is {newest}")
        if self.settings.flush_every_ms is None or self.settings.durability == "none":
            await self.flush_async()
        else:
            self._flusher.start()
            await self.waiters.wait(sequence, lambda: self.durability.durable >= sequence)

    def _is_lost(self, sequence: int) -> bool:
        """Whether history goes on above it without it. What is older than history is told kept."""
        number = Int8(sequence)
        rows = self.pool.rows(sql.IS_LOST, [number, Int8(sequence - 1), number])
        return bool(rows and rows[0][0])

    def keep_up(self) -> None:
        """Sync what is not durable yet; the flusher's turn."""
        newest = self.writer.committed
        if self.delivery.waits_for_durable:
            newest = max(newest, self.delivery.position)
        if newest > self.durability.durable:
            self.durability.sync()

    def _on_durable(self, sequence: int) -> None:
        self.waiters.reached(sequence)
        with suppress(UnavailableError):  # The listener does it when the server is back.
            self.delivery.reached(sequence)

    # Other processes ----------------------------------------------------------------------------
    def after_commit(self, *, is_heard: bool) -> None:
        """Have the rest done by others: this thread has the writers' lock of the process."""
        self._start_flusher()
        if is_heard:
            self._notifier.nudge()

    def _start_flusher(self) -> None:
        settings = self.settings
        if settings.flush_every_ms is not None and settings.durability != "none":
            self._flusher.start()

    def _notify(self) -> None:
        self.pool.rows(b'NOTIFY "%s"' % self._channel.encode())

    def _on_watched(self) -> None:
        if not self._is_watching:
            self._is_watching = True
            if not self.settings.read_only:
                self.pool.rows(sql.SET_WATCHING, [self.holder])
            self._listener.start()
        if self.delivery.waits_for_durable:
            self._start_flusher()

    # The end ------------------------------------------------------------------------------------
    def close(self) -> None:
        if self.is_mine:
            self.check_handle()  # Closing inside a transaction would wait for itself.
        with self.writer_lock:
            if self._is_closed:
                return
            self._is_closed = True
            self.refuse(closed)
        self._listener.stop()
        self._notifier.stop()
        self._flusher.stop()
        try:
            if not self.settings.read_only and not self.is_forked:
                self._leave_in_order()
        finally:
            self.waiters.fail(closed())
            self.subscribers.close()
            self.pool.close()

    def _leave_in_order(self) -> None:
        if self.writer.committed > self.durability.durable:
            self.durability.sync()
        self.ids.close()
        self.pool.rows(sql.DELETE_HOLDER, [self.holder])

    def abandon(self) -> None:
        """Let go of everything at once, as the death of the process would; for tests."""
        self._is_closed = True
        self.refuse(closed)
        self.pool.close()
        self._listener.stop()
        self._notifier.stop()
        self._flusher.stop()
        self.subscribers.close()

    def on_fork(self) -> None:
        self._is_closed = True
        self.pool.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def read_only() -> Exception:
    """There is no way to write here."""
    return InvalidArgumentError("this store is open for reading only")


def new_holder() -> str:
    """A name for this open store among all that have the same one open."""
    return secrets.token_hex(8)


def give_up(pool: Pool) -> None:
    """Close what an opening that failed has made."""
    with suppress(ConduitStoreError):
        pool.close()
