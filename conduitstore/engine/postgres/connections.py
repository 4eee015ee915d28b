"""Connections to the server: sessions that are lent out one caller at a time, and counted trips.

- Whoever needs a session gets an idle one, or makes one itself and hears at once why it cannot.
- A session whose work is done is given back at once: its transaction is ended by a message that
  nobody waits for, and its answer is taken when the session is used again.
- Giving back takes no lock, so a finalizer may do it.
- ``trips_total`` counts how often somebody waited for the server.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

import psycopg
from psycopg import generators
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import IdleInTransactionSessionTimeout
from psycopg.pq import ExecStatus, TransactionStatus

from conduitstore.errors import ClosedError, UnavailableError

from .config import Settings
from .faults import ConnectionLostError, SilentError, translating
from .silence import BoundedConnection

Row = tuple[Any, ...]
Statement = tuple[bytes, Sequence[object]]
KEEPALIVES = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""A server whose machine is gone is noticed after a minute, unless the DSN says otherwise."""
FLUSHED_FROM = 16
"""From so many statements in one pipeline on, the server answers each at once: they may take long
together, and be no silence."""
FAILED = (ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED)


class Session:
    """One connection, used by one caller at a time."""

    def __init__(self, pool: Pool, connection: BoundedConnection) -> None:
        self._pool = pool
        self.connection = connection
        self._is_ending = False
        self._is_spoilt = False
        """Whether a pipeline failed: psycopg then believes in statements that were not prepared."""
        self.is_used = False
        self._why_ended: str | None = None
        connection.add_notice_handler(self._note)

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        """What the server said while nobody asked; to a pipeline it only ends the connection."""
        if notice.sqlstate == IdleInTransactionSessionTimeout.sqlstate:
            self._why_ended = notice.message_primary

    @property
    def is_lost(self) -> bool:
        """Whether nothing more will come over this connection."""
        return self.connection.closed

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self._pool.trips_total += 1
        try:
            with translating(lambda: self.is_lost):
                try:
                    self._take_answer_of_end()
                    yield
                except psycopg.OperationalError as error:
                    if not error.sqlstate:  # How far the exchange came, nobody knows.
                        self.close()
                    if self._why_ended is not None:
                        raise IdleInTransactionSessionTimeout(self._why_ended) from error
                    raise
        except ConnectionLostError as error:  # The server may say so before the connection ends.
            self.close()
            if isinstance(error, SilentError):
                self._pool.distrust()
            raise
        except Exception:
            raise
        except BaseException:  # An interrupt: where it came in the exchange, nobody knows.
            self.close()
            raise

    def rows(self, query: bytes, params: Sequence[object] = ()) -> list[Row]:
        """Run one statement; gives its rows."""
        with self._asking():
            cursor = self.connection.cursor(binary=True)
            cursor.execute(query, params)
            return cursor.fetchall() if cursor.description is not None else []

    def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements in one round trip; gives the rows of each. The first error ends it."""
        if len(statements) == 1:
            return [self.rows(*statements[0])]
        with self._asking():
            cursors = [self.connection.cursor(binary=True) for _ in statements]
            self._pipe(cursors, statements)
            return [
                cursor.fetchall() if cursor.description is not None else [] for cursor in cursors
            ]

    def _pipe(self, cursors: list[psycopg.Cursor[Row]], statements: Sequence[Statement]) -> None:
        first: psycopg.Error | None = None
        try:
            with self.connection.pipeline():
                try:
                    for cursor, (query, params) in zip(cursors, statements, strict=True):
                        cursor.execute(query, params)
                        if len(statements) >= FLUSHED_FROM:
                            self.connection.pgconn.send_flush_request()
                except psycopg.Error as error:  # The end of the pipeline tells only what followed.
                    first = error
        except psycopg.Error as error:
            raise first or error from None
        else:
            if first is not None:
                raise first
        finally:
            self._is_spoilt |= first is not None or sys.exc_info()[0] is not None
            # An error that its own frame holds would keep callers' snapshots from ending.
            first = None

    def script(self, text: bytes) -> list[list[Row]]:
        """Run statements without parameters in one round trip; gives the rows of each.

        As one message, and not as a pipeline, whose end keeps the server from noticing that a
        transaction does nothing.
        """
        with self._asking():
            cursor = self.connection.execute(text, prepare=False)
            found = []
            while True:
                found.append(cursor.fetchall() if cursor.description is not None else [])
                if not cursor.nextset():
                    return found

    def take_time(self) -> None:
        """Wait for the server however long it takes, until the session is given back."""
        self.connection.silence_max_ms = None

    def end(self, last: bytes = b"") -> None:
        """End the transaction, after ``last``, without waiting for the answer."""
        if self.is_lost or self._is_ending:
            return
        status = self.connection.pgconn.transaction_status
        if status == TransactionStatus.IDLE and not self._is_spoilt:
            return
        if self._is_spoilt or status not in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            self.close()
            return
        last = last if status == TransactionStatus.INTRANS else b""
        try:
            self.connection.pgconn.send_query(last + b"ROLLBACK")
            self._is_ending = True
        except psycopg.Error:
            self.close()

    def _take_answer_of_end(self) -> None:
        if not self._is_ending:
            return
        self._is_ending = False
        try:
            answers = self.connection.wait(generators.fetch_many(self.connection.pgconn))
        except psycopg.Error:
            self.close()
            raise
        if any(answer.status in FAILED for answer in answers):
            self.close()
            raise psycopg.OperationalError("the end of the last transaction failed")

    def close(self) -> None:
        """Close the connection; the server rolls back what it had begun."""
        with suppress(Exception):
            self.connection.close()


class Pool:
    """The connections of one open store."""

    def __init__(self, dsn: str, settings: Settings, application_name: str) -> None:
        self._dsn = dsn
        self._settings = settings
        self._application_name = application_name
        # What takes longer the server ends by itself, and says so.
        self._silence_max_ms = settings.statement_timeout_ms + settings.connect_timeout_ms
        self._idle: SimpleQueue[Session] = SimpleQueue()
        self._lock = threading.Lock()
        self._sessions: set[Session] = set()  # Kept, so that none is collected half way back.
        self._total = 0
        self._is_closed = False
        self.trips_total = 0
        self.greet: Callable[[Session], None] = lambda _: None
        """Called with each new session, before anybody gets it."""

    # Lending out --------------------------------------------------------------------------------
    def take(self) -> Session:
        """A session with nothing begun; give it back."""
        deadline = time.monotonic() + self._settings.connect_timeout_ms / 1000
        while True:
            session = self._idle_one()
            if session is not None:
                return session
            if self._may_grow():
                return self._grown()
            try:
                session = self._idle.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise UnavailableError(
                    f"all {self._settings.pool_max} connections are in use by snapshots, iterators "
                    "and calls: close what is not needed, or raise pool_max"
                ) from None
            if not session.is_lost:
                return session
            self._forget(session)

    def _idle_one(self) -> Session | None:
        while True:
            try:
                session = self._idle.get_nowait()
            except Empty:
                return None
            if not session.is_lost:
                return session
            self._forget(session)

    def _may_grow(self) -> bool:
        with self._lock:
            self._check_open()
            if self._total >= self._settings.pool_max:
                return False
            self._total += 1
            return True

    def _grown(self) -> Session:
        try:
            session = Session(self, self.connect())
            try:
                self.greet(session)
            except BaseException:
                session.close()
                raise
        except BaseException:
            with self._lock:
                self._total -= 1
            raise
        with self._lock:
            self._sessions.add(session)
            is_late = self._is_closed
        if is_late:
            session.close()
            raise ClosedError("the store is closed")
        return session

    def connect(self) -> BoundedConnection:
        """A connection that is not of the pool."""
        settings = self._settings
        options = {
            "search_path": settings.schema,
            "statement_timeout": settings.statement_timeout_ms,
            "client_min_messages": "error",
            "bytea_output": "hex",
        }
        if settings.read_only:
            options["default_transaction_read_only"] = "on"
        with translating(lambda: False):
            given = conninfo_to_dict(self._dsn)
            more = [f"-c {name}={value}" for name, value in options.items()]
            known: dict[str, Any] = {
                "connect_timeout": max(2, -(-settings.connect_timeout_ms // 1000)),
                **KEEPALIVES,
                **given,
                "application_name": self._application_name,
                "options": " ".join([str(given.get("options") or ""), *more]),
            }
            connection = BoundedConnection.connect(make_conninfo("", **known), autocommit=True)
        connection.prepared_max = 1_000
        connection.silence_max_ms = self._silence_max_ms
        return connection

    def give_back(self, session: Session) -> None:
        """Take back a session, whatever it has begun."""
        session.end()
        session.connection.silence_max_ms = self._silence_max_ms
        if self._is_closed:
            session.close()
        self._idle.put(session)

    def discard(self, session: Session) -> None:
        """Take back a session that nobody shall use again."""
        self._forget(session)

    def distrust(self) -> None:
        """One connection went silent: those that nobody uses may lead to the same nowhere."""
        with suppress(Empty):
            while True:
                self._forget(self._idle.get_nowait())

    def _forget(self, session: Session) -> None:
        session.close()
        with self._lock:
            self._sessions.discard(session)
            self._total -= 1

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session for a while."""
        session = self.take()
        try:
            yield session
        finally:
            self.give_back(session)

    def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements that do no harm when they run twice; a lost connection is replaced."""
        while True:
            session = self.take()
            was_used, session.is_used = session.is_used, True
            try:
                return session.run(statements)
            except ConnectionLostError:
                if not was_used:  # The server was just there, and is gone: so say so.
                    raise
            finally:
                self.give_back(session)

    def rows(self, query: bytes, params: Sequence[object] = ()) -> list[Row]:
        """Like :meth:`run`, of one statement."""
        return self.run([(query, params)])[0]

    # The end ------------------------------------------------------------------------------------
    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the store is closed")

    def close(self) -> None:
        """Close every connection, in use or not."""
        with self._lock:
            self._is_closed = True
            sessions = list(self._sessions)
        for session in sessions:
            session.close()

    def abandon(self) -> None:
        """Forget every connection in a forked child: the parent's are not to be touched."""
        self._is_closed = True
        for session in list(self._sessions):
            self._leaked.append(session)

    _leaked: list[Session] = []  # noqa: RUF012 - of the process: closing one would end the parent's
