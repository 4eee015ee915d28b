"""A store that nobody has open, as its files show it: for verifying and repairing.

Where its newest manifest cannot be read, every file is still read: what an older generation knows
of the leaves in them is named with its keys, anything else by its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from conduitstore.errors import CorruptedError, InvalidArgumentError, UnsupportedFormatError
from conduitstore.operations import Damage, OnRead

from . import names
from .claims import Subject, generation_before
from .files import Directory, FileSystem
from .manifest import Generation, LeafRows, read_manifest, segments_in, segments_of
from .recovery import NOTHING_YET, check_ours, lock_directory, newest_manifest
from .remains import Remains, reason_of
from .verify import verify


def verify_directory(filesystem: FileSystem, path: str, on_read: OnRead) -> Iterator[Damage]:
    """:func:`.verify.verify` for a store that is not open; it may be too damaged to be."""
    directory = _directory(filesystem, path)
    try:
        is_there = check_ours(directory, writes=False)
    except (CorruptedError, UnsupportedFormatError):
        is_there = bool(Remains(directory).store_id)  # Or it refuses what is no store, or a newer.
    if not is_there:
        raise _no_store(path)
    lock = lock_directory(directory)
    try:
        try:
            subject = subject_of(directory, on_read)
        except CorruptedError as error:
            yield from _verify_remains(directory, on_read, error)
        else:
            yield from verify(subject)
    finally:
        lock.close()


def check_store(filesystem: FileSystem, path: str, *, writes: bool) -> Directory:
    """The directory of a store that is there, of a format we know."""
    directory = _directory(filesystem, path)
    if not check_ours(directory, writes=writes):
        raise _no_store(path)
    return directory


def _directory(filesystem: FileSystem, path: str) -> Directory:
    directory = filesystem.directory(path)
    if directory is None:
        raise _no_store(path)
    return directory


def _no_store(path: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"there is no store at {path}")


def subject_of(directory: Directory, on_read: OnRead) -> Subject:
    """What a directory is meant to hold, by its newest manifest.

    Raises:
        CorruptedError: that cannot be read.
    """
    found = directory.names()
    newest = newest_manifest(found)
    if not newest:
        raise CorruptedError(names.MANIFEST, 0, "each one is missing")
    header, generation = read_manifest(directory, newest)
    named = segments_in(generation.leaves)
    subject = Subject(directory, header.store_id, generation, on_read, files=found, segments=named)
    before = generation_before(subject)
    if before is not None:
        subject.segments |= segments_in(before.leaves)
    return subject


def _verify_remains(
    directory: Directory, on_read: OnRead, error: CorruptedError
) -> Iterator[Damage]:
    """The error of the newest manifest, and every damage that shows without it."""
    remains = Remains(directory)
    generations, _ = remains.generations()
    there = {number for number, _ in remains.files[names.SEGMENT]}
    subject = Subject(
        directory,
        remains.store_id,
        _without_missing(generations[0], there) if generations else NOTHING_YET,
        on_read,
        files=directory.names(),
        segments=there,
        is_newest=False,
    )
    yield Damage(error.file, error.offset, _bytes_behind(directory, error), reason_of(error))
    for damage in verify(subject):
        if (damage.file, damage.offset) != (error.file, error.offset):
            yield damage


def _bytes_behind(directory: Directory, error: CorruptedError) -> int:
    try:
        file = directory.open(error.file)
    except FileNotFoundError:
        return 0
    size_bytes = file.size()
    file.close()
    return size_bytes - error.offset


def _without_missing(generation: Generation, there: set[int]) -> Generation:
    """Without leaves in files that are gone: what came after it may have no use for them."""
    leaves: LeafRows = {
        tree_id: {
            low: row if row and segments_of(row) <= there else None for low, row in lows.items()
        }
        for tree_id, lows in generation.leaves.items()
    }
    return replace(generation, leaves=leaves)
