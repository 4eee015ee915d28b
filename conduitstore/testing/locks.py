"""Locks of our own in the place of the engine's: for tests of who takes which, and when.

with replaced_locks(Watched):
    db = embedded.open(...)
with forbidden():
    db.get(b"key")       # AssertionError if it asks for a lock that it might have to wait for
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

_mine = threading.local()
ENGINE = "conduitstore.engine"


class _Threading:
    """The module ``threading`` with other things in it."""

    def __init__(self, **others: Any) -> None:
        self.__dict__.update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


@contextmanager
def replaced_locks(lock: Callable[[], Any], **others: Any) -> Iterator[None]:
    """Whatever the engine makes of ``threading`` inside: its locks, and ``others`` by name."""
    stand_in = _Threading(Lock=lock, **others)
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith(ENGINE) and vars(module).get("threading") is threading:
                stack.enter_context(mock.patch.object(module, "threading", stand_in))
        yield


class Watched:
    """A lock that refuses to make anybody wait who is :func:`forbidden` to.

    To look whether it is free, and to go on without it, is no waiting.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.acquire_total = 0
        self.locked = self._lock.locked
        self.release = self._lock.release

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002
        """See :meth:`threading.Lock.acquire`."""
        if blocking and getattr(_mine, "is_forbidden", False):
            raise AssertionError("a lock was taken where none may be")
        self.acquire_total += 1
        return self._lock.acquire(blocking, timeout)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()


@contextmanager
def forbidden() -> Iterator[None]:
    """This thread may wait for no :class:`Watched` lock inside."""
    _mine.is_forbidden = True
    try:
        yield
    finally:
        _mine.is_forbidden = False


class Lonely:
    """A lock for tests of a single thread: whoever would wait would wait for ever, and is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.locked = self._lock.locked
        self.release = self._lock.release
        self._acquire = self._lock.acquire

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: ARG002, FBT001, FBT002
        """See :meth:`threading.Lock.acquire`."""
        is_mine = self._acquire(blocking=False)
        if blocking and not is_mine:
            raise AssertionError("a lock was left held")
        return is_mine

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()
