"""Who may use an open store, and how far: one flag for the hot path, reasons behind it.

- ``guarded`` is false while any handle may read: readers look at nothing else.
- Inside a transaction its thread may use only the transaction's own handles.
- A latched store takes no more writes; where a commit was cut short half way it gives no reads
  either. A closed one, or one inherited by a forked child, gives nothing.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from conduitstore.errors import (
    ClosedError,
    InvalidArgumentError,
    LockedError,
    PoisonedError,
    StoreFullError,
)

Refusal = Callable[[], Exception]


class Guard:
    """The writer lock and everything that can forbid a call."""

    def __init__(self) -> None:
        self.writer_lock = threading.Lock()
        self.guarded = False
        self.cause: BaseException | None = None
        self._owner = 0  # the thread whose transaction runs
        self._no_reads: Refusal | None = None
        self.no_writes: Refusal | None = None
        """Why the store takes none; who holds the writer lock may look at it in a hot path."""
        _open_guards.add(self)

    def enter(self) -> None:
        """This thread, holding the writer lock, begins to run a transaction's function."""
        self._owner = threading.get_ident()
        self.guarded = True

    def leave(self) -> None:
        """It is done."""
        self._owner = 0
        self.guarded = self._no_reads is not None

    @property
    def is_mine(self) -> bool:
        """Whether this thread is inside a transaction of the store."""
        return self._owner == threading.get_ident()

    def check_handle(self) -> None:
        """Whether a handle that is no transaction's may be used here and now."""
        if self._no_reads is not None:
            raise self._no_reads() from self.cause
        if self.is_mine:
            raise InvalidArgumentError("inside a transaction only its own handles may be used")

    def check_writable(self) -> None:
        """Whether the store takes writes; ask while holding the writer lock."""
        if self.no_writes is not None:
            raise self.no_writes() from self.cause

    def latch(self, cause: BaseException, *, is_torn: bool) -> None:
        """Take no more writes; give no more reads where half a commit may be visible."""
        self.cause = self.cause or cause
        self.no_writes = self.no_writes or poisoned
        if is_torn:
            self._no_reads = self._no_reads or poisoned
            self.guarded = True

    @contextmanager
    def latching(self) -> Iterator[None]:
        """Around whatever may leave the disk in a state of its own: only lack of space is mild."""
        try:
            yield
        except (StoreFullError, PoisonedError):
            raise
        except BaseException as error:
            self.latch(error, is_torn=False)
            if isinstance(error, OSError):
                raise PoisonedError(
                    f"{error}: what was committed since the last sync may not be on the platter; "
                    "close the store and open it again"
                ) from error
            raise

    def refuse(self, refusal: Refusal) -> None:
        """Give nothing more, for this reason."""
        self.no_writes = self._no_reads = refusal
        self.guarded = True

    def on_fork(self) -> None:
        """Let go of what only the parent may use; called in the child."""

    @property
    def is_forked(self) -> bool:
        """Whether this is a child's copy of its parent's store."""
        return self.no_writes is forked

    @property
    def is_latched(self) -> bool:
        """Whether writes are refused."""
        return self.no_writes is not None


def poisoned() -> Exception:
    """Memory and disk may differ."""
    return PoisonedError("a write failed half way: close the store and open it again")


def closed() -> Exception:
    """Nothing is behind the handle any more."""
    return ClosedError("the store is closed")


def forked() -> Exception:
    """Two processes writing to one log would be the end of it."""
    return LockedError("the parent process has this store open: a forked child opens its own")


_open_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


def _after_fork() -> None:
    for guard in list(_open_guards):
        guard.writer_lock = threading.Lock()  # Whoever held it does not exist here.
        Guard.refuse(guard, forked)  # And no more: waiters and their loops are the parent's.
        guard.on_fork()


os.register_at_fork(after_in_child=_after_fork)
