"""Every error the library raises on purpose, on one page.

    ConduitStoreError
    ├── InvalidArgumentError      fix the call: nothing was changed
    ├── LockedError               wait, or stop the other process
    ├── ConflictError             run the transaction again
    ├── UnavailableError          wait until the server answers, then call again
    ├── StoreFullError            free some space: that commit failed whole, reads go on
    ├── LaggedError               a subscriber was too slow: read the tree again
    ├── CorruptedError            restore or repair; names the file and the offset
    ├── UnsupportedFormatError    upgrade, or open the right directory; files untouched
    ├── PoisonedError             a write failed half way: close the store and open it again
    └── ClosedError               the handle, snapshot or store is closed

A type exists only where a caller would act differently. Absence is ``None`` and a lost
compare-and-swap is a value; neither is an error. Assertions guard our own logic; bytes that
come from a disk or a caller raise one of these.
"""

from __future__ import annotations

import reprlib

__all__ = [
    "ClosedError",
    "ConduitStoreError",
    "ConflictError",
    "CorruptedError",
    "InvalidArgumentError",
    "LaggedError",
    "LockedError",
    "PoisonedError",
    "StoreFullError",
    "UnavailableError",
    "UnsupportedFormatError",
]


def shown(value: object) -> str:
    """``value`` for a message: cut short, however large, deep or unprintable it is."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # An int of more digits than Python writes.
        return f"<{type(value).__name__}>"


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 60, 60


class ConduitStoreError(Exception):
    """The root of every error raised on purpose."""


class InvalidArgumentError(ConduitStoreError):
    """The call cannot be right whatever the store holds; nothing was changed."""


class LockedError(ConduitStoreError):
    """Another holder has the directory open for writing; the message names it."""


class ConflictError(ConduitStoreError):
    """A transaction lost against another one too often; run it again."""


class UnavailableError(ConduitStoreError):
    """The database server is gone, full of connections or too slow; the store is as it was.

    Attributes:
        is_commit_unknown: whether the connection was lost amid a commit, and nobody could be asked
            since whether that happened: look before you write the same again.
    """

    def __init__(self, text: str, *, is_commit_unknown: bool = False) -> None:
        super().__init__(text)
        self.is_commit_unknown = is_commit_unknown


class StoreFullError(ConduitStoreError):
    """No space left: the commit failed whole, reads go on, and it clears by itself."""


class LaggedError(ConduitStoreError):
    """A subscriber fell behind its queue, or behind the log; what it missed is gone for it.

    Attributes:
        missed_total: how many events were dropped; None where nobody can tell.
    """

    def __init__(self, missed_total: int | None, since: int | None = None) -> None:
        what = (
            f"the subscriber fell behind and missed {missed_total} events"
            if since is None
            else f"the commits behind {since} cannot be told any more, or are not of this history"
        )
        super().__init__(f"{what}; read the tree again and go on from there")
        self.missed_total = missed_total


class CorruptedError(ConduitStoreError):
    """Bytes on the disk are not what was written.

    Attributes:
        file: name of the damaged file, relative to the store's directory.
        offset: where in it the damaged frame or record begins, in bytes.
    """

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(f"{file} is damaged at byte {offset}: {reason}")
        self.file = file
        self.offset = offset


class UnsupportedFormatError(ConduitStoreError):
    """The directory is not a store, or was written by a newer version; it was not touched."""


class PoisonedError(ConduitStoreError):
    """A write failed in a way that leaves memory and disk apart; close the store and reopen it."""


class ClosedError(ConduitStoreError):
    """The store, snapshot or subscriber was closed before this call."""
