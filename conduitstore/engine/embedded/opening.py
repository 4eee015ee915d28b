"""Opening for writing: as the directory is, or what is left of it.

- ``strict``: :mod:`.recovery` alone. Damage that no crash explains is refused.
- ``prefix``: where that refuses, :mod:`.prefix`: history up to the damage.
- ``salvage``: every byte is read; where one is wrong, :mod:`.salvage`: whatever verifies.

Neither of the last two changes anything before the caller publishes; what is whole they open as
``strict`` does.
"""

from __future__ import annotations

from contextlib import suppress

from conduitstore.errors import (
    ConduitStoreError,
    CorruptedError,
    InvalidArgumentError,
    UnsupportedFormatError,
)
from conduitstore.operations import RecoveryReport

from . import prefix, recovery, salvage
from .config import Settings
from .files import Directory, File, FileSystem
from .recovery import Replayed
from .remains import Remains


def open_directory(filesystem: FileSystem, path: str, settings: Settings) -> Replayed:
    """Lock the directory and read all it holds.

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
        return read(directory, lock, settings)
    except BaseException:
        lock.close()
        raise


def read(directory: Directory, lock: File | None, settings: Settings) -> Replayed:
    """What a locked directory holds; nothing is changed."""
    whole: Replayed | None = None
    try:
        whole = recovery.strict(directory, lock, settings)
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


def survey(filesystem: FileSystem, path: str, settings: Settings) -> RecoveryReport:
    """What an open would have to mend, and to do without; errors as :func:`open_directory`.

    Raises:
        InvalidArgumentError: there is no store.
    """
    nothing = InvalidArgumentError(f"there is no store at {path}")
    if filesystem.directory(path) is None:
        raise nothing
    found = open_directory(filesystem, path, settings)
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
