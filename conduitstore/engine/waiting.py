"""Coroutines that wait until a commit is durable."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

Waiter = tuple[int, asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class DurableWaiters:
    """Told by whoever syncs, in any thread; waited for on any event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: list[Waiter] = []

    def reached(self, sequence: int) -> None:
        """Wake everybody who waits for this commit or an earlier one."""
        self._wake(lambda wanted: wanted <= sequence, None)

    def fail(self, error: Exception) -> None:
        """Nobody's commit will become durable any more."""
        self._wake(lambda _: True, error)

    def _wake(self, chosen: Callable[[int], bool], error: Exception | None) -> None:
        if not self._waiters:
            return
        with self._lock:
            woken = [waiter for waiter in self._waiters if chosen(waiter[0])]
            self._waiters = [waiter for waiter in self._waiters if not chosen(waiter[0])]
        for _, loop, future in woken:
            with contextlib.suppress(RuntimeError):  # That loop is closed: nobody waits.
                loop.call_soon_threadsafe(_resolve, future, error)

    async def wait(self, sequence: int, is_durable: Callable[[], bool]) -> None:
        """Return once somebody reached ``sequence``."""
        loop = asyncio.get_running_loop()
        waiter = sequence, loop, loop.create_future()
        with self._lock:
            self._waiters.append(waiter)
        try:
            if not is_durable():  # Looked at after registering: no sync falls in between.
                await waiter[2]
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._waiters.remove(waiter)


def _resolve(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
