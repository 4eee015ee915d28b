"""The settings of a store on PostgreSQL: frozen, checked once, units in their names."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Durability

Dialect = Literal["postgresql", "yugabyte", "cockroach"]
SCHEMA_PATTERN = re.compile(r"[a-z_][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``open`` accepts beside the DSN."""

    schema: str = "conduitstore"
    """The PostgreSQL schema that holds everything: one database can have several stores."""

    pool_max: int = 16
    """How many connections at most. Each snapshot, each iterator over more than a page and each
    running call has one for itself."""

    connect_timeout_ms: int = 10_000
    """How long to wait for the server, and for a connection where all are in use. An answer is
    waited for as long beyond what its statement may take: then its connection is given up."""

    statement_timeout_ms: int = 60_000
    """How long one statement may take, or a few that are sent together."""

    lock_timeout_ms: int = 30_000
    """How long a transaction waits for those of other processes."""

    idle_timeout_ms: int = 60_000
    """How long a transaction may do nothing in the database: one whose process stopped in the
    middle is ended by the server after this, and no longer holds up the others. It is run again
    once, and where that takes as long ends with ``UnavailableError``."""

    retries_max: int = 10
    """How often a transaction is run again after a conflict or a lost connection."""

    durability: Durability = "interval"
    """``commit``: on the platter, and on those standbys that the server waits for, before a call
    returns. ``interval``: within ``flush_every_ms``. ``none``: whenever the server gets to it."""

    flush_every_ms: int | None = 500
    """How often a background thread syncs; None: never by itself, only ``flush`` and ``close``."""

    poll_ms: int = 1_000
    """How often a store with subscribers looks for commits of other processes that no notification
    told it of."""

    history_keep_total: int = 100_000
    """How many commits are kept for subscribers that were away."""

    history_keep_s: int = 24 * 60 * 60
    """How long they are kept at most."""

    idgen_persist_interval: int = 1_000
    """How many ids a process reserves at once; one that dies leaves so many unused."""

    create_new: bool = False
    """Refuse a schema that already holds a store."""

    read_only: bool = False
    """Change nothing; a standby will do."""

    dialect: Dialect | None = None
    """What the server is; None: ask it."""

    locks_row: bool | None = None
    """Whether writers line up at a row instead of an advisory lock; None: where the server has no
    advisory locks that do."""

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Self:
        """Settings from keyword arguments, unknown ones refused."""
        unknown = settings.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise InvalidArgumentError(
                f"a store on PostgreSQL has no setting {', '.join(sorted(unknown))}"
            )
        return cls(**settings)

    def __post_init__(self) -> None:
        _require("schema", self.schema, _is_schema(self.schema))
        _require("durability", self.durability, self.durability in get_args(Durability))
        _require("dialect", self.dialect, self.dialect in (None, *get_args(Dialect)))
        _require("locks_row", self.locks_row, self.locks_row in (None, True, False))
        for name in ("create_new", "read_only"):
            _require(name, getattr(self, name), isinstance(getattr(self, name), bool))
        _require("read_only", self.read_only, not (self.read_only and self.create_new))
        if self.flush_every_ms is not None:
            _require_int("flush_every_ms", self.flush_every_ms, 1)
        for name, lowest in _LOWEST.items():
            _require_int(name, getattr(self, name), lowest)


_LOWEST = {
    "pool_max": 3,  # A transaction's own, one that draws ids for it, and one to read beside it.
    "connect_timeout_ms": 1,
    "statement_timeout_ms": 1,
    "lock_timeout_ms": 1,
    "idle_timeout_ms": 1,
    "retries_max": 0,
    "poll_ms": 1,
    "history_keep_total": 1,
    "history_keep_s": 1,
    "idgen_persist_interval": 1,
}
_INT_MAX = (1 << 31) - 1


def _is_schema(name: object) -> bool:
    return isinstance(name, str) and SCHEMA_PATTERN.fullmatch(name) is not None


def _require(name: str, value: object, holds: bool) -> None:  # noqa: FBT001 - a condition
    if not holds:
        raise InvalidArgumentError(f"the setting {name} cannot be {value!r}")


def _require_int(name: str, value: object, lowest: int) -> None:
    _require(name, value, type(value) is int and lowest <= value <= _INT_MAX)
