"""What the server or the way to it reports, as errors of ours that say what to do.

Two kinds of them are for the engine itself, which runs the transaction again: a conflict, and a
connection that was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from conduitstore.errors import (
    ConduitStoreError,
    ConflictError,
    CorruptedError,
    InvalidArgumentError,
    LockedError,
    StoreFullError,
    UnavailableError,
)

from .silence import SilentServerError

DROPPED = "this tree was dropped, or its creation undone: open it again"


class ConnectionLostError(UnavailableError):
    """The connection is gone; whatever transaction it had will not be committed by it any more."""


class SlowLossError(ConnectionLostError):
    """A connection that was lost after a long wait: whoever tries again may wait as long."""


class SilentError(SlowLossError):
    """The server has not answered in time, and the connection was closed."""


class IdleError(SlowLossError):
    """The server has ended a transaction, and its connection, for doing nothing."""


class SerializationError(ConflictError):
    """The server chose this transaction to give way to another."""


class MissingTableError(InvalidArgumentError):
    """A statement named a table that is not there: its tree was dropped, or there is no store."""


_BY_CODE: dict[str, Callable[[str], ConduitStoreError]] = {
    "25006": lambda text: InvalidArgumentError(
        f"the server takes no writes, so it is a standby: open it with read_only=True, or open the "
        f"primary ({text})"
    ),
    "25P02": lambda text: SerializationError(f"the transaction had already failed ({text})"),
    "25P03": lambda text: IdleError(
        f"the transaction did nothing in the database for longer than idle_timeout_ms, and was "
        f"ended ({text})"
    ),
    "40001": lambda text: SerializationError(f"another transaction changed what it read ({text})"),
    "40P01": lambda text: SerializationError(f"it and another waited for each other ({text})"),
    "42P01": lambda text: MissingTableError(f"{DROPPED} ({text})"),
    "3F000": lambda text: MissingTableError(f"{DROPPED} ({text})"),
    "53100": lambda text: StoreFullError(
        f"the server's disk is full; nothing was written ({text})"
    ),
    "53300": lambda text: UnavailableError(
        f"the server has no connection left: lower pool_max, or raise max_connections ({text})"
    ),
    "55P03": lambda text: LockedError(f"another process writes for too long ({text})"),
    "57014": lambda text: UnavailableError(
        f"a statement took longer than statement_timeout_ms allows, and was given up ({text})"
    ),
    "58030": lambda text: CorruptedError("the server's files", 0, text),
    "XX001": lambda text: CorruptedError("the server's files", 0, text),
    "XX002": lambda text: CorruptedError("the server's files", 0, text),
}
_OF_THE_CALLER = (
    "28",
    "3D",
    "42501",
)  # Who may not come in, what is not there, what is not allowed.


def translated(error: psycopg.Error, *, is_lost: bool) -> ConduitStoreError:
    """The error to raise instead; ``is_lost`` says whether the connection went with it."""
    code = error.sqlstate or ""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if code in _BY_CODE:
        return _BY_CODE[code](text)
    if code.startswith(_OF_THE_CALLER):
        return InvalidArgumentError(f"the server refuses: {text}")
    if is_lost or code.startswith(("08", "57P")):
        kind = SilentError if isinstance(error, SilentServerError) else ConnectionLostError
        return kind(f"the connection to the server was lost: {text}")
    if isinstance(error, psycopg.ProgrammingError) and not code:
        return InvalidArgumentError(f"that is no address of a server: {text}")
    if isinstance(error, psycopg.OperationalError) and not code:
        return UnavailableError(f"the server cannot be reached: {text}")
    return ConduitStoreError(f"the server reports {code or type(error).__name__}: {text}")


@contextmanager
def translating(is_lost: Callable[[], bool]) -> Iterator[None]:
    """Around what asks the server."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(error, is_lost=is_lost()) from error
