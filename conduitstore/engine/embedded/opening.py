"""Opening for writing: as the directory is, or what is left of it.

- ``strict``: :mod:`.recovery`. What that needs of segments and cannot read is made again from a
  second copy, as :mod:`.repair` does; other damage that no crash explains is refused.
- ``prefix``: where that refuses, :mod:`.prefix`: history up to the damage.
- ``salvage``: every byte is read; where one is wrong, :mod:`.salvage`: whatever verifies.

Neither of the last two changes anything more before the caller publishes; what is whole, or can be
made so, they open as ``strict`` does.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from conduitstore.errors import (
    ConduitStoreError,
    CorruptedError,
    InvalidArgumentError,
    UnsupportedFormatError,
)
from conduitstore.operations import RecoveryReport

from . import names, prefix, recovery, salvage
from .config import Settings
from .files import Directory, File, FileSystem
from .recovery import Replayed
from .remains import Remains, reason_of
from .repair import mend

log = logging.getLogger("conduitstore")


def open_directory(
    filesystem: FileSystem, path: str, settings: Settings, *, mends: bool = True
) -> Replayed:
    """Lock the directory and read all it holds.

    With ``mends`` a repair may have been published; else nothing is changed.

    Raises:
        UnsupportedFormatError: not a store, or a newer release's; untouched.
        LockedError: somebody else has it.
        CorruptedError: it is damaged, more than ``settings.recover`` allows.
    """
    directory = filesystem.directory(path) or filesystem.make_directory(path)
    is_strict = settings.recover == "strict"
    with suppress(FileNotFoundError):  # A writer is at work: the lock will say so.
        _gate(directory, is_strict=is_strict)
    lock = recovery.lock_directory(directory)
    try:
        return read(directory, lock, settings, mends=mends)
    except BaseException:
        lock.close()
        raise


def read(directory: Directory, lock: File | None, settings: Settings, *, mends: bool) -> Replayed:
    """What a locked directory holds."""
    whole: Replayed | None = None
    try:
        whole = _strict(directory, lock, settings, mends=mends)
    except (CorruptedError, UnsupportedFormatError) as error:
        if settings.recover == "strict":
            raise
        refusal: ConduitStoreError = error
    if whole is not None and (settings.recover != "salvage" or whole.found.is_new):
        return whole
    remains = Remains(directory)
    if settings.recover == "salvage":
        return salvage.read(remains, lock, settings, whole)
    return prefix.read(remains, lock, settings, refusal)


def _strict(
    directory: Directory, lock: File | None, settings: Settings, *, mends: bool
) -> Replayed:
    """What is whole, or has been made so.

    Now is the time: the second copy of what the newest checkpoint wrote is the generation before,
    and this open will publish another.
    """
    try:
        return recovery.strict(directory, lock, settings)
    except CorruptedError as error:
        if not mends or not error.file.startswith(names.SEGMENT):
            raise
        first = error
    repairs = mend(directory)
    try:
        replayed = recovery.strict(directory, lock, settings)
    except CorruptedError as error:
        if not error.file.startswith(names.SEGMENT):
            raise
        raise CorruptedError(
            error.file,
            error.offset,
            f"{reason_of(error)}, and the store has no second copy of it: repair it from a "
            'backup, or open it with recover="salvage"',
        ) from first
    replayed.mended = tuple(one.damage for one in repairs if one.source is not None)
    log.warning(
        "%s: %d damages were mended from second copies: see recovery_report, and the disk",
        directory.path,
        len(replayed.mended),
    )
    return replayed


def survey(filesystem: FileSystem, path: str, settings: Settings) -> RecoveryReport:
    """What an open would have to mend, and to do without; errors as :func:`open_directory`.

    Raises:
        InvalidArgumentError: there is no store.
    """
    nothing = InvalidArgumentError(f"there is no store at {path}")
    if filesystem.directory(path) is None:
        raise nothing
    found = open_directory(filesystem, path, settings, mends=False)
    found.close()
    if found.found.is_new:
        raise nothing
    return recovery.report(found)


def _gate(directory: Directory, *, is_strict: bool) -> None:
    try:
        recovery.check_ours(directory)
    except (CorruptedError, UnsupportedFormatError):
        if is_strict:
            raise
        Remains(directory)  # Refuses what is no store, or a newer one.
