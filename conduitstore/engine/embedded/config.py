"""The settings of a store: frozen, checked once, units in their names."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self, get_args

from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Durability
from conduitstore.operations import RecoveryMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``open`` accepts beside the path."""

    flush_every_ms: int | None = 500
    """How often a background thread syncs; None: never by itself, only ``flush`` and ``close``."""

    durability: Durability = "interval"
    """``commit``: on the platter before a call returns. ``interval``: in the kernel before it
    returns, so that a killed process loses nothing. ``none``: in memory until the next interval."""

    cache_capacity_bytes: int = 256 * 1024 * 1024
    """How much clean leaves and blobs may take in memory.

    A store makes its process larger by at most 1.15 times the sum of this, twice
    ``dirty_bytes_max`` and twice ``index_bytes`` of :meth:`stats`, and 6 MiB; beside that come one
    commit's own bytes and the leaves that it changes, under ``durability="none"`` the commits of
    one interval, and what iterators, snapshots and subscribers hold."""

    checkpoint_log_bytes: int = 64 * 1024 * 1024
    """How long the log may get before its commits are written into segments."""

    log_keep_bytes: int = 1024 * 1024
    """How much of the log is kept behind what recovery needs, for subscribers that were away."""

    dirty_bytes_max: int = 128 * 1024 * 1024
    """How much memory leaves may make dirty before they are written into segments. At twice this,
    or twice the log's bound, writers wait for the checkpoint."""

    compression_level: int = 3
    """zstd's level for leaves; 0 stores them as they are."""

    temporary: bool = False
    """Make a new store and delete it at close."""

    create_new: bool = False
    """Refuse a directory that already holds a store."""

    read_only: bool = False
    """Look, without a lock and without changing anything, also beside a process that writes."""

    recover: RecoveryMode = "strict"
    """What to do with damage that no crash explains, once what has a second copy is mended.
    ``strict``: refuse to open. ``prefix``: keep history up to where the log is damaged, or the
    newest manifest that still leads there.
    ``salvage``: read every byte, and keep whatever verifies. A store that is whole is opened as by
    ``strict``; of another, counts, ids and sequences go on far above all that there were, and the
    damaged files are kept under names that end in ``.damaged``: delete them when nobody wants to
    look at them any more. See ``recovery_report`` for what was lost."""

    idgen_persist_interval: int = 1_000_000
    """How many ids are reserved with one sync; an unclean end skips at most twice as many."""

    leaf_entries_max: int = 128
    """Entries in a leaf before it splits; tests shrink it so that rare shapes become common."""

    leaf_bytes_max: int = 16 * 1024
    """Bytes of keys and values in a leaf before it splits."""

    blob_bytes_min: int = 4 * 1024
    """A value of at least so many bytes lies outside its leaf, and is read when asked for."""

    segment_bytes_target: int = 64 * 1024 * 1024
    """A segment that has reached this length is followed by another."""

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Self:
        """Checked settings.

        Raises:
            InvalidArgumentError: an unknown name or a value out of range; names both.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise InvalidArgumentError(
                f"no such setting: {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        return cls(**settings)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _require("durability", self.durability, self.durability in get_args(Durability))
        _require("recover", self.recover, self.recover in get_args(RecoveryMode))
        _require("recover", self.recover, not (self.read_only and self.recover != "strict"))
        _require("temporary", self.temporary, isinstance(self.temporary, bool))
        _require("create_new", self.create_new, isinstance(self.create_new, bool))
        _require("read_only", self.read_only, isinstance(self.read_only, bool))
        makes_new = self.create_new or self.temporary
        _require("read_only", self.read_only, not (self.read_only and makes_new))
        if self.flush_every_ms is not None:
            _require_int("flush_every_ms", self.flush_every_ms, 1)
        for name, lowest in _LOWEST.items():
            _require_int(name, getattr(self, name), lowest)
        _require("compression_level", self.compression_level, self.compression_level <= 22)


_LOWEST = {
    "cache_capacity_bytes": 0,
    "checkpoint_log_bytes": 1,
    "log_keep_bytes": 0,
    "compression_level": 0,
    "dirty_bytes_max": 1,
    "idgen_persist_interval": 1,
    "leaf_entries_max": 3,
    "leaf_bytes_max": 64,
    "blob_bytes_min": 1,
    "segment_bytes_target": 1,
}


def _require(name: str, value: object, holds: bool) -> None:  # noqa: FBT001 - a condition
    if not holds:
        raise InvalidArgumentError(f"the setting {name} cannot be {value!r}")


def _require_int(name: str, value: object, lowest: int) -> None:
    _require(name, value, type(value) is int and value >= lowest)
