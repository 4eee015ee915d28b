"""Subscribers: a bounded queue of events per watcher, shared by every engine.

- Events are queued by the committing thread, whole commits at a time, in commit order; nothing a
  reader does can hold that thread up.
- When a queue would overflow, what it holds is dropped and counted. The next read raises
  ``LaggedError`` once; later commits are then delivered again.
- The registry holds subscribers weakly: one that nobody keeps is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Self

from conduitstore.errors import InvalidArgumentError, LaggedError
from conduitstore.kv import Event

log = logging.getLogger("conduitstore")


class Subscriber:
    """See :class:`conduitstore.kv.Subscriber`. Any thread or event loop may read."""

    def __init__(self, prefix: bytes, capacity: int) -> None:
        if type(prefix) is not bytes:
            raise InvalidArgumentError("a watched prefix must be bytes; b'' stands for everything")
        if type(capacity) is not int or capacity < 1:
            raise InvalidArgumentError("a subscriber's capacity must be an int of 1 or more")
        self.prefix = prefix
        self._capacity = capacity
        self._events: deque[Event] = deque()
        self._missed_total = 0
        self._closed = False
        self._changed = threading.Condition(threading.Lock())
        self._wakes: list[Callable[[], None]] = []

    # The committing thread's side -----------------------------------------------------------
    def push(self, events: Iterable[Event]) -> None:
        """Queue the events of one commit that lie under the prefix, all of them or none."""
        prefix = self.prefix
        wanted = [event for event in events if event.key.startswith(prefix)]
        if not wanted:
            return
        with self._changed:
            if self._closed:
                return
            if len(self._events) + len(wanted) > self._capacity:
                self._missed_total += len(self._events) + len(wanted)
                self._events.clear()
            else:
                self._events.extend(wanted)
            self._wake()

    def _wake(self) -> None:
        """Called with the lock held."""
        self._changed.notify_all()
        for wake in self._wakes:
            try:
                wake()
            except Exception:  # The commit is done: a reader's mistake must not reach its writer.
                log.exception("a subscriber's on_ready callback failed")

    # The reader's side ----------------------------------------------------------------------
    def on_ready(self, wake: Callable[[], None]) -> None:
        with self._changed:
            self._wakes.append(wake)

    def _take(self) -> Event | None:
        """Called with the lock held."""
        if self._missed_total:
            missed, self._missed_total = self._missed_total, 0
            raise LaggedError(missed)
        return self._events.popleft() if self._events else None

    def _ready(self) -> bool:
        return bool(self._events or self._missed_total or self._closed)

    def next(self, timeout: float | None = None) -> Event | None:
        with self._changed:
            self._changed.wait_for(self._ready, timeout)
            return self._take()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._wake()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        loop = asyncio.get_running_loop()
        while True:
            arrived = asyncio.Event()

            def wake(arrived: asyncio.Event = arrived) -> None:
                with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits.
                    loop.call_soon_threadsafe(arrived.set)

            with self._changed:
                event = self._take()
                if event is not None:
                    return event
                if self._closed:
                    raise StopAsyncIteration
                self._wakes.append(wake)
            try:
                await arrived.wait()
            finally:
                with self._changed:
                    self._wakes.remove(wake)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Subscribers:
    """The subscribers of one store, by tree. ``watched`` is read without the lock: a plain dict."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.watched: dict[str, tuple[weakref.ref[Subscriber], ...]] = {}

    def watch(self, tree: str, prefix: bytes, capacity: int) -> Subscriber:
        """Register before returning: no later commit is missed."""
        subscriber = Subscriber(prefix, capacity)
        with self._lock:
            alive = tuple(ref for ref in self.watched.get(tree, ()) if ref() is not None)
            self.watched[tree] = (*alive, weakref.ref(subscriber))
        return subscriber

    def publish(self, tree: str, events: list[Event]) -> None:
        """Hand one commit's events of one tree to whoever watches it."""
        for ref in self.watched.get(tree, ()):
            subscriber = ref()
            if subscriber is not None:
                subscriber.push(events)

    def close(self, tree: str | None = None) -> None:
        """End the subscriptions of one tree, or of all."""
        with self._lock:
            trees = [tree] if tree is not None else list(self.watched)
            gone = [ref for name in trees for ref in self.watched.pop(name, ())]
        for ref in gone:
            subscriber = ref()
            if subscriber is not None:
                subscriber.close()
