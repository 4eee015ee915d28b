"""What an operator asks of a store on PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from psycopg.types.numeric import Int8

from conduitstore.engine.stream import End
from conduitstore.engine.transfer import export_stream, import_stream, sequence_behind
from conduitstore.errors import InvalidArgumentError, LockedError, UnavailableError
from conduitstore.operations import (
    BackupReport,
    ByteSource,
    Damage,
    OnEntries,
    OnRead,
    Stats,
    TreeStats,
)

from . import sql
from .connections import Row
from .counters import COUNT_STEP, durably
from .transaction import Transaction
from .verify import verify
from .writing import trimming

if TYPE_CHECKING:
    from conduitstore import kv

    from .database import Store


SAMPLE_PAGES = 512
"""Of a table with more, so many are looked at to say how many entries all have."""


class PostgresOperations:
    """See :class:`conduitstore.operations.Operations`."""

    @property
    def _operated(self) -> Store:
        return cast("Store", self)

    def stats(self, *, exact: bool = False) -> Stats:
        """Large trees are sampled; with ``exact`` every entry is looked at, but no value read."""
        db = self._operated
        with db.snapshot() as view:
            instant, numbers = view.instant(), view.catalog.numbers
            if exact := exact or db.opened.dialect != "postgresql":
                instant.take_time()
            parts = {} if exact else _sampled(numbers.values(), instant.rows(sql.TABLE_PAGES))
            counted = [number for number in numbers.values() if number not in parts]
            rows = instant.rows(sql.payload_bytes(counted)) if counted else []
            rows += instant.rows(sql.sampled_bytes(parts)) if parts else []
            of_number = {n: TreeStats(total, size, n in parts) for n, total, size in rows}
            disk_bytes, files = instant.rows(sql.SIZE_ON_DISK)[0]
            return Stats(
                trees={name: of_number[number] for name, number in sorted(numbers.items())},
                sequence=view.sequence,
                durable_sequence=min(view.sequence, db.durable_sequence),
                count=view.current_count(),
                incarnation=db.opened.store_id,
                size_on_disk_bytes=disk_bytes,
                files_total=files,
            )

    def size_on_disk(self) -> int:
        db = self._operated
        db.check()
        return int(db.pool.rows(sql.SIZE_ON_DISK)[0][0])

    def compact(self) -> None:
        """Vacuum every table, drop those of dropped trees, forget commits that are too old."""
        db = self._operated
        db.check()
        db.check_writable()
        self.reap()
        db.pool.run([trimming(db.sequence, db.settings)])
        with db.pool.session() as session:
            session.take_time()
            session.rows(b"SET statement_timeout = 0")
            try:
                for number in db.catalog.numbers.values():
                    session.rows(sql.table(number).vacuum)
            finally:
                session.rows(b"SET statement_timeout = %d" % db.settings.statement_timeout_ms)

    def reap(self) -> None:
        """Drop the tables of dropped trees that no snapshot can show any more."""
        db = self._operated
        with suppress(LockedError, UnavailableError), db.pool.session() as session:
            for (number,) in session.rows(sql.REAPABLE):
                session.run(
                    [
                        (sql.BEGIN, ()),
                        (b"SELECT set_config('lock_timeout', '100ms', true)", ()),
                        (sql.table(number).drop, ()),
                        (sql.DELETE_DROPPED, [Int8(number)]),
                        (sql.COMMIT, ()),
                    ]
                )

    # Moving -------------------------------------------------------------------------------------
    def export(self, *, compression_level: int = 3) -> Iterator[bytes]:
        db = self._operated
        return export_stream(db, self._positions, compression_level)

    def _positions(self) -> tuple[int, int]:
        """The newest count drawn, and the next id of whoever reserves none yet."""
        db = self._operated
        drawn, ids = db.pool.run([(sql.DRAWN, ()), (sql.NEXT_ID, ())])
        return drawn[0][0], db.ids.next_after(ids[0][0])

    def import_(
        self,
        stream: ByteSource | Iterable[bytes],
        *,
        over: bool = False,
        on_entries: OnEntries | None = None,
    ) -> int:
        db = self._operated
        db.check_writable()
        return import_stream(db, stream, self._advance, over=over, on_entries=on_entries)

    def _advance(self, to: End) -> None:
        db = self._operated

        def run(tx: kv.Transaction) -> None:
            assert isinstance(tx, Transaction)
            tx.count = max(to.visible_count, tx.count)
            tx.writing.drawn = max(to.drawn_count, tx.writing.drawn)
            tx.writing.jump(sequence_behind(to, tx.writing.base.sequence))

        db.ceiling.reach(to.drawn_count + COUNT_STEP)
        db.transaction(run)
        durably(db.pool, (sql.RAISE_IDS, [Int8(to.next_id)]))
        db.ids.forget_below(to.next_id)

    def backup(
        self,
        path: str | os.PathLike[str],  # noqa: ARG002 - the protocol's
        *,
        on_read: OnRead | None = None,  # noqa: ARG002
    ) -> BackupReport:
        raise InvalidArgumentError(
            "a store on PostgreSQL has no directory to copy: back the server up with pg_basebackup "
            "or pg_dump, or export the store"
        )

    def verify(
        self, *, bytes_per_second: int | None = None, on_read: OnRead | None = None
    ) -> Iterator[Damage]:
        """Read every entry of every tree, and give what the server cannot read."""
        db = self._operated
        db.check()
        return verify(db, bytes_per_second, on_read)


def _sampled(numbers: Iterable[int], pages: list[Row]) -> dict[int, float]:
    """Which part of each large table to look at, in percent, by the number of its tree."""
    pages_of: dict[str, int] = dict(pages)  # Of dropped trees too, whose tables may go any time.
    return {
        number: 100 * SAMPLE_PAGES / total
        for number in numbers
        if (total := pages_of.get(f"t_{number}", 0)) > SAMPLE_PAGES
    }
