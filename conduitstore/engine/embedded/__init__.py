"""The embedded engine: a copy-on-write B+ tree over segments and a write-ahead log."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from typing import Any

from conduitstore.errors import UnsupportedFormatError
from conduitstore.operations import BackupReport, Damage, OnRead, RecoveryMode, RecoveryReport

from .backup import restore as _restore
from .closed import verify_directory
from .config import Settings
from .files import FileSystem, Os, path_of
from .lifecycle import Store, open_store
from .opening import survey as _survey
from .pieces import ignore
from .readonly import ReadOnlyStore, open_read_only
from .repair import Repair
from .repair import repair as _repair

__all__ = [
    "ReadOnlyStore",
    "Repair",
    "Settings",
    "Store",
    "open",
    "repair",
    "restore",
    "survey",
    "verify",
]


def open(
    path: str | os.PathLike[str], *, files: FileSystem | None = None, **settings: Any
) -> Store | ReadOnlyStore:
    """Open the store in the directory ``path``, making it where there is none.

    Args:
        path: a directory that holds a store, is empty, or does not exist.
        files: stands in for the operating system in tests.
        settings: see :class:`Settings`.

    Raises:
        LockedError: another process, or another handle in this one, has it open for writing.
        UnsupportedFormatError: not a store, or a newer release's; untouched.
        CorruptedError: damage that no crash explains; names file and offset.
        InvalidArgumentError: an unknown setting, or a path that is none.
    """
    _check_build()
    name, checked = path_of(path), Settings.of(settings)
    if checked.read_only:
        return open_read_only(files or Os(), name, checked)
    made: list[Store] = []
    try:
        open_store(files or Os(), name, checked, made)
        return made[0]
    except BaseException:
        for store in made:
            store.abandon()
        raise


def restore(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    files: FileSystem | None = None,
    on_read: OnRead | None = None,
) -> BackupReport:
    """Make a store in an empty directory ``path`` out of the backup in ``source``.

    It is a new incarnation: its counts and sequence begin 2**32, its ids 2**48 above those of the
    store when that was backed up, and as far above those of what was restored of it before. The
    backup can be gone on with by the original store, not by this one.

    Raises:
        InvalidArgumentError: ``source`` holds no backup, or ``path`` is not empty.
        LockedError: somebody has one of the two open.
        CorruptedError: a file of the backup is damaged.
    """
    _check_build()
    files, name = files or Os(), path_of(path)
    report = _restore(files, path_of(source), name, on_read or ignore)
    made: list[Store] = []
    open_store(files, name, Settings(flush_every_ms=None), made)
    made[0].close()
    return report


def verify(
    path: str | os.PathLike[str],
    *,
    files: FileSystem | None = None,
    on_read: OnRead | None = None,
) -> Iterator[Damage]:
    """Read every byte of a store that nobody has open, perhaps because it does not open.

    Like :meth:`Store.verify`. The directory is locked while the iterator is read, and not changed.
    Where its newest manifest is damaged or missing that is the first damage, and every file is read
    nevertheless; damaged leaves are named with their keys where an older generation knows them.

    Raises:
        LockedError: somebody has it open: ask that store.
    """
    return verify_directory(files or Os(), path_of(path), on_read or ignore)


def repair(
    path: str | os.PathLike[str],
    *,
    backup: str | os.PathLike[str] | None = None,
    files: FileSystem | None = None,
    on_read: OnRead | None = None,
) -> list[Repair]:
    """Mend a store that nobody has open, as far as there are second copies; gives every damage.

    Args:
        path: the store.
        backup: a backup of it, for what the store itself has no second copy of.
        files: stands in for the operating system in tests.
        on_read: see :data:`conduitstore.operations.OnRead`.

    Raises:
        CorruptedError: the newest manifest is damaged: nothing says what else there should be.
        LockedError: somebody has it open.
    """
    source = path_of(backup) if backup is not None else None
    return _repair(files or Os(), path_of(path), source, on_read or ignore)


def survey(
    path: str | os.PathLike[str],
    *,
    recover: RecoveryMode,
    files: FileSystem | None = None,
) -> RecoveryReport:
    """What :func:`open` with this ``recover`` would report of a store that nobody has open.

    Nothing is changed, so what an open would mend first is damage here: :func:`repair` it before.
    Its ``mode`` is ``strict`` where the store can be opened without a loss.

    Raises:
        CorruptedError: it would refuse, or begin with a repair.
        InvalidArgumentError: there is no store.
        LockedError: somebody has it open.
    """
    return _survey(files or Os(), path_of(path), Settings.of({"recover": recover}))


def _check_build() -> None:
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise UnsupportedFormatError("free-threaded builds of Python are not supported yet")
