"""An open store's answers to an operator; the work is done next door."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

from conduitstore.engine.stream import End
from conduitstore.engine.transfer import export_stream, import_stream, sequence_behind
from conduitstore.operations import (
    BackupReport,
    ByteSource,
    Damage,
    OnEntries,
    OnRead,
    RecoveryReport,
    Stats,
)

from . import capture, stats
from .backup import backup
from .files import Directory
from .manifest import Generation
from .pieces import ignore, paced
from .verify import verify

if TYPE_CHECKING:
    from .lifecycle import Store


class StoreOperations:
    """See :class:`conduitstore.operations.Operations`."""

    recovery_report = RecoveryReport()
    directory: Directory
    generation: Generation  # the newest that is published, without its leaves

    @property
    def _store(self) -> Store:
        return cast("Store", self)

    def stats(self, *, exact: bool = False) -> Stats:  # noqa: ARG002 - it always is
        return stats.stats(self._store)

    def size_on_disk(self) -> int:
        self._store.check_handle()
        return sum(stats.file_sizes(self.directory).values())

    def export(self, *, compression_level: int = 3) -> Iterator[bytes]:
        return export_stream(self._store, self.positions, compression_level)

    def positions(self) -> tuple[int, int]:
        """The newest count drawn, and the next id."""
        counters = self._store.counters
        return counters.drawn, counters.ids

    @property
    def log_bytes(self) -> int:
        """Of the log file that commits go to now."""
        return self._store.log.size_bytes

    @property
    def space(self) -> tuple[int, int]:
        """Bytes of files that the newest checkpoint needs, and that the last two wrote."""
        keeper = self._store.checkpointer
        return keeper.live_bytes, keeper.written_bytes

    def import_(
        self,
        stream: ByteSource | Iterable[bytes],
        *,
        over: bool = False,
        on_entries: OnEntries | None = None,
    ) -> int:
        self._store.check_handle()
        self._store.check_writable()
        return import_stream(self._store, stream, self._advance, over=over, on_entries=on_entries)

    def backup(
        self, path: str | os.PathLike[str], *, on_read: OnRead | None = None
    ) -> BackupReport:
        return backup(self._store, os.fsdecode(path), on_read or ignore)

    def verify(
        self, *, bytes_per_second: int | None = None, on_read: OnRead | None = None
    ) -> Iterator[Damage]:
        db = self._store
        on_read = on_read or ignore
        if bytes_per_second is not None:
            on_read = paced(on_read, bytes_per_second)
        return verify(capture.subject(db, on_read))

    def _advance(self, to: End) -> None:
        """Go on from the end of an imported store's counts and ids, in a history of its own."""
        db = self._store
        with db.checkpoint_lock, db.writer_lock:
            db.check_writable()
            db.counters.advance(to.drawn_count, to.next_id)
            db.leap(sequence_behind(to, db.forest.sequence), max(to.visible_count, db.forest.count))
