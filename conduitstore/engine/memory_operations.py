"""The memory engine's answers to an operator: there are no files, so most of them are short."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

from conduitstore.errors import InvalidArgumentError
from conduitstore.operations import (
    BackupReport,
    ByteSource,
    Damage,
    OnEntries,
    OnRead,
    RecoveryReport,
    Stats,
    TreeStats,
)

from .stream import End
from .transfer import export_stream, import_stream, sequence_behind

if TYPE_CHECKING:
    from .memory import MemoryDatabase


class MemoryOperations:
    """See :class:`conduitstore.operations.Operations`."""

    recovery_report = RecoveryReport()

    @property
    def _db(self) -> MemoryDatabase:
        return cast("MemoryDatabase", self)

    def stats(self, *, exact: bool = False) -> Stats:  # noqa: ARG002 - it always is
        db = self._db
        with db.snapshot() as view:
            trees = {name: _tree_stats(view.open_tree(name)) for name in view.tree_names()}
            return Stats(
                trees=trees,
                sequence=view.sequence,
                durable_sequence=view.sequence,
                count=view.current_count(),
                dirty_bytes=sum(tree.payload_bytes for tree in trees.values()),
            )

    def size_on_disk(self) -> int:
        self._db.check()
        return 0

    def export(self, *, compression_level: int = 3) -> Iterator[bytes]:
        db = self._db
        return export_stream(db, lambda: (db.drawn_count, db.next_id), compression_level)

    def import_(
        self,
        stream: ByteSource | Iterable[bytes],
        *,
        over: bool = False,
        on_entries: OnEntries | None = None,
    ) -> int:
        return import_stream(self._db, stream, self._advance, over=over, on_entries=on_entries)

    def _advance(self, to: End) -> None:
        db = self._db
        with db.writer, db.lock:
            db.check()
            db.sequence = sequence_behind(to, db.sequence)
            db.visible_count = max(to.visible_count, db.visible_count)
            db.drawn_count = max(to.drawn_count, db.drawn_count)
            db.next_id = max(to.next_id, db.next_id)

    def backup(
        self,
        path: str | os.PathLike[str],  # noqa: ARG002 - the protocol's
        *,
        on_read: OnRead | None = None,  # noqa: ARG002
    ) -> BackupReport:
        raise InvalidArgumentError("a store in memory has no files to back up: export it")

    def verify(
        self,
        *,
        bytes_per_second: int | None = None,  # noqa: ARG002 - the protocol's
        on_read: OnRead | None = None,  # noqa: ARG002
    ) -> Iterator[Damage]:
        self._db.check()
        return iter(())


def _tree_stats(tree: Iterable[tuple[bytes, bytes]]) -> TreeStats:
    sizes = [len(key) + len(value) for key, value in tree]
    return TreeStats(len(sizes), sum(sizes))
