"""The PostgreSQL engine: the same store in a database that many processes, and machines, share."""

from __future__ import annotations

from typing import Any

from .config import Settings
from .connections import Pool
from .database import Store, give_up, new_holder
from .opening import open_schema

__all__ = ["Settings", "Store", "open"]


def open(dsn: str, **settings: Any) -> Store:
    """Open the store in a PostgreSQL database, making it where there is none.

    Args:
        dsn: as libpq takes it: ``postgresql://user@host/database``, with whatever options.
        settings: see :class:`Settings`.

    Raises:
        InvalidArgumentError: a wrong setting, or a server that refuses what was asked.
        UnsupportedFormatError: the schema holds something else, or a newer release's store.
        UnavailableError: there is no server.
    """
    checked, holder = Settings.of(settings), new_holder()
    pool = Pool(dsn, checked, f"conduitstore {holder}")
    try:
        return Store(pool, checked, open_schema(pool, checked, holder), holder)
    except BaseException:
        give_up(pool)
        raise
