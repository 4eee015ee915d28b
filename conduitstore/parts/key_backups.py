"""Backups of room keys: what a client encrypts and leaves here for its other devices.

- A version is the decimal text of a count, and the newest is the greatest number. (Conduit compares
  the texts, so that 99 is newer than 100.)
- The etag of a backup changes with every change of it, deletes included, and with nothing else.
- How many keys there are is kept beside them: an upload counts nothing.
- The keys are the user's own, so they stay when the room is purged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from conduitstore.codec.values import (
    pack_json_object,
    pack_u64,
    unpack_json_object,
    unpack_u64,
)
from conduitstore.errors import CorruptedError, InvalidArgumentError, shown
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent
from conduitstore.schema import TREES
from conduitstore.types import BackupVersion, Etag, JsonObject, RoomId, SessionId, UserId

_BACKUP = TREES["backupid_algorithm"].key
_KEY = TREES["backupkeyid_backup"].key

M = TypeVar("M", bound=Mapping[Any, Any])

RoomKeys = dict[SessionId, JsonObject]
"""The keys of one room by session."""


class KeyBackups(Part[Near]):
    """Trees: ``backupid_algorithm``, ``_etag`` and ``_keystotal``; ``backupkeyid_backup``.

    Algorithm and key are JSON objects, as the client API has them.
    """

    _algorithms = TreeOf("backupid_algorithm")
    _etags = TreeOf("backupid_etag")
    _totals = TreeOf("backupid_keystotal")
    _keys = TreeOf("backupkeyid_backup")

    # Backups ------------------------------------------------------------------------------------
    @atomic
    def create(self, user: UserId, algorithm: JsonObject) -> BackupVersion:
        """Begin a new backup. Source: Conduit, create_backup."""
        value = pack_json_object(algorithm)
        count = self._near.globals.draw()
        version = BackupVersion(str(count))
        key = _BACKUP.pack(user, version)
        self._algorithms.put(key, value)
        self._etags.put(key, pack_u64(count))
        self._totals.put(key, pack_u64(0))
        return version

    @atomic
    def update(self, user: UserId, version: BackupVersion, algorithm: JsonObject) -> None:
        """Replace a backup's algorithm. Source: Conduit, update_backup.

        Raises:
            InvalidArgumentError: there is no such backup.
        """
        key = self._check_exists(user, version)
        self._algorithms.put(key, pack_json_object(algorithm))
        self._touch(key)

    @atomic
    def delete(self, user: UserId, version: BackupVersion) -> bool:
        """Drop a backup with its keys; False if there was none. Source: Conduit, delete_backup."""
        key = _BACKUP.pack(user, version)
        self._etags.put(key, None)
        self._totals.put(key, None)
        self._keys.remove_prefix(_KEY.prefix(user, version))
        return self._algorithms.remove(key) is not None

    def latest_version(self, user: UserId) -> BackupVersion | None:
        """The newest backup's version. Cost: a scan of the user's backups.

        Source: Conduit, get_latest_backup_version.
        """
        keys = self._algorithms.keys(_BACKUP.prefix(user))
        return max((_BACKUP.unpack(key)[1] for key in keys), key=_number_of, default=None)

    @consistent
    def latest(self, user: UserId) -> tuple[BackupVersion, JsonObject] | None:
        """The newest backup's version and algorithm. Source: Conduit, get_latest_backup."""
        version = self.latest_version(user)
        algorithm = None if version is None else self.algorithm(user, version)
        return None if version is None or algorithm is None else (version, algorithm)

    def algorithm(self, user: UserId, version: BackupVersion) -> JsonObject | None:
        """A backup's algorithm and auth data. Source: Conduit, get_backup."""
        value = self._algorithms.get(_BACKUP.pack(user, version))
        return None if value is None else unpack_json_object("backupid_algorithm", value)

    def etag(self, user: UserId, version: BackupVersion) -> Etag | None:
        """What changes with the backup. Source: Conduit, get_etag."""
        value = self._etags.get(_BACKUP.pack(user, version))
        return None if value is None else Etag(str(unpack_u64("backupid_etag", value)))

    def total(self, user: UserId, version: BackupVersion) -> int:
        """How many keys a backup holds. Source: Conduit, count_keys, which adds its neighbours'."""
        value = self._totals.get(_BACKUP.pack(user, version))
        return 0 if value is None else unpack_u64("backupid_keystotal", value)

    # Keys ---------------------------------------------------------------------------------------
    @atomic
    def add_keys(
        self,
        user: UserId,
        version: BackupVersion,
        keys: Mapping[RoomId, Mapping[SessionId, JsonObject]],
        *,
        only_better: bool = False,
    ) -> int:
        """Store keys, replacing those that are there; gives how many were stored.

        With ``only_better`` a key is replaced by a better one only, as the specification asks: see
        :func:`is_better`. Source: Conduit, add_key.

        Raises:
            InvalidArgumentError: there is no such backup, or a key is no object; none is stored.
        """
        backup = self._check_exists(user, version)
        stored = added = 0
        for room, sessions in _checked(keys).items():
            for session, data in _checked(sessions).items():
                row, value = _KEY.pack(user, version, room, session), pack_json_object(data)
                old = self._keys.get(row)
                if only_better and old is not None and not is_better(data, _unpack(old)):
                    continue
                self._keys.put(row, value)
                stored += 1
                added += old is None
        self._changed(backup, stored, added)
        return stored

    @atomic
    def delete_keys(
        self,
        user: UserId,
        version: BackupVersion,
        room: RoomId | None = None,
        session: SessionId | None = None,
    ) -> int:
        """Drop the keys of a backup, of one room, or of one session; gives how many there were.

        Source: Conduit, delete_all_keys, delete_room_keys, and delete_room_key, which takes every
        session whose id begins like this one.
        """
        if session is None:
            scope = [] if room is None else [room]
            dropped = self._keys.remove_prefix(_KEY.prefix(user, version, *scope))
        elif room is None:
            raise InvalidArgumentError("a session is of a room: say which")
        else:
            dropped = int(self._keys.remove(_KEY.pack(user, version, room, session)) is not None)
        self._changed(_BACKUP.pack(user, version), dropped, -dropped)
        return dropped

    def all_keys(self, user: UserId, version: BackupVersion) -> dict[RoomId, RoomKeys]:
        """Every key by room and session. Source: Conduit, get_all."""
        found: dict[RoomId, RoomKeys] = {}
        for key, value in self._keys.scan_prefix(_KEY.prefix(user, version)):
            _, _, room, session = _KEY.unpack(key)
            found.setdefault(room, {})[session] = _unpack(value)
        return found

    def room_keys(self, user: UserId, version: BackupVersion, room: RoomId) -> RoomKeys:
        """The keys of one room by session. Source: Conduit, get_room."""
        return {
            _KEY.unpack(key)[3]: _unpack(value)
            for key, value in self._keys.scan_prefix(_KEY.prefix(user, version, room))
        }

    def key(
        self, user: UserId, version: BackupVersion, room: RoomId, session: SessionId
    ) -> JsonObject | None:
        """The key of one session. Source: Conduit, get_session."""
        value = self._keys.get(_KEY.pack(user, version, room, session))
        return None if value is None else _unpack(value)

    def _check_exists(self, user: UserId, version: BackupVersion) -> bytes:
        key = _BACKUP.pack(user, version)
        if not self._algorithms.contains_key(key):
            raise InvalidArgumentError(f"{user} has no key backup {shown(version)}")
        return key

    def _changed(self, backup: bytes, total: int, difference: int) -> None:
        """Note that ``total`` keys were written or removed, and how many more there are now."""
        if not total:
            return
        self._touch(backup)
        before = self._totals.get(backup)
        known = 0 if before is None else unpack_u64("backupid_keystotal", before)
        self._totals.put(backup, pack_u64(known + difference))

    def _touch(self, backup: bytes) -> None:
        self._etags.put(backup, pack_u64(self._near.globals.draw()))


def is_better(new: JsonObject, old: JsonObject) -> bool:
    """Whether a key replaces another one of its session.

    Verified beats unverified; then the one that opens more messages (the lower
    ``first_message_index``), then the one that went through fewer hands (``forwarded_count``).
    """
    return _rank(new) < _rank(old)


def _rank(data: JsonObject) -> tuple[bool, float, float]:
    return (
        data.get("is_verified") is not True,
        _number(data.get("first_message_index")),
        _number(data.get("forwarded_count")),
    )


def _number_of(version: BackupVersion) -> int:
    if not version.isdecimal():
        raise CorruptedError("backupid_algorithm", 0, f"{version!r} is no version of a backup")
    return int(version)


def _number(value: object) -> float:
    return value if type(value) is int else math.inf


def _checked(keys: M) -> M:
    if not isinstance(keys, Mapping):
        raise InvalidArgumentError("keys are an object of rooms, each an object of sessions")
    return keys


def _unpack(value: bytes) -> JsonObject:
    return unpack_json_object("backupkeyid_backup", value)
