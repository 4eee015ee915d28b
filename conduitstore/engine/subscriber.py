"""Subscribers: a bounded queue of events per watcher, shared by every engine.

- Events are queued by the committing thread, whole commits at a time, in commit order; nothing a
  reader does can hold that thread up.
- When a queue would overflow, what it holds is dropped and counted. The next read raises
  ``LaggedError`` once; later commits are then delivered again.
- Events from before (``since``) come first and are not bounded: the log they come from is.
- Those who want only durable commits have them queued at once and told when they are.
- The registry holds subscribers weakly. Those that are closed, or that nobody keeps, say so in a
  list without taking a lock, since finalizers may run anywhere; the next commit forgets them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Self

from conduitstore.errors import InvalidArgumentError, LaggedError, shown
from conduitstore.kv import Event

log = logging.getLogger("conduitstore")
EVER = sys.maxsize
_Queued = tuple[Event, int, bool]
"""An event, the sequence of its commit, and whether it is the last one of that."""


def check_since(since: int | None) -> None:
    """A sequence to go on from, or None."""
    if since is not None and (type(since) is not int or since < 0):
        raise InvalidArgumentError(
            f"since must be a sequence of 0 or more, or None, not {shown(since)}"
        )


class Subscriber:
    """See :class:`conduitstore.kv.Subscriber`. Any thread or event loop may read."""

    def __init__(self, prefix: bytes, capacity: int, *, only_durable: bool = False) -> None:
        if type(prefix) is not bytes:
            raise InvalidArgumentError("a watched prefix must be bytes; b'' stands for everything")
        if type(capacity) is not int or capacity < 1:
            raise InvalidArgumentError("a subscriber's capacity must be an int of 1 or more")
        self.prefix = prefix
        self.only_durable = only_durable
        self.sequence = 0
        self._capacity = capacity
        self._events: deque[_Queued] = deque()
        self._past: deque[_Queued] = deque()  # from before it was made: comes first, unbounded
        self._upto = 0 if only_durable else EVER  # the newest commit that may be told
        self._missed_total = 0
        self._missed_upto = 0
        self._closed = False
        self._on_closed: Callable[[Subscriber], object] | None = None
        self._changed = threading.Condition(threading.Lock())
        self._wakes: list[Callable[[], None]] = []

    # The committing thread's side -----------------------------------------------------------
    def push(self, events: Iterable[Event], sequence: int = 0) -> None:
        """Queue the events of one commit that lie under the prefix, all of them or none."""
        wanted = self._wanted(events, sequence)
        if not wanted:
            return
        with self._changed:
            if self._closed:
                return
            if len(self._events) + len(wanted) > self._capacity:
                self._missed_total += len(self._events) + len(wanted)
                self._missed_upto = sequence
                self._events.clear()
            else:
                self._events.extend(wanted)
            tells = sequence <= self._upto
            if tells:
                self._changed.notify_all()
        if tells:
            self._wake()

    def remember(self, events: Iterable[Event], sequence: int) -> None:
        """Queue the events of a commit from before; for whoever makes the subscriber."""
        with self._changed:
            self._past.extend(self._wanted(events, sequence))

    def lose(self, sequence: int) -> None:
        """What happened up to this commit cannot be told any more: what is queued goes with it."""
        with self._changed:
            if self._closed:
                return
            self._missed_total += max(1, len(self._events))
            self._missed_upto = sequence
            self._events.clear()
            self._changed.notify_all()
        self._wake()

    def reached(self, sequence: int) -> None:
        """Every commit up to this one is durable."""
        with self._changed:
            if sequence <= self._upto:
                return
            self._upto = sequence
            if not self._ready():
                return
            self._changed.notify_all()
        self._wake()

    def _wanted(self, events: Iterable[Event], sequence: int) -> list[_Queued]:
        prefix = self.prefix
        wanted = [(event, sequence, False) for event in events if event.key.startswith(prefix)]
        if wanted:
            wanted[-1] = wanted[-1][0], sequence, True
        return wanted

    def _wake(self) -> None:
        """Called without the lock: a callback may look at the subscriber."""
        for wake in tuple(self._wakes):
            try:
                wake()
            except Exception:  # The commit is done: a reader's mistake must not reach its writer.
                log.exception("a subscriber's on_ready callback failed")

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be queued, and nothing queued waits to be told."""
        return self._closed and not self._events and not self._past

    # The reader's side ----------------------------------------------------------------------
    def on_ready(self, wake: Callable[[], None]) -> None:
        with self._changed:
            self._wakes.append(wake)

    def _tellable(self) -> deque[_Queued] | None:
        """The queue whose first event may be told now."""
        queue = self._past or (None if self._missed_total else self._events)
        return queue if queue and queue[0][1] <= self._upto else None

    def _take(self) -> Event | None:
        """Called with the lock held."""
        queue = self._tellable()
        if queue is not None:
            event, sequence, is_last = queue.popleft()
            self.sequence = max(self.sequence, sequence if is_last else sequence - 1)
            return event
        if self._missed_total and not self._past:
            missed, self._missed_total = self._missed_total, 0
            self.sequence = max(self.sequence, self._missed_upto)
            raise LaggedError(missed)
        return None

    def _ready(self) -> bool:
        lags = self._missed_total > 0 and not self._past
        return self._tellable() is not None or lags or self._closed

    def next(self, timeout: float | None = None) -> Event | None:
        with self._changed:
            self._changed.wait_for(self._ready, timeout)
            return self._take()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._on_closed is not None:
            self._on_closed(self)
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
        self._gone: deque[object] = deque()  # not who, only that somebody is
        self.watched: dict[str, tuple[weakref.ref[Subscriber], ...]] = {}

    def add(self, tree: str, subscriber: Subscriber) -> None:
        """Register: no later commit is missed."""
        subscriber._on_closed = self._gone.append  # noqa: SLF001 - the two are one mechanism
        with self._lock:
            others = self.watched.get(tree, ())
            self.watched[tree] = (*others, weakref.ref(subscriber, self._gone.append))

    def forget_gone(self) -> None:
        """Forget who reads no more: when nobody is left, commits need not be told of."""
        if not self._gone:
            return
        with self._lock:
            self._gone.clear()
            alive = {
                tree: tuple(ref for ref in refs if _reads_on(ref()))
                for tree, refs in self.watched.items()
            }
            self.watched = {tree: refs for tree, refs in alive.items() if refs}

    def publish(self, tree: str, events: list[Event], sequence: int) -> None:
        """Hand one commit's events of one tree to whoever watches it."""
        self.forget_gone()
        for ref in self.watched.get(tree, ()):
            subscriber = ref()
            if subscriber is not None:
                subscriber.push(events, sequence)

    def reached(self, sequence: int) -> None:
        """Tell those who wait for it what is durable by now."""
        for ref in [ref for refs in tuple(self.watched.values()) for ref in refs]:
            subscriber = ref()
            if subscriber is not None and subscriber.only_durable:
                subscriber.reached(sequence)

    def lose(self, sequence: int) -> None:
        """Nobody can be told what happened up to this commit."""
        for ref in [ref for refs in tuple(self.watched.values()) for ref in refs]:
            subscriber = ref()
            if subscriber is not None:
                subscriber.lose(sequence)

    def close(self, tree: str | None = None) -> None:
        """End the subscriptions of one tree, or of all."""
        with self._lock:
            trees = [tree] if tree is not None else list(self.watched)
            gone = [ref for name in trees for ref in self.watched.pop(name, ())]
        for ref in gone:
            subscriber = ref()
            if subscriber is not None:
                subscriber.close()


def _reads_on(subscriber: Subscriber | None) -> bool:
    return subscriber is not None and not subscriber.is_over
