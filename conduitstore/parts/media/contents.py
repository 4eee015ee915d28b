"""The files that are there: how large, how old, when last used, and which are to be deleted.

- A row in ``filehash_metadata`` is the file. The bytes are put before their row and deleted after
  it, so a row never speaks of bytes that are not there; a crash may leave bytes without a row.
- A file whose row goes gets a row in ``filehash_removal`` in the same commit, and
  :meth:`Contents.delete_files` deletes such files once that commit is on the platter.
- Each file counts as one kind; rows by kind and time find what to delete without a search.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO, Protocol, cast

from conduitstore.codec.keys import KeyShape, check_u64
from conduitstore.codec.values import pack_u64
from conduitstore.errors import ConflictError, InvalidArgumentError, shown
from conduitstore.kv import Database, Tree
from conduitstore.parts.beside import Beside
from conduitstore.parts.media.records import KINDS, FileInfo, MediaKind, Usage
from conduitstore.parts.part import Near, Part, TreeOf, atomic, explained
from conduitstore.schema import TREES
from conduitstore.types import FileHash

_FILE = TREES["filehash_metadata"].key
_INFO = TREES["filehash_metadata"].value_fields
_ACCESSED = TREES["kindaccessedfilehash_size"].key
_CREATED = TREES["kindcreatedfilehash_size"].key
_KIND = TREES["mediakind_usage"].key.pack
_USAGE = TREES["mediakind_usage"].value_fields

_ORPHANS_AT_ONCE = 1_000


class ContentsNear(Near, Protocol):
    """Where the bytes are."""

    @property
    def beside(self) -> Beside: ...


class Contents(Part[ContentsNear]):
    """Trees: ``filehash_metadata`` and ``filehash_removal``; three more by kind."""

    _infos = TreeOf("filehash_metadata")
    _by_access = TreeOf("kindaccessedfilehash_size")
    _by_age = TreeOf("kindcreatedfilehash_size")
    _usage = TreeOf("mediakind_usage")
    _removals = TreeOf("filehash_removal")

    # One file -----------------------------------------------------------------------------------
    @explained
    def put(self, content: Iterable[bytes]) -> tuple[FileHash, int]:
        """Keep the pieces of ``content`` as a file; gives its name and its size in bytes.

        On the platter when this returns, and an orphan until a row speaks of it. Call it before the
        transaction that writes the row: inside, every other writer waits for the bytes.

        Raises:
            InvalidArgumentError: the store was opened without files, or these are no bytes.
        """
        return self._near.beside.files.put(content)

    def open(self, file: FileHash) -> BinaryIO | None:
        """A file for reading, which stays readable if it goes meanwhile; None where it is gone."""
        return None if self.info(file) is None else self._near.beside.files.open(file)

    def info(self, file: FileHash) -> FileInfo | None:
        """Size and times of a file; None where there is none."""
        value = self._infos.get(_FILE.pack(file))
        return None if value is None else FileInfo(*_INFO.unpack(value))

    @atomic
    def add(self, file: FileHash, size_bytes: int, kind: MediaKind, now_secs: int) -> None:
        """Note that a file is there. One that was there keeps the time it was created.

        Raises:
            ConflictError: the bytes are not there (any more): put them again.
            InvalidArgumentError: it was there with another size.
        """
        old, info = self.info(file), FileInfo(check_u64(size_bytes), now_secs, now_secs)
        if old is not None:
            info = FileInfo(old.size_bytes, old.created_secs, max(old.accessed_secs, now_secs))
        if info.size_bytes != size_bytes:
            raise InvalidArgumentError(f"{file} has {info.size_bytes} bytes, not {size_bytes}")
        self._check_bytes(file, size_bytes)
        self._replace(file, old, info, _checked(kind))
        self._removals.put(_FILE.pack(file), None)

    def _check_bytes(self, file: FileHash, size_bytes: int) -> None:
        beside = self._near.beside
        if beside.has_files and beside.files.size(file) != size_bytes:
            raise ConflictError(f"no file {file} of {size_bytes} bytes: put it, then try again")

    @atomic
    def touch(self, file: FileHash, now_secs: int) -> None:
        """Note that a file was used; nothing happens where it is gone, or was used later.

        Source: Conduit, update_last_accessed_filehash.
        """
        old = self.info(file)
        if old is not None and old.accessed_secs < check_u64(now_secs):
            self._replace(file, old, old._replace(accessed_secs=now_secs))

    @atomic
    def drop(self, file: FileHash) -> bool:
        """Take a file as gone from now on; its bytes go with :meth:`delete_files`."""
        old = self.info(file)
        if old is not None:
            self._unlist(file, old)
            self._infos.put(_FILE.pack(file), None)
            self.discard(file)
        return old is not None

    @atomic
    def discard(self, file: FileHash) -> None:
        """Have the bytes of a file that has no row deleted."""
        self._removals.put(_FILE.pack(file), pack_u64(self._near.globals.draw()))

    # Kinds --------------------------------------------------------------------------------------
    def _replace(
        self, file: FileHash, old: FileInfo | None, new: FileInfo, kind: MediaKind | None = None
    ) -> None:
        kinds = [kind] if kind is not None else []
        if old is not None:
            kinds.append(self._unlist(file, old))
        self._list(file, new, min(kinds, key=KINDS.index))
        self._infos.put(_FILE.pack(file), _INFO.pack(*new))

    def _list(self, file: FileHash, info: FileInfo, kind: MediaKind) -> None:
        size = pack_u64(info.size_bytes)
        self._by_access.put(_ACCESSED.pack(kind, info.accessed_secs, file), size)
        self._by_age.put(_CREATED.pack(kind, info.created_secs, file), size)
        self._count(kind, 1, info.size_bytes)

    def _unlist(self, file: FileHash, info: FileInfo) -> MediaKind:
        """Take a file out of the rows by kind; gives which it was."""
        for kind in KINDS:
            if self._by_access.remove(_ACCESSED.pack(kind, info.accessed_secs, file)) is not None:
                self._by_age.put(_CREATED.pack(kind, info.created_secs, file), None)
                self._count(kind, -1, -info.size_bytes)
                return kind
        return KINDS[-1]  # A file of Conduit's, which has no kinds.

    def _count(self, kind: MediaKind, files: int, size_bytes: int) -> None:
        usage = self.usage(kind)
        if usage.files + files:
            now = _USAGE.pack(usage.files + files, usage.bytes + size_bytes)
            self._usage.put(_KIND(kind), now)
        else:
            self._usage.put(_KIND(kind), None)

    def usage(self, kind: MediaKind) -> Usage:
        """How many files of a kind there are, and their bytes. Cost: one point read."""
        value = self._usage.get(_KIND(_checked(kind)))
        return Usage(0, 0) if value is None else Usage(*_USAGE.unpack(value))

    def statistics(self) -> dict[MediaKind, Usage]:
        """:meth:`usage` of every kind."""
        return {kind: self.usage(kind) for kind in KINDS}

    def least_used(self, kind: MediaKind) -> Iterator[tuple[int, FileHash, int]]:
        """Files of a kind, the one not used for longest first: its last use, hash and bytes."""
        return _walk(self._by_access, _ACCESSED, _checked(kind))

    def oldest(self, kind: MediaKind) -> Iterator[tuple[int, FileHash, int]]:
        """Files of a kind, the oldest first: when it was created, its hash and its bytes."""
        return _walk(self._by_age, _CREATED, _checked(kind))

    # Bytes --------------------------------------------------------------------------------------
    def delete_files(self, *, limit: int | None = None) -> int:
        """Delete the bytes of files that were dropped; gives how many. Again is fine.

        Call it on the store after a purge, or from a timer. The commits that dropped them are put
        on the platter first: power loss brings no row back whose bytes are gone.

        Raises:
            InvalidArgumentError: inside a transaction, whose commit is still to come; or the store
                was opened without files.
        """
        if not hasattr(self.keyspace, "flush"):
            raise InvalidArgumentError("files are deleted after the commit: call this on the store")
        _ = self._near.beside.files
        due = list(islice(self._removals, limit))
        if due:
            cast("Database", self.keyspace).flush()
        return sum([self._delete(key, value) for key, value in due])

    @atomic
    def _delete(self, key: bytes, value: bytes) -> bool:
        # Whoever adds the file again does it in a transaction too, before this one or after it.
        if self._removals.get(key) != value:
            return False
        self._near.beside.files.remove(_FILE.unpack(key)[0])
        self._removals.put(key, None)
        return True

    def find_orphans(self) -> int:
        """Have bytes without a row deleted, as a crash during an upload leaves them; how many.

        Cost: one look at every file; commits of a thousand files each.
        """
        files = iter(self._near.beside.files.hashes())
        total = 0
        while some := list(islice(files, _ORPHANS_AT_ONCE)):
            total += self._discard_orphans(some)
        return total

    @atomic
    def _discard_orphans(self, files: list[FileHash]) -> int:
        keys = [_FILE.pack(file) for file in files]
        orphans = [
            file
            for file, key in zip(files, keys, strict=True)
            if not self._infos.contains_key(key) and not self._removals.contains_key(key)
        ]
        for file in orphans:
            self.discard(file)
        return len(orphans)

    def missing(self) -> Iterator[FileHash]:
        """Files that have a row and no bytes of that size: none, unless the disk lost them."""
        files = self._near.beside.files
        for key, value in self._infos:
            (file,) = _FILE.unpack(key)
            if files.size(file) != _INFO.unpack(value)[0]:
                yield file


def _checked(kind: MediaKind) -> MediaKind:
    if kind not in KINDS:
        raise InvalidArgumentError(f"a kind is one of {', '.join(KINDS)}, not {shown(kind)}")
    return kind


def _walk(tree: Tree, shape: KeyShape, kind: MediaKind) -> Iterator[tuple[int, FileHash, int]]:
    for key, value in tree.scan_prefix(shape.prefix(kind)):
        _, secs, file = shape.unpack(key)
        yield secs, file, int.from_bytes(value)
