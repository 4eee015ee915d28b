"""The background thread of a store: syncs on schedule, checkpoints when the log is long.

What fails for want of space is tried again at the next turn; anything else has latched the store,
and the thread ends. It holds the store alive: an unclosed one is closed at exit.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from conduitstore.errors import ClosedError, ConduitStoreError, StoreFullError

if TYPE_CHECKING:
    from .lifecycle import Store

log = logging.getLogger("conduitstore")


class Flusher:
    """Runs until it is stopped or the store is latched."""

    def __init__(self, db: Store, every_ms: int) -> None:
        self._db = db
        self._every_seconds = every_ms / 1000
        self._nudged = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="conduitstore-flusher", daemon=True)

    def start(self) -> None:
        """Begin; whoever is interrupted amid this can still :meth:`stop` it."""
        self._thread.start()

    def nudge(self) -> None:
        """Have it look now rather than at its next turn."""
        self._nudged.set()

    def stop(self) -> None:
        """Return once the thread has ended, or will without having looked at the store."""
        self._stopping = True
        self._nudged.set()
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._nudged.wait(self._every_seconds)
            self._nudged.clear()
            if self._stopping:
                return
            try:
                self._db.keep_up()
            except StoreFullError as error:
                log.warning("%s: %s; will try again", self._db.path, error)
            except ClosedError:  # Somebody whom this turn told of a commit closed the store.
                return
            except (ConduitStoreError, OSError) as error:
                log.error(  # noqa: TRY400 - what failed is raised to the next caller, trace and all
                    "%s: background work ends: %s", self._db.path, error
                )
                return
