"""Hearing of commits of other processes: a notification says look, a clock says it too.

- The listener waits on a connection of its own for notifications, and looks every ``poll_ms``
  whether there were any or not: one may be lost, and its connection may be cut.
- What it looks at are the rows of commits, so nothing depends on how often it is told.
- A notification is sent by a thread beside the writers, on another connection and after the commit:
  in the transaction itself it would make all of them wait for each other.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg

from conduitstore.errors import ClosedError, ConduitStoreError

from .connections import Pool

log = logging.getLogger("conduitstore")
PAUSE_MS = 10
"""After a failure; twice as long after the next one, up to ``poll_ms``."""


class Listener:
    """Calls ``look`` whenever there may be something new, once started and until stopped."""

    def __init__(
        self, pool: Pool, channel: str | None, poll_ms: int, look: Callable[[], object]
    ) -> None:
        self._pool = pool
        self._channel = channel
        self._poll_ms = poll_ms
        self._look = look
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake: tuple[int, int] | None = None
        self._is_stopping = False
        self.connection: psycopg.Connection[tuple[object, ...]] | None = None

    def start(self) -> None:
        """Begin, where it has not begun."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._is_stopping:
                    self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                    name = "conduitstore-listener"
                    self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        """Return once the thread has ended."""
        with self._lock:
            was_stopping, self._is_stopping = self._is_stopping, True
        if was_stopping or self._thread is None or self._wake is None:
            return
        os.write(self._wake[1], b"x")
        if self._thread is not threading.current_thread():
            self._thread.join()
            for end in self._wake:
                os.close(end)

    def _run(self) -> None:
        failures = 0
        while not self._is_stopping:
            try:
                self._listen()
                self._look()
                failures = 0
                self._wait(self._poll_ms)
            except ClosedError:
                break
            except (ConduitStoreError, psycopg.Error, OSError) as error:
                log.warning("listening for commits failed: %s; will try again", error)
                self._hang_up()
                self._wait(min(self._poll_ms, PAUSE_MS << min(failures, 10)))
                failures += 1
        self._hang_up()

    def _listen(self) -> None:
        """See to it that notifications come in, before anything is looked at."""
        if self._channel is not None and (self.connection is None or self.connection.closed):
            self._hang_up()
            self.connection = self._pool.connect()
            self.connection.execute(b'LISTEN "%s"' % self._channel.encode())

    def _hang_up(self) -> None:
        if self.connection is not None:
            with suppress(Exception):
                self.connection.close()
            self.connection = None

    def _wait(self, at_most_ms: int) -> None:
        """For a notification, the clock or the end."""
        assert self._wake is not None
        poll = select.poll()
        poll.register(self._wake[0], select.POLLIN)
        if self.connection is not None:
            poll.register(self.connection.fileno(), select.POLLIN)
        poll.poll(at_most_ms)
        if self.connection is not None:
            self.connection.pgconn.consume_input()
            while self.connection.pgconn.notifies() is not None:
                pass
