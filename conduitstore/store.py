"""The way in: opens an engine, brings the schema up to date and hands out the parts.

The parts look the same in three places: on the store (each operation is a commit of its own), on
the view of a snapshot (reads of one instant) and inside a transaction (many operations, one
commit). :class:`Parts` is what the three share.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Self, TypeVar

from conduitstore import engine
from conduitstore.changes import Changes
from conduitstore.engine.transfer import IMPORT_MARK
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Database, Durability, Snapshot
from conduitstore.ladder import load_migrations
from conduitstore.migrate import Applied, OnProgress, check_schema, check_small, pending, reading
from conduitstore.migrate import migrate as migrate_
from conduitstore.parts.beside import Beside, FileStore
from conduitstore.parts.holder import Parts
from conduitstore.types import RoomId, ShortRoomId, UserId
from conduitstore.typing_state import Typing
from conduitstore.upkeep.batches import tried
from conduitstore.upkeep.collect import Collected
from conduitstore.upkeep.collect import OnProgress as OnCollected
from conduitstore.upkeep.collect import gc as gc_
from conduitstore.upkeep.options import GcOptions

T = TypeVar("T")


class View(Parts):
    """All parts at one instant, read-only. Close it, or use ``with``."""

    def __init__(self, snapshot: Snapshot, beside: Beside | None = None) -> None:
        super().__init__(snapshot, beside)
        self._snapshot = snapshot

    @property
    def sequence(self) -> int:
        """The last commit it shows."""
        return self._snapshot.sequence

    def close(self) -> None:
        """Let go of the instant."""
        self._snapshot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Store(Parts):
    """An open store; any thread may use it.

    Attributes:
        db: the engine below, with every tree as bytes.
        changes: for long polls.
        typing: who is typing, in memory.
    """

    def __init__(self, db: Database, files: FileStore | None = None) -> None:
        super().__init__(db, Beside(files))
        self.db = db
        self.changes = Changes(db, partial(_rooms_joined, db))
        self.typing = Typing(super().transaction, self.changes.touch)

    def snapshot(self) -> View:
        """Every part at this instant, for reads that belong together. O(1)."""
        return View(self.db.snapshot(), self.beside)

    async def run(self, fn: Callable[[Parts], T], *, durability: Durability | None = None) -> T:
        """:meth:`transaction` in a worker thread, for callers on an event loop."""
        return await asyncio.to_thread(self.transaction, fn, durability=durability)

    async def read(self, fn: Callable[[View], T]) -> T:
        """Run ``fn(view)`` on a snapshot in a worker thread."""

        def on_snapshot() -> T:
            with self.snapshot() as view:
                return fn(view)

        return await asyncio.to_thread(on_snapshot)

    def gc(
        self,
        options: GcOptions | None = None,
        *,
        now_ms: int | None = None,
        dry_run: bool = False,
        on_progress: OnCollected | None = None,
    ) -> list[Collected]:
        """Remove what is of no use any more from every tree that would otherwise grow for ever.

        To be called daily or so, beside whatever else goes on; on an event loop, in a thread. The
        bytes of dropped media are deleted, where the store was opened with files. Arguments,
        answer, cost and errors are those of :func:`conduitstore.upkeep.gc`.
        """
        collected = gc_(self.db, options, now_ms=now_ms, dry_run=dry_run, on_progress=on_progress)
        if not dry_run and self.beside.has_files:
            self.media.contents.delete_files()
        return collected

    def flush(self) -> int:
        """Put every commit so far on the platter; gives the durable sequence."""
        return self.db.flush()

    def close(self) -> None:
        """Close the engine and end the long polls; again is fine."""
        try:
            self.db.close()
        finally:
            self.changes.close()  # Last: until the engine is closed, new ones could begin.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _rooms_joined(db: Database, user: UserId) -> tuple[list[RoomId], list[ShortRoomId | None]]:
    with View(db.snapshot()) as view:
        rooms = view.rooms.members.rooms_joined(user)
        return rooms, view.rooms.short.room_many(rooms)


def _check_whole(db: Database) -> None:
    if IMPORT_MARK in db.tree_names():
        raise InvalidArgumentError(
            "the store holds a part of an import that did not end: import the stream again"
        )


def open(
    path: str | os.PathLike[str],
    *,
    media_files: FileStore | None = None,
    migrate: bool = False,
    **settings: Any,
) -> Store:
    """Open the store in directory ``path``, creating it where there is none.

    A store of an earlier schema is brought up to date, unless that takes a step that rewrites rows
    in many commits: such a step needs ``migrate=True``, or :func:`upgrade`, which can take a backup
    first.

    Args:
        path: a directory, or ``":memory:"``.
        media_files: where the bytes of media are, see :mod:`conduitstore.files`; a store
            opened without keeps what is known of media, and refuses what needs their bytes.
        migrate: take the steps that rewrite rows too. A process may die in one: the next goes on.
        settings: those of the engine, see :func:`conduitstore.engine.open`. With
            ``read_only=True`` the schema is checked and nothing is written: a store that misses a
            migration has to be opened for writing once.

    Raises:
        UnsupportedFormatError: written by a newer version or another project, or of a schema that
            takes an :func:`upgrade`; not touched.
        LockedError: another holder has it open for writing.
        InvalidArgumentError: an import into it was cut short; a wrong setting.
    """
    db = engine.open(path, **settings)
    try:
        _check_whole(db)
        store = Store(db, media_files)
        steps = load_migrations()
        if settings.get("read_only"):
            check_schema(db, store.globals, steps)
        else:
            if not migrate:
                check_small(db, store.globals, steps)
            migrate_(db, store.globals, steps)
    except BaseException:
        db.close()
        raise
    return store


def upgrade(
    path: str | os.PathLike[str],
    *,
    backup: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
    **settings: Any,
) -> list[Applied]:
    """Bring the store in directory ``path`` to this version's schema, whatever it takes.

    A process may die at any point: the next call goes on where the last commit was.

    Args:
        path: a directory with a store.
        backup: where the store is copied before the first write, see ``db.backup``: not if there
            is nothing to do, or a step was begun that is to be finished.
        dry_run: do it all in one transaction and take that back. Memory: what would be written.
        on_progress: is told the step and how many rows it has done, after each commit.
        settings: those of the engine.

    Returns:
        What each step did, or would do.

    Raises:
        UnsupportedFormatError: written by a newer version or another project; not touched.
    """
    with engine.open(path, **settings) as db:
        _check_whole(db)
        versions, steps = Parts(db).globals, load_migrations()
        missing = reading(db, lambda view: pending(view, versions, steps))
        if dry_run:
            return tried(db, lambda tx: migrate_(tx, versions.bound_to(tx), steps, on_progress))
        if missing and backup is not None and versions.migration_cursor() is None:
            db.backup(backup)
        return migrate_(db, versions, steps, on_progress)
