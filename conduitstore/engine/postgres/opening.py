"""Opening: what is in the schema, making it where there is nothing, refusing what is not ours."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import psycopg

from conduitstore.errors import ConduitStoreError, InvalidArgumentError, UnsupportedFormatError
from conduitstore.kv import DEFAULT_TREE

from . import sql
from .catalog import Catalog
from .config import Dialect, Settings
from .connections import Pool, Row, Statement
from .counters import COUNT_STEP
from .faults import MissingTableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What there was."""

    store_id: int
    sequence: int
    count: int
    catalog: Catalog
    ceiling: int
    dialect: Dialect
    is_standby: bool
    was_recovered: bool
    """Whether a process that had it open is gone without closing it."""


def lock_key(schema: str) -> int:
    """The advisory lock of the store in this schema, as a signed 64-bit number."""
    digest = hashlib.sha256(f"conduitstore {schema}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def channel(schema: str) -> str:
    """Where commits to the store in this schema are notified."""
    return f"conduitstore {schema}"


def open_schema(pool: Pool, settings: Settings, holder: str) -> Opened:
    """Look, and make the store where there is none; one round trip where there is one.

    Raises:
        InvalidArgumentError: there is none and it must not be made, or one that must not be there.
        UnsupportedFormatError: the schema holds something else, or a newer release's.
    """
    if settings.create_new:
        _create(pool, settings, refuses=True)
    try:
        return _look(pool, settings, holder)
    except MissingTableError as error:
        if settings.read_only:
            raise InvalidArgumentError(f"there is no store in schema {settings.schema}") from error
    _create(pool, settings, refuses=False)
    return _look(pool, settings, holder)


def _look(pool: Pool, settings: Settings, holder: str) -> Opened:
    statements: list[Statement] = [
        (query, ()) for query in (sql.META, sql.NEWEST, sql.TREES, sql.CEILING, sql.SERVER)
    ]
    if not settings.read_only:
        statements += [(sql.DELETE_DEAD_HOLDERS, ()), (sql.INSERT_HOLDER, [holder])]
    try:
        meta, newest, trees, ceiling, server, *dead = pool.run(statements)
    except ConduitStoreError as error:
        if isinstance(error.__cause__, psycopg.errors.UndefinedColumn):
            raise _foreign(settings.schema) from error
        raise
    store_id = _checked(meta, settings)
    sequence, count, version, _ = newest[0]
    text, _, is_standby = server[0]
    return Opened(
        store_id=store_id,
        sequence=sequence,
        count=count,
        catalog=Catalog.of(version, trees),
        ceiling=ceiling[0][0],
        dialect=settings.dialect or _dialect(text),
        is_standby=is_standby,
        was_recovered=bool(dead and dead[0]),
    )


def _checked(meta: list[Row], settings: Settings) -> int:
    if len(meta) != 1 or not all(isinstance(field, int) for field in meta[0]):
        raise _foreign(settings.schema)
    version, store_id = meta[0]
    if version != sql.FORMAT_VERSION:
        raise UnsupportedFormatError(
            f"schema {settings.schema} has format {version}, and this version reads format "
            f"{sql.FORMAT_VERSION} only: upgrade"
        )
    return int(store_id)


def _foreign(schema: str) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        f"schema {schema} holds something that is no store: choose another with schema="
    )


def _dialect(version: str) -> Dialect:
    if "CockroachDB" in version:
        return "cockroach"
    return "yugabyte" if "-YB-" in version else "postgresql"


def _create(pool: Pool, settings: Settings, *, refuses: bool) -> None:
    """Make an empty store as one transaction, unless another process just did."""
    with pool.session() as session:
        if session.rows(sql.RELATIONS, [settings.schema])[0][0]:
            if refuses:
                raise InvalidArgumentError(f"schema {settings.schema} already holds a store")
            if not session.rows(sql.HAS_META, [settings.schema])[0][0]:
                raise _foreign(settings.schema)
            return
        version = session.rows(sql.VERSION)[0][0]
        is_plain = (settings.dialect or _dialect(version)) == "postgresql"
        text = sql.CREATE.format(
            lock=lock_key(settings.schema),
            schema=settings.schema,
            unlogged="UNLOGGED" if is_plain else "",
            storage=sql.NOT_COMPRESSED if is_plain else "",
            format=sql.FORMAT_VERSION,
            store_id=secrets.randbits(63),
            epoch=secrets.randbits(63),
            default_tree=DEFAULT_TREE,
            counts=COUNT_STEP,
        )
        try:
            session.script(text.encode())
        except ConduitStoreError as error:
            if refuses or not isinstance(error.__cause__, psycopg.errors.DuplicateTable):
                raise
