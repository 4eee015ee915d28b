"""One-time keys, each handed out once, and the fallback keys for when there is none.

- The commit that hands a key out has removed it, and is on the platter before anybody gets the key:
  neither a second caller nor a crash brings it back.
- Keys are handed out in the order of their upload (MSC4225), within one upload by name. Conduit's
  order is that of the names alone.
- A device has at most :data:`ONE_TIME_KEYS_MAX` keys of an algorithm; more push out the oldest.
- A key's id is ``algorithm:name``. The key is an object, or text for an unsigned one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from conduitstore.codec.keys import encode_id
from conduitstore.codec.values import (
    EMPTY,
    pack_json,
    pack_u64,
    unpack_json,
    unpack_json_object,
    unpack_u64,
)
from conduitstore.errors import CorruptedError, InvalidArgumentError, shown
from conduitstore.parts.arguments import listed
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import Count, DeviceId, JsonObject, UserId

ONE_TIME_KEYS_MAX = 256

_KEY = TREES["onetimekeyid_onetimekeys"].key
_UPLOAD = TREES["onetimekeyuploads"].key
_FALLBACK = TREES["userdeviceidalgorithm_fallback"].key
_USER = TREES["userid_lastonetimekeyupdate"].key.pack

Key = JsonObject | str


@dataclass(frozen=True, slots=True)
class ClaimedKey:
    """A key to begin an encrypted conversation with.

    Attributes:
        key_id: ``algorithm:name``.
        is_fallback: whether others may get the same key.
    """

    key_id: str
    key: Key
    is_fallback: bool


class DevicesThere(Protocol):
    """What one-time keys need to know of devices."""

    def exists(self, user: UserId, device: DeviceId) -> bool: ...


class OneTimeKeysNear(Near, Protocol):
    """The devices that have the keys."""

    @property
    def devices(self) -> DevicesThere: ...


class OneTimeKeys(Part[OneTimeKeysNear]):
    """Trees: ``onetimekeyid_onetimekeys`` and its order, ``onetimekeyuploads``.

    Also ``userdeviceidalgorithm_fallback`` and ``userid_lastonetimekeyupdate``.
    """

    _keys = TreeOf("onetimekeyid_onetimekeys")
    _uploads = TreeOf("onetimekeyuploads")
    _fallbacks = TreeOf("userdeviceidalgorithm_fallback")
    _updates = TreeOf("userid_lastonetimekeyupdate")

    @atomic
    def add(self, user: UserId, device: DeviceId, keys: Mapping[str, Key]) -> None:
        """Store a device's new keys, id to key. An id that is there keeps its turn.

        Source: Conduit, add_one_time_key, which draws a count for each and bounds nothing; the
        forks, add_one_time_keys.

        Raises:
            InvalidArgumentError: no such device, or something that is no key; none is stored.
        """
        self._check_exists(user, device)
        if not isinstance(keys, Mapping):
            raise InvalidArgumentError("one-time keys are an object of keys by their ids")
        if not keys:
            return
        count = self._touch({user})
        for key_id, key in keys.items():
            algorithm, name = _split(key_id)
            if self._keys.insert(_row(user, device, key_id), _pack(key)) is None:
                self._uploads.put(_UPLOAD.pack(user, device, algorithm, count, name), EMPTY)
        self.prune(user, device)

    @atomic
    def prune(self, user: UserId, device: DeviceId, keep: int = ONE_TIME_KEYS_MAX) -> int:
        """Drop the oldest keys beyond ``keep`` of each algorithm; gives how many those are.

        Source: tuwunel, prune_one_time_keys.
        """
        if type(keep) is not int or keep < 0:
            raise InvalidArgumentError(f"how many keys to keep is 0 or more, not {shown(keep)}")
        dropped = 0
        for algorithm, total in self.counts(user, device).items():
            if total > keep:
                prefix = _UPLOAD.prefix(user, device, algorithm)
                for upload in list(self._uploads.keys(prefix, limit=total - keep)):
                    self._take(user, device, upload)
                dropped += total - keep
        if dropped:
            self._touch({user})
        return dropped

    @atomic(durability="commit")
    def claim(self, user: UserId, device: DeviceId, algorithm: str) -> ClaimedKey | None:
        """Hand out the device's oldest key, or its fallback key; None where there is neither.

        On the platter before it returns. Source: Conduit, take_one_time_key, which gives one key to
        two who ask at once; tuwunel, take_fallback_key.
        """
        return self._claim([(user, device, algorithm)])[0]

    @atomic(durability="commit")
    def claim_many(self, wanted: Iterable[tuple[UserId, DeviceId, str]]) -> list[ClaimedKey | None]:
        """:meth:`claim` for each (user, device, algorithm), in their order, as one commit."""
        return self._claim(wanted)

    def _claim(self, wanted: Iterable[tuple[UserId, DeviceId, str]]) -> list[ClaimedKey | None]:
        claimed: list[ClaimedKey | None] = []
        changed = set()
        for user, device, algorithm in listed(wanted, "devices"):
            key = self._claim_oldest(user, device, algorithm)
            if key is not None or self._use_fallback(user, device, algorithm):
                changed.add(user)
            claimed.append(key or self._fallback_key(user, device, algorithm))
        if changed:
            self._touch(changed)
        return claimed

    def _claim_oldest(self, user: UserId, device: DeviceId, algorithm: str) -> ClaimedKey | None:
        for upload in list(self._uploads.keys(_UPLOAD.prefix(user, device, algorithm), limit=1)):
            key_id, value = self._take(user, device, upload)
            return ClaimedKey(key_id, unpack_json("onetimekeyid_onetimekeys", value), False)
        return None

    def _take(self, user: UserId, device: DeviceId, upload: bytes) -> tuple[str, bytes]:
        """Remove the key that a row of the order stands for; gives its id and value."""
        _, _, algorithm, _, name = _UPLOAD.unpack(upload)
        key_id = f"{algorithm}:{name}"
        self._uploads.put(upload, None)
        value = self._keys.remove(_row(user, device, key_id))
        if value is None:
            raise CorruptedError("onetimekeyuploads", 0, f"{upload!r} stands for no key")
        return key_id, value

    def _touch(self, users: Iterable[UserId]) -> Count:
        count = self._near.globals.draw()
        for user in users:
            self._updates.put(_USER(user), pack_u64(count))
        return count

    def _check_exists(self, user: UserId, device: DeviceId) -> None:
        if not self._near.devices.exists(user, device):
            raise InvalidArgumentError(f"{user} has no device {shown(device)}")

    def counts(self, user: UserId, device: DeviceId) -> dict[str, int]:
        """How many keys the device has left, by algorithm. Cost: one scan of them.

        Source: Conduit, count_one_time_keys, which counts other devices' keys too.
        """
        uploads = self._uploads.keys(_UPLOAD.prefix(user, device))
        return dict(Counter(_UPLOAD.unpack(key)[2] for key in uploads))

    def last_update(self, user: UserId) -> Count:
        """When a device of the user last got or lost a key; 0 if never.

        Source: Conduit, last_one_time_keys_update.
        """
        value = self._updates.get(_USER(user))
        return Count(0 if value is None else unpack_u64("userid_lastonetimekeyupdate", value))

    # Fallback keys ------------------------------------------------------------------------------
    @atomic
    def add_fallback(self, user: UserId, device: DeviceId, key_id: str, key: Key) -> None:
        """Replace the device's fallback key of an algorithm. The same key again stays used.

        Source: tuwunel, add_fallback_key.

        Raises:
            InvalidArgumentError: no such device, or this is no key.
        """
        self._check_exists(user, device)
        _pack(key)
        algorithm, _ = _split(key_id)
        new = {"key_id": key_id, "key": key, "used": False}
        old = self._fallback(user, device, algorithm)
        if old is None or (old["key_id"], old["key"]) != (key_id, key):
            self._fallbacks.put(_FALLBACK.pack(user, device, algorithm), pack_json(new))
            self._touch([user])

    def unused_fallback_algorithms(self, user: UserId, device: DeviceId) -> list[str]:
        """The algorithms whose fallback key nobody was given yet.

        Source: tuwunel, unused_fallback_key_algorithms.
        """
        return [
            _FALLBACK.unpack(key)[2]
            for key, value in self._fallbacks.scan_prefix(_FALLBACK.prefix(user, device))
            if not _unpack_fallback(value)["used"]
        ]

    def _use_fallback(self, user: UserId, device: DeviceId, algorithm: str) -> bool:
        """Mark the fallback key as used; False where that changes nothing."""
        fallback = self._fallback(user, device, algorithm)
        if fallback is None or fallback["used"]:
            return False
        key = _FALLBACK.pack(user, device, algorithm)
        self._fallbacks.put(key, pack_json(fallback | {"used": True}))
        return True

    def _fallback_key(self, user: UserId, device: DeviceId, algorithm: str) -> ClaimedKey | None:
        found = self._fallback(user, device, algorithm)
        return None if found is None else ClaimedKey(found["key_id"], found["key"], True)

    def _fallback(self, user: UserId, device: DeviceId, algorithm: str) -> JsonObject | None:
        value = self._fallbacks.get(_FALLBACK.pack(user, device, algorithm))
        return None if value is None else _unpack_fallback(value)

    # A device that goes -------------------------------------------------------------------------
    @atomic
    def forget_device(self, user: UserId, device: DeviceId) -> int:
        """Drop all keys of a device; gives how many one-time keys there were."""
        self._fallbacks.remove_prefix(_FALLBACK.prefix(user, device))
        self._uploads.remove_prefix(_UPLOAD.prefix(user, device))
        return self._keys.remove_prefix(_KEY.prefix(user, device))


def _split(key_id: str) -> tuple[str, str]:
    algorithm, _, name = key_id.partition(":") if isinstance(key_id, str) else ("", "", "")
    if not algorithm or not name:
        raise InvalidArgumentError(f"a key's id is algorithm:name, not {shown(key_id)}")
    encode_id(_quoted(key_id))  # Of a fallback key too, which has no row of its own.
    return algorithm, name


def _quoted(key_id: str) -> str:
    return json.dumps(key_id, ensure_ascii=False)


def _row(user: UserId, device: DeviceId, key_id: str) -> bytes:
    return _KEY.pack(user, device, _quoted(key_id))


def _pack(key: Key) -> bytes:
    if not isinstance(key, dict | str):
        raise InvalidArgumentError(f"a one-time key is an object or text, not {shown(key)}")
    return pack_json(key)


def _unpack_fallback(value: bytes) -> JsonObject:
    return unpack_json_object("userdeviceidalgorithm_fallback", value, "key_id", "key", "used")
