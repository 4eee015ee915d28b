"""Backups: a copy that is itself a store, made while the original is written to.

1. Refuse a target that holds anything but an earlier backup of this store; take its lock.
2. Checkpoint, so that everything committed lies in segments, and hold their files open.
3. Copy each segment that the target does not have, or not whole: under a name that ends in
   ``.new``, read back, synced, renamed. Sync the directory. Every leaf and every blob that the
   manifest leads to was among what was read back.
4. Publish a manifest: write, sync, rename, sync the directory. Now the target is the new backup.
5. Unlink what only the earlier one needed.

A crash before 4 is complete leaves the earlier backup; the next backup replaces what is left over.
Nothing is linked: damage to one copy is no damage to the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conduitstore.errors import CorruptedError, InvalidArgumentError, UnsupportedFormatError
from conduitstore.operations import BackupReport, OnRead

from . import capture, names
from .files import Directory, File, FileSystem, append_whole, create_file
from .format import HEADER_BYTES, Frame, Header, decode_header
from .leaf import decode_leaf
from .logfile import LogFile
from .manifest import Generation, Manifest, read_manifest, rows_in, segments_in
from .pieces import Gap, ignore, pieces
from .recovery import check_ours, lock_directory, newest_manifest
from .segment import KIND, Segment

if TYPE_CHECKING:
    from .lifecycle import Store

COPY_BYTES = 1 << 20


def backup(db: Store, path: str, on_read: OnRead) -> BackupReport:
    """See :meth:`conduitstore.operations.Operations.backup`."""
    db.check_handle()
    db.check_writable()
    target = _Target.open(db.filesystem, path)
    try:
        target.check(db.store_id, db.generation)
        generation, pinned = capture.checkpointed(db)
        return target.receive(db.store_id, generation, pinned, db.next_number(), on_read)
    finally:
        target.lock.close()


def restore(filesystem: FileSystem, source: str, path: str, on_read: OnRead) -> BackupReport:
    """Copy a backup into an empty directory; opening that makes it a new incarnation.

    The backup first learns that this was made of it, so that what is restored of it next begins its
    counts, ids and sequence above those that this one will give out.

    Raises:
        InvalidArgumentError: there is no backup, or the target is not empty.
        CorruptedError: a file of the backup is damaged.
    """
    directory = filesystem.directory(source)
    if directory is None or not check_ours(directory):
        raise InvalidArgumentError(f"{source} holds no backup")
    lock = lock_directory(directory)
    try:
        header, generation = read_manifest(directory, newest_manifest(directory.names()))
        if not generation.fork:
            raise InvalidArgumentError(f"{source} is a store in use, not a backup: open it")
        target = _Target.open(filesystem, path)
        try:
            if target.generation is not None:
                raise InvalidArgumentError(f"{path} already holds a store")
            pinned = _files(directory, header.store_id, generation)
            _begin_fork(directory, header, generation)
            number = header.number + 1
            return target.receive(header.store_id, generation, pinned, number, on_read)
        finally:
            target.lock.close()
    finally:
        lock.close()


def _files(directory: Directory, store_id: bytes, generation: Generation) -> dict[int, File]:
    named = sorted(segments_in(generation.leaves))
    return {number: Segment.open(directory, number, store_id).file for number in named}


def _begin_fork(directory: Directory, header: Header, generation: Generation) -> None:
    leftover = names.numbered(names.MANIFEST, header.number + 1) + names.NEW
    _unlink(directory, [leftover])
    manifest = Manifest(directory, header.store_id, header.number + 1)
    manifest.publish(replace(generation, fork=generation.fork + 1))
    manifest.close()


@dataclass(slots=True)
class _Target:
    """The directory that a backup goes to, locked, and the backup that it holds."""

    directory: Directory
    lock: File
    store_id: bytes
    generation: Generation | None

    @classmethod
    def open(cls, filesystem: FileSystem, path: str) -> _Target:
        directory = filesystem.directory(path) or filesystem.make_directory(path)
        _check_foreign(directory)
        lock = lock_directory(directory)
        try:
            newest = newest_manifest(directory.names())
            if not newest:
                return cls(directory, lock, b"", None)
            header, generation = read_manifest(directory, newest)
            return cls(directory, lock, header.store_id, generation)
        except BaseException:
            lock.close()
            raise

    def check(self, store_id: bytes, source: Generation) -> None:
        """Whether this is, or can become, a backup of that very store."""
        found, path = self.generation, self.directory.path
        if found is None:
            return
        if not found.fork:
            raise InvalidArgumentError(f"{path} is a store in use, no backup: name another one")
        if self.store_id != store_id or found.incarnations != source.incarnations:
            raise InvalidArgumentError(
                f"{path} is the backup of another store or incarnation: name another directory"
            )
        if found.generation > source.generation:
            raise InvalidArgumentError(f"{path} is the backup of a later state than this one")

    def receive(
        self,
        store_id: bytes,
        generation: Generation,
        segments: dict[int, File],
        number: int,
        on_read: OnRead,
    ) -> BackupReport:
        """Steps 3 to 5; the files are those of every segment that ``generation`` needs."""
        copied, copied_bytes, kept = [], 0, 0
        inventory = _Inventory(generation)
        # A restore may have raised the number of the backup's manifest past the store's own.
        number = max(number, newest_manifest(self.directory.names()) + 1)
        for segment, file in sorted(segments.items()):
            name, size = names.numbered(names.SEGMENT, segment), file.size()
            wanted = Header(KIND, store_id, segment)
            if self._has(name, wanted, size, inventory, on_read):
                kept += size
                continue
            self._copy(file, name, wanted, inventory, on_read)
            copied.append(name)
            copied_bytes += size
        inventory.check()
        self._explain()
        log = names.numbered(names.LOG, number)
        self._begin_log(store_id, generation, number)
        self.directory.sync()
        self._publish(store_id, replace(generation, log_start=number), number + 1)
        needed = {names.numbered(names.SEGMENT, segment) for segment in segments}
        newest = names.numbered(names.MANIFEST, number + 1)
        others = set(self.directory.names()) - needed - {log, newest, names.LOCK, names.ABOUT}
        ours = {name for name in others if names.is_ours(name) and not names.is_set_aside(name)}
        _unlink(self.directory, sorted(ours))
        return BackupReport(generation.sequence, copied_bytes, kept, tuple(copied))

    def _has(
        self, name: str, wanted: Header, size: int, inventory: _Inventory, on_read: OnRead
    ) -> bool:
        if name not in self.directory.names():
            return False
        file = self.directory.open(name)
        try:
            if file.size() != size:
                return False
            _check_segment(file, name, wanted, inventory, on_read)
        except CorruptedError:
            return False
        else:
            return True
        finally:
            file.close()

    def _copy(
        self, source: File, name: str, wanted: Header, inventory: _Inventory, on_read: OnRead
    ) -> None:
        new, size = name + names.NEW, source.size()
        _unlink(self.directory, [new])
        file = create_file(self.directory, new)
        try:
            for offset in range(0, size, COPY_BYTES):
                data = source.read_at(offset, min(COPY_BYTES, size - offset))
                on_read(len(data))
                append_whole(file, data, offset)
            _check_segment(file, name, wanted, inventory, ignore)
            file.sync()
        except Exception:
            _unlink(self.directory, [new])
            raise
        finally:
            file.close()
        self.directory.rename(new, name)

    def _explain(self) -> None:
        if names.ABOUT not in self.directory.names():
            about = create_file(self.directory, names.ABOUT)
            append_whole(about, names.ABOUT_TEXT.encode(), 0)
            about.close()

    def _begin_log(self, store_id: bytes, generation: Generation, number: int) -> None:
        """A log without a commit: where there is a manifest, there is the log that it names."""
        _unlink(self.directory, [names.numbered(names.LOG, number)])
        log = LogFile(self.directory, store_id, number, generation.sequence + 1)
        log.sync()
        log.close()

    def _publish(self, store_id: bytes, generation: Generation, number: int) -> None:
        _unlink(self.directory, [names.numbered(names.MANIFEST, number) + names.NEW])
        manifest = Manifest(self.directory, store_id, number)
        manifest.publish(
            replace(
                generation,
                # What was restored of the backup that was here keeps its numbers.
                fork=max(generation.fork, self.generation.fork if self.generation else 1),
                is_clean=True,
                previous_log_start=generation.log_start,
            )
        )
        manifest.close()


def _check_foreign(directory: Directory) -> None:
    """A first backup that was cut short has segments and no manifest: no store looks like that."""
    found = directory.names()
    if newest_manifest(found):
        check_ours(directory)
        return
    strangers = [
        name
        for name in found
        if not names.is_ours(name) or names.is_set_aside(name) or _has_commits(directory, name)
    ]
    if strangers:
        raise UnsupportedFormatError(
            f"{directory.path} holds {strangers[0]}, which no backup leaves behind: name another "
            "directory"
        )


def _has_commits(directory: Directory, name: str) -> bool:
    if (names.parse(name) or ("",))[0] != names.LOG:
        return False
    file = directory.open(name)
    size = file.size()
    file.close()
    return size > HEADER_BYTES


class _Inventory:
    """Which frames a generation leads to, and which were found: a file may end too early."""

    def __init__(self, generation: Generation) -> None:
        rows = rows_in(generation.leaves)
        self._needed = {row[:3] for row in rows}
        self._has_blobs = {row[:3] for row in rows if len(row) > 5}
        self._found: set[tuple[int, ...]] = set()

    def take(self, name: str, number: int, frames: Iterable[Frame]) -> None:
        """The frames of a segment, unless they turn out not to be whole."""
        found: set[tuple[int, ...]] = set()
        needed: set[tuple[int, ...]] = set()
        for frame in frames:
            place = (number, frame.offset, frame.end - frame.offset)
            found.add(place)
            if place in self._has_blobs:
                needed |= _blob_places(name, frame)
        self._found |= found
        self._needed |= needed

    def check(self) -> None:
        """Raise ``CorruptedError`` for the first one that is missing."""
        for number, offset, _ in sorted(self._needed - self._found):
            name = names.numbered(names.SEGMENT, number)
            raise CorruptedError(name, offset, "no whole frame: repair the store first")


def _blob_places(name: str, frame: Frame) -> set[tuple[int, ...]]:
    """Segment, offset and bytes of each blob of a leaf."""
    try:
        values = decode_leaf(frame.payload, frame.flags)[3]
        return {tuple(one[:3]) for one in values if type(one) is not bytes}
    except MemoryError:  # Not the bytes' fault: it must not look like damage.
        raise
    except Exception as error:  # Whatever hostile bytes make the decoder raise.
        raise CorruptedError(name, frame.offset, f"not a leaf: {error}") from error


def _check_segment(
    file: File, name: str, wanted: Header, inventory: _Inventory, on_read: OnRead
) -> None:
    """Raise ``CorruptedError`` unless every byte of a segment's copy is as it was written."""
    header = decode_header(file.read_at(0, HEADER_BYTES), name, KIND)
    if (header.store_id, header.number) != (wanted.store_id, wanted.number):
        raise CorruptedError(name, 0, "it belongs to another place or store")
    inventory.take(name, header.number, _whole_frames(file, name, header, on_read))


def _whole_frames(file: File, name: str, header: Header, on_read: OnRead) -> Iterator[Frame]:
    for piece in pieces(file, file.size(), header.seed, on_read):
        if isinstance(piece, Gap):
            raise CorruptedError(name, piece.offset, "no whole frame: repair the store first")
        yield piece


def _unlink(directory: Directory, unneeded: Iterable[str]) -> None:
    for name in unneeded:
        with suppress(FileNotFoundError):
            directory.unlink(name)
