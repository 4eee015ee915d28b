"""Events to subscribers, in the order of commits, whoever made those.

- A commit of this process is told by the thread that made it, from what it has in hand; one of
  another process is read from its row, before a transaction of this process begins or when the
  listener hears of it.
- ``position`` is the newest commit told. Each commit names the one before it, so what is missing is
  noticed: forgotten for its age, or lost in a crash of the server. Then subscribers lag.
- Nothing is read while nobody watches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg.types.numeric import Int8

from conduitstore.engine.subscriber import EVER, Subscriber, Subscribers, check_since
from conduitstore.errors import LaggedError

from . import sql
from .connections import Pool
from .events import Events, decode

ALL = (1 << 63) - 1


class Delivery:
    """The subscribers of one store, and how far they have been told."""

    def __init__(
        self, pool: Pool, durable: Callable[[], int], on_watched: Callable[[], object]
    ) -> None:
        self._pool = pool
        self._durable = durable
        self._on_watched = on_watched
        self.lock = threading.RLock()
        """Held from before a commit of this process until it is told, and by whoever tells."""
        self.subscribers = Subscribers()
        self.position = 0
        self._here = threading.local()

    @property
    def is_telling(self) -> bool:
        """Whether this thread tells subscribers, and may be in a callback of theirs."""
        return getattr(self._here, "is_telling", False)

    @property
    def is_watched(self) -> bool:
        """Whether anybody is to be told."""
        self.subscribers.forget_gone()
        return bool(self.subscribers.watched)

    @property
    def waits_for_durable(self) -> bool:
        """Whether anybody is to be told of commits only once those are durable."""
        watching = [ref() for refs in tuple(self.subscribers.watched.values()) for ref in refs]
        return any(one is not None and one.only_durable for one in watching)

    def watch(self, tree: str, subscriber: Subscriber, since: int | None) -> None:
        """Register a subscriber; with ``since``, tell it first what happened behind that."""
        check_since(since)
        with self.lock:
            newest = self._pool.rows(sql.NEWEST)[0][0]
            if self.is_watched:
                self.catch_up(newest)
            else:
                self.position = newest
            newest = self.position
            subscriber.sequence = newest if since is None else since
            if since is not None:
                self._recall(tree, subscriber, since, newest)
            subscriber.reached(self._durable() if subscriber.only_durable else EVER)
            self.subscribers.add(tree, subscriber)
        self._on_watched()

    def _recall(self, tree: str, subscriber: Subscriber, since: int, upto: int) -> None:
        told: list[tuple[int, Events]] = []
        for sequence, previous, events in self._commits(since, upto):
            if previous != (told[-1][0] if told else since) or events is None:
                raise LaggedError(None, since)
            told.append((sequence, events))
        if not told and not self._pool.rows(sql.HAS_COMMIT, [Int8(since)])[0][0]:
            raise LaggedError(None, since)
        # A tree has the history since the last one of its name was dropped.
        begin = max((sequence for sequence, events in told if events.dropped == tree), default=0)
        for sequence, events in told:
            if sequence > begin:
                subscriber.remember(events.by_tree.get(tree, ()), sequence)

    def _commits(self, after: int, upto: int) -> Iterator[tuple[int, int, Events | None]]:
        """The commits in (after, upto], a page at a time; None where it had too many events."""
        while after < upto:
            page = self._pool.rows(sql.COMMITS_AFTER, [Int8(after), Int8(upto)])
            for sequence, previous, payload in page:
                yield sequence, previous, None if payload is None else decode(payload)
            if not page:
                return
            after = page[-1][0]

    def catch_up(self, upto: int = ALL) -> None:
        """Tell of every commit up to this one that was not told yet."""
        with self.lock:
            if not self.is_watched:
                return
            for sequence, previous, events in self._commits(self.position, upto):
                if previous != self.position or events is None:
                    self._lag(sequence)
                else:
                    self._tell(sequence, events)

    def committed(self, previous: int, sequence: int, events: Events) -> None:
        """Tell of a commit of this process, made on top of ``previous``."""
        if not self.is_watched:
            return
        with self.lock:
            if self.position == previous:
                self._tell(sequence, events)
            else:  # Told already, or something came before that was not.
                self.catch_up(sequence)

    def _tell(self, sequence: int, events: Events) -> None:
        with self._telling():
            for tree, happened in events.by_tree.items():
                self.subscribers.publish(tree, happened, sequence)
        if events.dropped is not None:
            self.subscribers.close(events.dropped)
        self.position = sequence

    def _lag(self, sequence: int) -> None:
        with self._telling():
            self.subscribers.lose(sequence)
        self.position = sequence

    def reached(self, sequence: int) -> None:
        """Tell those who wait for it what is durable by now.

        What a crash of the server took may still be queued, with sequences below those of the
        commits after the crash: it is found and forgotten first.
        """
        self.catch_up(sequence)
        with self._telling():
            self.subscribers.reached(sequence)

    def look(self) -> None:
        """Tell of all there is, also of what could not be told when it became durable."""
        self.catch_up()
        self.reached(self._durable())

    @contextmanager
    def _telling(self) -> Iterator[None]:
        self._here.is_telling = True
        try:
            yield
        finally:
            self._here.is_telling = False
