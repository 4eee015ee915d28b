"""The embedded engine: a copy-on-write B+ tree over segments and a write-ahead log."""

from __future__ import annotations

import os
import sysconfig
from typing import Any

from conduitstore.errors import InvalidArgumentError, UnsupportedFormatError

from .config import Settings
from .files import FileSystem, Os
from .lifecycle import Store, open_store
from .readonly import ReadOnlyStore, open_read_only

__all__ = ["ReadOnlyStore", "Settings", "Store", "open"]


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
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise UnsupportedFormatError("free-threaded builds of Python are not supported yet")
    try:
        name = os.fsdecode(path)
    except TypeError as error:
        raise InvalidArgumentError(f"a path must be str or path-like: {error}") from error
    if not name or "\0" in name:
        raise InvalidArgumentError(f"not a path: {name!r}")
    checked = Settings.of(settings)
    if checked.read_only:
        return open_read_only(files or Os(), name, checked)
    return open_store(files or Os(), name, checked)
