"""A thread that does one thing again and again, or when it is nudged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from conduitstore.errors import ClosedError, ConduitStoreError

log = logging.getLogger("conduitstore")


class Background:
    """Runs from :meth:`start` until it is stopped; what fails is tried again at the next turn."""

    def __init__(self, name: str, job: Callable[[], object], every_ms: int | None) -> None:
        self._name = name
        self._job = job
        self._every_s = None if every_ms is None else every_ms / 1000
        self._nudged = threading.Event()
        self._lock = threading.Lock()
        self._is_stopping = False
        self._is_asked = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, where it has not begun."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._is_stopping:
                    self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                    self._thread.start()

    def nudge(self) -> None:
        """Have it look now rather than at its next turn. Many nudges may be one turn."""
        self._is_asked = True
        self.start()
        self._nudged.set()

    def stop(self) -> None:
        """Return once the thread has ended; what it was nudged for is done."""
        with self._lock:
            self._is_stopping = True
        self._nudged.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            if not self._is_stopping:
                self._nudged.wait(self._every_s)
            self._nudged.clear()
            was_asked, self._is_asked = self._is_asked, False
            if self._is_stopping and not was_asked:
                return
            try:
                self._job()
            except ClosedError:
                return
            except ConduitStoreError as error:
                log.warning("%s: %s; will try again", self._name, error)
