"""Running transactions: the lock, the beginning, again after a conflict, and whether it happened.

1. Take the process's own lock, then the writers' lock of the store, and begin.
2. Tell subscribers of what other processes committed meanwhile.
3. Run the function. It reads through the transaction and writes into drafts.
4. Send everything and commit, in one round trip; the server lets go of the writers' lock.
5. Tell subscribers; let go of the process's lock.
6. With durability ``commit``: wait for a sync, which serves everybody who waits.

A conflict, or a connection that is lost before 4, begins it anew. One that is lost in 4 leaves it
open what happened: whoever has the writers' lock next knows that the old connection is gone, and
looks for the commit's token.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypeVar

from psycopg.types.numeric import Int8

from conduitstore import kv
from conduitstore.errors import ConduitStoreError, ConflictError, LockedError, UnavailableError
from conduitstore.kv import Durability

from . import sql
from .catalog import Catalog
from .connections import Session, Statement
from .counters import COUNT_STEP
from .events import Events, events_of
from .faults import ConnectionLostError, SerializationError, SlowLossError
from .transaction import Transaction
from .writing import COUNTS_RESERVED, Base, Writing

if TYPE_CHECKING:
    from .database import Store

T = TypeVar("T")
SEQUENCE_GAP = 1 << 32
"""How far sequences jump after a crash of the server: more than it can have lost commits."""
TREES_GAP = 1 << 20
PAUSE_S = 0.01


class LostCommitError(UnavailableError):
    """A commit was made, and lost in a crash of the server before it was durable."""


class Writer:
    """The transactions of one open store, one at a time."""

    def __init__(self, db: Store, *, lock_key: int, locks_row: bool) -> None:
        self._db = db
        self._lock_key = lock_key
        self._locks_row = locks_row
        self.running: Transaction | None = None
        self.committed = 0
        """The newest commit of this process."""

    # Running ------------------------------------------------------------------------------------
    def run(self, fn: Callable[[kv.Transaction], T], durability: Durability) -> T:
        """Run ``fn`` in a transaction until it is committed, or has failed for good."""
        attempts, retries = 0, self._db.settings.retries_max
        while True:
            attempts += 1
            try:
                return self._attempt(fn, durability)
            except (SerializationError, ConnectionLostError, LostCommitError) as error:
                if retries <= 0:
                    self._give_up(error, attempts)
                # What took long is tried once more, and not again and again.
                retries = 0 if isinstance(error, SlowLossError) else retries - 1
            time.sleep(random.uniform(0, PAUSE_S * min(attempts, 10)))  # noqa: S311 - no secret

    def _give_up(self, error: ConduitStoreError, attempts: int) -> NoReturn:
        if isinstance(error, SerializationError):
            raise ConflictError(f"given up after {attempts} attempts: {error}") from error
        raise UnavailableError(f"given up after {attempts} attempts: {error}") from error

    def _attempt(self, fn: Callable[[kv.Transaction], T], durability: Durability) -> T:
        db = self._db
        with db.writer_lock:
            db.check_writable()
            writing = self.begin()
            tx = Transaction(db, writing, durability)
            result = self._run_function(fn, tx)
            sequence = self._finish(tx)
        if sequence and tx.durability == "commit":
            self._settle(writing, sequence)
        return result

    def _run_function(self, fn: Callable[[kv.Transaction], T], tx: Transaction) -> T:
        self.running = tx
        self._db.enter()
        try:
            return fn(tx)
        except ConnectionLostError:
            tx.writing.lose()
            raise
        except BaseException:
            tx.writing.roll_back()
            raise
        finally:
            self.running = None
            self._db.leave()

    def drop_tree(self, name: str) -> bool:
        """Forget a tree, in a commit of its own; False where there was none."""

        def run(tx: kv.Transaction) -> bool:
            assert isinstance(tx, Transaction)
            if name not in tx.numbers:
                return False
            self._db.operators.forget_name(name, tx)
            tx.dropped = name
            return True

        return self.run(run, self._db.settings.durability)

    # The beginning ------------------------------------------------------------------------------
    def begin(self) -> Writing:
        """A transaction on top of the newest commit, whose trees and events are known."""
        db = self._db
        while True:
            session, base = self._locked()
            writing = Writing(db.pool, session, base, db.ceiling, locks_row=self._locks_row)
            try:
                if base.epoch is None:
                    self._recover(session, base)
                    db.pool.give_back(session)
                    continue
                if db.catalog.version != base.catalog:
                    db.catalog = Catalog.of(base.catalog, session.rows(sql.TREES))
                db.delivery.catch_up(base.sequence)
            except BaseException:
                writing.roll_back()
                raise
            return writing

    def _locked(self) -> tuple[Session, Base]:
        deadline = time.monotonic() + self._db.settings.lock_timeout_ms / 1000
        while True:
            session = self._db.pool.take()
            was_used, session.is_used = session.is_used, True
            try:
                rows = session.script(self._beginning())
                return session, Base(*rows[3][0])
            except BaseException as error:
                self._db.pool.give_back(session)
                if isinstance(error, ConnectionLostError) and was_used:
                    continue  # It died while nobody used it.
                if isinstance(error, LockedError):
                    raise self._who_writes(error) from error
                if not self._locks_row or not isinstance(error, SerializationError):
                    raise
                if time.monotonic() > deadline:
                    raise
            # At a row, whoever waited for another's commit has to begin again behind it.
            time.sleep(random.uniform(0, PAUSE_S))  # noqa: S311 - no secret

    def _beginning(self) -> bytes:
        timeouts = self._db.settings.lock_timeout_ms, self._db.settings.idle_timeout_ms
        statements = (
            sql.BEGIN_SERIALIZABLE if self._locks_row else sql.BEGIN_WRITING,
            sql.SET_WRITING % timeouts,
            sql.LOCK_ROW if self._locks_row else sql.LOCK % self._lock_key,
            sql.NEWEST_TO_WRITE,
            sql.RESERVE_COUNTS % COUNTS_RESERVED,
        )
        return b";".join(statements)

    def _who_writes(self, error: LockedError) -> LockedError:
        key = self._lock_key % (1 << 64)
        found = self._db.pool.rows(sql.LOCK_HOLDER, [Int8(key >> 32), Int8(key % (1 << 32))])
        who = ", ".join(f"server process {pid} of {name!r} at {at}" for pid, name, at in found)
        return LockedError(f"{error}; the lock is held by {who or 'nobody any more'}")

    def _recover(self, session: Session, base: Base) -> None:
        """The server crashed: go on above every count and sequence that it may have forgotten."""
        ceiling = session.rows(sql.ALL_COUNTS)[0][0]
        sequence = base.sequence + SEQUENCE_GAP
        numbers = (sequence, base.sequence, ceiling, base.catalog, base.trees + TREES_GAP)
        statements: list[Statement] = [
            (sql.SYNC_COMMIT, ()),
            (sql.RAISE_COUNTS, [Int8(ceiling + COUNT_STEP)]),
            (sql.INSERT_COMMIT, [*map(Int8, numbers), secrets.token_bytes(16), b""]),
            (sql.INSERT_RUNNING, [Int8(secrets.randbits(63))]),
            (sql.SET_DRAWN, [Int8(ceiling)]),
            (sql.COMMIT, ()),
        ]
        if self._locks_row:
            statements.insert(0, (sql.TOUCH_ROW, [Int8(sequence)]))
        session.run(statements)

    def greet(self, session: Session) -> None:
        """Look at the server behind a new connection before anything is read from it.

        A crash ends every connection. Until somebody has gone on above what it may have lost, the
        count would be one from before: lower than what was seen.
        """
        deadline = time.monotonic() + self._db.settings.lock_timeout_ms / 1000
        while not session.rows(sql.EPOCH):
            try:
                base = Base(*session.script(self._beginning())[3][0])
                if base.epoch is None:
                    self._recover(session, base)
            except SerializationError:  # At a row, somebody else was first.
                if time.monotonic() > deadline:
                    raise
            session.end()

    # The end ------------------------------------------------------------------------------------
    def _finish(self, tx: Transaction) -> int:
        """Commit what it did; gives the sequence, or 0 where it changed nothing."""
        tx.is_over = True
        writing = tx.writing
        try:
            happened = events_of(tx)
            if not (happened or writing.changes(tx)):
                writing.roll_back()
                return 0
        except ConnectionLostError:
            writing.lose()
            raise
        except BaseException:
            writing.roll_back()
            raise
        return self._commit(tx, Events(happened, tx.dropped))

    def _commit(self, tx: Transaction, events: Events) -> int:
        db, writing = self._db, tx.writing
        with db.delivery.lock:  # The listener would read what is here in hand.
            try:
                writing.commit(tx, events, db.settings, db.holder)
            except ConnectionLostError as error:
                writing.lose()
                if not self._did_happen(writing, error):
                    raise
            self._know(tx, writing.sequence)
            with suppress(UnavailableError):  # It is made: the listener tells of it later.
                db.delivery.committed(writing.base.sequence, writing.sequence, events)
        db.after_commit(is_heard=writing.is_heard)
        return writing.sequence

    def _know(self, tx: Transaction, sequence: int) -> None:
        self.committed = sequence
        made = tx.writing.made_by(tx)
        if made or tx.dropped is not None:
            self._db.catalog = self._db.catalog.changed(sequence, made, tx.dropped)
        if tx.dropped is not None:
            self._db.operators.forget(tx.dropped)

    def _did_happen(self, writing: Writing, error: ConnectionLostError) -> bool:
        """Whether a commit whose answer was lost was made."""
        deadline = time.monotonic() + self._db.settings.connect_timeout_ms / 1000
        while True:
            try:
                session, _ = self._locked()
                try:
                    token = [Int8(writing.base.sequence), writing.token]
                    found = session.rows(sql.FIND_COMMIT, token)
                finally:  # It has the writers' lock, and a place in the pool.
                    self._db.pool.give_back(session)
            except (ConnectionLostError, UnavailableError, LockedError) as still:
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"the connection was lost amid a commit, and nobody can say whether that "
                        f"was made: {still}",
                        is_commit_unknown=True,
                    ) from error
                time.sleep(PAUSE_S * 10)
            else:
                return bool(found)

    def _settle(self, writing: Writing, sequence: int) -> None:
        """Wait until the commit survives power loss."""
        deadline = time.monotonic() + self._db.settings.connect_timeout_ms / 1000
        find = sql.FIND_COMMIT, [Int8(sequence - 1), writing.token]
        while True:
            try:
                self._db.durability.sync()
                is_same = self._db.durability.epoch == writing.epoch
                if is_same or self._db.pool.rows(*find):
                    return
                break
            except UnavailableError as error:  # Also where nobody can be reached: it was made.
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"the commit was made, but whether it survives a crash is not known: "
                        f"{error}",
                        is_commit_unknown=True,
                    ) from error
                time.sleep(PAUSE_S * 10)
        raise LostCommitError("the server crashed and lost the commit before it was durable")
