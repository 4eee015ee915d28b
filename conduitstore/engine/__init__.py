"""Engines: ordered bytes kept safe. None of them has ever heard of a user."""

from __future__ import annotations

import os
from typing import Any

from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Batch, Database

from .copying import Copied, copy
from .memory import MemoryDatabase

__all__ = ["Batch", "Copied", "copy", "open"]

MEMORY = ":memory:"


def open(path: str | os.PathLike[str], **settings: Any) -> Database:
    """Open the store in the directory ``path``, creating it where there is none.

    Args:
        path: a directory; ``":memory:"`` for a store that is gone when it is closed;
            ``"postgresql://..."`` for one in a database.
        settings: those of :func:`conduitstore.engine.embedded.open` or
            :class:`conduitstore.engine.postgres.Settings`; none in memory.

    Raises:
        InvalidArgumentError: a setting that engine does not have, or no engine for this path.
        LockedError: another holder has the directory open for writing.
    """
    if path == MEMORY:
        if settings:
            raise InvalidArgumentError(f"in memory there are no settings: {', '.join(settings)}")
        return MemoryDatabase()
    if isinstance(path, str) and path.startswith(("postgresql://", "postgres://")):
        return _open_postgres(path, settings)
    from .embedded import open as open_embedded  # noqa: PLC0415  # in memory needs none of it

    return open_embedded(path, **settings)


def _open_postgres(dsn: str, settings: dict[str, Any]) -> Database:
    try:
        from .postgres import open as open_postgres  # noqa: PLC0415  # needs psycopg
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("psycopg"):
            raise
        raise InvalidArgumentError(
            "a store on PostgreSQL needs psycopg: pip install 'conduitstore[postgres]'"
        ) from error
    return open_postgres(dsn, **settings)
