"""Durability: commits are made without waiting for the disk, then one sync serves all who wait.

- A sync is a tiny commit of its own that the server does wait for, with whatever standbys it is
  told to wait for. It carries every commit before it, so what survives is always a prefix.
- One thread syncs; those that come meanwhile wait for the next sync, which one of them begins.
- The answer names the server's epoch: another one than a commit was made in says that the server
  crashed in between, and that the commit may be lost although a sync succeeded since.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from . import sql
from .connections import Pool


class Durability:
    """How far the store is known to survive power loss."""

    def __init__(
        self, pool: Pool, on_durable: Callable[[int], None], *, waits_for_disk: bool
    ) -> None:
        self._pool = pool
        # Other servers than PostgreSQL itself wait for the disk in each commit.
        self._sync = [(sql.SYNC, ())] if waits_for_disk else []
        self._on_durable = on_durable
        self._changed = threading.Condition()
        self._is_syncing = False
        self._begun_total = 0
        self._ended_total = 0
        self.durable = 0
        self.epoch: int | None = None
        """The server's, as of the last sync."""

    def sync(self) -> int:
        """Return once everything that was committed before the call survives power loss."""
        with self._changed:
            wanted = self._begun_total + 1  # One that runs may have begun before that commit.
            while self._is_syncing and self._ended_total < wanted:
                self._changed.wait()
            if self._ended_total >= wanted:
                return self.durable
            self._is_syncing = True
            self._begun_total += 1
            number = self._begun_total
        newest = None
        try:
            *_, rows, epochs = self._pool.run([*self._sync, (sql.NEWEST, ()), (sql.EPOCH, ())])
            newest = int(rows[0][0])
            self.epoch = epochs[0][0] if epochs else None
        finally:
            with self._changed:
                self._is_syncing = False
                if newest is not None:
                    self.durable = newest
                    self._ended_total = max(self._ended_total, number)
                self._changed.notify_all()
        self._on_durable(newest)
        return newest
