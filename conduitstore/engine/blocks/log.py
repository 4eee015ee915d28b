"""A write-ahead log by itself: records in order, and after a crash a prefix of them.

- Records are numbered from 1 without a gap. A sequence that ``sync`` gave survives power loss, with
  everything before it; of what comes behind, a crash leaves a prefix.
- The files are those of ``docs/format/log.md``. A record is a commit of one write: its value, under
  the key ``record`` of tree 0.
- Opening reads all of it, finds the end and goes on in a new file: nothing is ever appended to what
  an earlier process wrote. Space comes back by :meth:`Log.forget`, file by file.

Any thread may use it; records get their numbers in the order of the calls.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, cast

import msgpack

from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.files import Directory, FileSystem, Os, path_of
from conduitstore.engine.embedded.format import (
    HEADER_BYTES,
    Header,
    decode_header,
    frames,
)
from conduitstore.engine.embedded.logfile import KIND
from conduitstore.engine.embedded.recovery import last_number_of, lock_directory
from conduitstore.engine.embedded.replay import Replay, commit_of
from conduitstore.engine.embedded.wal import WriteAheadLog
from conduitstore.engine.guard import Guard
from conduitstore.engine.subscriber import check_since
from conduitstore.errors import (
    ClosedError,
    CorruptedError,
    LaggedError,
    StoreFullError,
    UnsupportedFormatError,
)
from conduitstore.kv import check_value
from conduitstore.operations import Cut

if TYPE_CHECKING:
    from conduitstore.engine.embedded.forest import Forest

KEY = b"record"


class Log(Guard):
    """See the module's rules. Close it, or use ``with``: a log left open is like a killed one.

    Args:
        path: a directory that holds a log, is empty, or does not exist.
        files: stands in for the operating system in tests.

    Raises:
        LockedError: somebody has it open.
        UnsupportedFormatError: the directory holds something else, or a newer release's log.
        CorruptedError: a record that was on the platter cannot be read; names file and offset.
    """

    cuts: tuple[Cut, ...] = ()
    """Ends of files that crashes left unfinished: nothing in them was ever durable."""

    def __init__(self, path: str | os.PathLike[str], *, files: FileSystem | None = None) -> None:
        files, name = files or Os(), path_of(path)
        self._directory = files.directory(name) or files.make_directory(name)
        _check_log(self._directory)
        self._lock_file = lock_directory(self._directory)
        try:
            super().__init__()
            self._log = self._opened()
        except BaseException:
            self._lock_file.close()
            raise

    def _opened(self) -> WriteAheadLog:
        directory, found = self._directory, self._names()
        last_number = last_number_of(directory.names())
        header: Header | None = None
        while found and (header := _header(directory, found[0])) is None:
            directory.unlink(found.pop(0))  # It was being made: no record was behind it.
        self._store_id = header.store_id if header is not None else os.urandom(16)
        self._promised, newest = self._replayed(header) if header is not None else (0, 0)
        log = WriteAheadLog(
            directory,
            self._store_id,
            number=last_number + 1,
            sequence=self._promised,
            on_durable=lambda _: None,
        )
        # The kernel may have what the platter has not, and a failed sync of an earlier process may
        # have marked it as written. So what nothing promises is written anew.
        for sequence, record in self._walk(found, self._promised, newest):
            log.append(sequence, _commit(sequence, log.durable, record), "interval")
        log.sync_files()  # A first file whose header is lost later was damaged.
        return log

    def _replayed(self, header: Header) -> tuple[int, int]:
        """The newest record that was promised to be on the platter, and the newest there is."""
        position = _Position(header.first_sequence - 1)
        forest = cast("Forest", position)
        replay = Replay(forest, self._directory, self._store_id, header.number)
        replay.advance()
        replay.check()
        self.cuts = tuple(replay.cuts.values())
        return max(header.first_sequence - 1, replay.promised), position.sequence

    # Writing ------------------------------------------------------------------------------------
    def append(self, record: bytes) -> int:
        """Write one record into the kernel; gives its sequence. It is durable after a sync.

        Raises:
            StoreFullError: nothing was written.
        """
        check_value(record)
        with self.writer_lock:
            self.check_writable()
            log = self._log
            sequence = log.appended + 1
            self._promised = log.durable
            with self.latching():
                log.append(sequence, _commit(sequence, log.durable, record), "interval")
            return sequence

    def sync(self) -> int:
        """Put everything appended so far on the platter; gives the durable sequence.

        One sync serves all threads that wait for one.

        Raises:
            PoisonedError: it failed, now or before: close the log and open it again.
        """
        self.check_writable()
        with self.latching():
            self._log.sync(self._log.written)
        return self._log.durable

    def rotate(self) -> None:
        """Go on in a new file, so that the ones before it can be forgotten."""
        with self.writer_lock:
            self.check_writable()
            with self.latching():
                self._log.rotate(self._log.number + 1)

    def forget(self, upto: int) -> int:
        """Delete the files that hold no record behind ``upto``; gives how many.

        The one that is written to stays: :meth:`rotate` first.
        """
        check_since(upto)
        with self.writer_lock:
            self.check_writable()
            found = self._names()
            gone = found[: self._begin(found, min(upto, self.sequence))]
            for name in gone:  # From the oldest on: what a crash leaves has no gap.
                self._directory.unlink(name)
            return len(gone)

    # Reading ------------------------------------------------------------------------------------
    @property
    def sequence(self) -> int:
        """Of the newest record; 0: there was none."""
        return self._log.written

    @property
    def durable_sequence(self) -> int:
        """Every record up to this one survives power loss."""
        return self._log.durable

    @property
    def file_bytes(self) -> int:
        """How much is in the file that is written to."""
        return self._log.file_bytes

    def records(self, since: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Sequence and bytes of every record behind ``since`` that there is now, in order.

        Args:
            since: None: from the oldest that was not forgotten.

        Raises:
            LaggedError: records behind ``since`` were forgotten.
            CorruptedError: one cannot be read; names file and offset.
        """
        self.check_handle()
        check_since(since)
        with self.writer_lock:
            found, upto = self._names(), self.sequence
        oldest = self._first(found[0])
        if since is None:
            since = (oldest or 1) - 1
        elif oldest is None or since < oldest - 1:
            raise LaggedError(None, since)
        return self._walk(found[self._begin(found, since) :], since, upto)

    def _walk(self, found: list[str], since: int, upto: int) -> Iterator[tuple[int, bytes]]:
        position = (self._first(found[0]) or 1) - 1 if found else upto
        damage: tuple[str, int] | None = None
        for name in found:
            self.check_handle()
            data = _read(self._directory, name)
            end = HEADER_BYTES
            for frame in frames(data, self._seed(name, data, position)):
                sequence, _, _, ops = commit_of(name, frame.offset, frame)
                if sequence <= position:
                    end = frame.end  # Written anew by an open, or a promise.
                    continue
                if sequence != position + 1 or sequence > upto:
                    break  # Never durable, or newer than this reading.
                position, end, damage = sequence, frame.end, None
                if sequence > since:
                    yield sequence, ops[2]
            if data[end:].strip(b"\0"):  # Zeros are set aside.
                damage = damage or (name, end)
        if position < upto:
            name, end = damage or (found[-1], HEADER_BYTES)
            raise CorruptedError(name, end, f"the records behind {position} cannot be read")

    def _names(self) -> list[str]:
        return [name for _, name in names.of_kind(names.LOG, self._directory.names())]

    def _first(self, name: str) -> int | None:
        """The first sequence of a file; None where its header did not reach the platter."""
        header = _header(self._directory, name, is_first=False)
        return header.first_sequence if header is not None else None

    def _begin(self, found: list[str], since: int) -> int:
        """Which file the record behind ``since`` is in, or will be."""
        firsts = [self._first(name) for name in found]
        return max(
            (at for at, n in enumerate(firsts) if n is not None and n <= since + 1), default=0
        )

    def _seed(self, name: str, data: bytes, position: int) -> int:
        """The seed of a file's checksums; what a lost header must have said is known."""
        try:
            return decode_header(data, name, KIND).seed
        except CorruptedError:
            parsed = names.parse(name)
            assert parsed is not None
            return Header(KIND, self._store_id, parsed[1], position + 1).seed

    # The end --------------------------------------------------------------------------------------
    def close(self) -> None:
        """Sync, and let go of the directory. One that failed before only lets go."""
        if self.is_forked:
            return
        with self.writer_lock:
            if self._no_reads is not None:
                return
            try:
                if not self.is_latched:
                    with self.latching():
                        self._log.sync(self._log.written)
                    self._promise()
            finally:
                self.refuse(_closed)
                self._log.close()
                self._lock_file.close()

    def _promise(self) -> None:
        """Write down what is durable by now, so that no open need write it anew."""
        sequence = self._log.durable
        if sequence > self._promised:
            with suppress(OSError, StoreFullError):  # It may be missing.
                self._log.append(sequence, msgpack.packb([sequence, sequence, 0]), "interval")

    def on_fork(self) -> None:
        self._lock_file.close()  # The parent alone decides for how long it is locked.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _commit(sequence: int, durable: int, record: bytes) -> bytes:
    packed: bytes = msgpack.packb([sequence, durable, 0, 0, KEY, record])
    return packed


class _Position:
    """What a replay fills, where there is nothing to fill."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence

    def prepare(self, ops: list[Any]) -> list[Any]:
        """Refuse a commit that is no record."""
        tree_id, key, record = ops
        if (tree_id, key) != (0, KEY) or record is None:
            raise ValueError("not a record")
        return []

    def apply(self, _ops: list[Any], _places: list[Any], _count: int, sequence: int) -> None:
        self.sequence = sequence


def _check_log(directory: Directory) -> None:
    """Refuse a directory that holds anything else, a whole store among it."""
    others = [
        name
        for name in directory.names()
        if name != names.LOCK and (names.parse(name) or ("", 0))[0] != names.LOG
    ]
    if others:
        raise UnsupportedFormatError(
            f"{directory.path} is not a log and not empty ({', '.join(others[:3])}): "
            "name another directory"
        )


def _read(directory: Directory, name: str, size: int | None = None) -> bytes:
    file = directory.open(name)
    data = file.read_at(0, file.size() if size is None else size)
    file.close()
    return data


def _header(directory: Directory, name: str, *, is_first: bool = True) -> Header | None:
    """A file's header; None where it was never durable, which that of a first file is at once."""
    data = _read(directory, name, HEADER_BYTES + 1)
    try:
        return decode_header(data, name, KIND)
    except CorruptedError:
        if is_first and len(data) > HEADER_BYTES:
            raise
        return None


def _closed() -> Exception:
    return ClosedError("the log is closed")
