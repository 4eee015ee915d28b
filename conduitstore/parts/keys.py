"""Device keys, cross-signing keys and signatures on both.

- Both kinds lie in one tree, under the user: a device's keys by its id, a cross-signing key by its
  public key. A device may call itself what a public key looks like; its row has one more ``=``.
- The three cross-signing keys of a user have different public keys. One that is replaced goes.
- Every change is announced, in the commit that makes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal, Protocol, get_args

from conduitstore.codec.values import pack_json_object, unpack_json_object
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import Tree
from conduitstore.parts.arguments import listed
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent, explained
from conduitstore.schema import TREES
from conduitstore.types import Count, DeviceId, JsonObject, PublicKey, UserId

Role = Literal["master", "self_signing", "user_signing"]
"""What a cross-signing key is for."""
_ROLES: tuple[Role, ...] = get_args(Role)

_KEY = TREES["keyid_key"].key
_USER = TREES["userid_masterkeyid"].key.pack

_PUBLIC_KEY = re.compile(r"[A-Za-z0-9+/]{43}")
_LOOKS_LIKE_ONE = re.compile(r"[A-Za-z0-9+/]{43}=*")


class DevicesThere(Protocol):
    """What keys need to know of devices."""

    def exists(self, user: UserId, device: DeviceId) -> bool: ...


class Announcements(Protocol):
    """Where it is said that a user has new keys."""

    def mark(self, user: UserId) -> Count: ...


class KeysNear(Near, Protocol):
    """The devices that have keys, and those who hear of a change."""

    @property
    def devices(self) -> DevicesThere: ...
    @property
    def key_changes(self) -> Announcements: ...


def nobody(_signer: UserId) -> bool:
    """Admits no signature but the owner's."""
    return False


class Keys(Part[KeysNear]):
    """Trees: ``keyid_key``, and three that say where the cross-signing keys are.

    Keys are JSON objects, as the client API has them.
    """

    _keys = TreeOf("keyid_key")
    _masters = TreeOf("userid_masterkeyid")
    _self_signings = TreeOf("userid_selfsigningkeyid")
    _user_signings = TreeOf("userid_usersigningkeyid")

    def _pointers(self, role: Role) -> Tree:
        match role:
            case "master":
                return self._masters
            case "self_signing":
                return self._self_signings
            case "user_signing":
                return self._user_signings

    # Device keys --------------------------------------------------------------------------------
    @atomic
    def add_device_keys(self, user: UserId, device: DeviceId, keys: JsonObject) -> Count:
        """Replace a device's identity keys and announce it.

        Source: Conduit, add_device_keys, which takes keys of devices that are gone.

        Raises:
            InvalidArgumentError: no such device, or the keys are no object.
        """
        if not self._near.devices.exists(user, device):
            raise InvalidArgumentError(f"{user} has no device {shown(device)}")
        self._keys.put(_device_key(user, device), _pack(keys))
        return self._near.key_changes.mark(user)

    def device_keys(self, user: UserId, device: DeviceId) -> JsonObject | None:
        """A device's identity keys, every signature included. Source: Conduit, get_device_keys."""
        return _unpack(self._keys.get(_device_key(user, device)))

    @explained
    def device_keys_many(
        self, devices: Iterable[tuple[UserId, DeviceId]]
    ) -> list[JsonObject | None]:
        """:meth:`device_keys` of many devices, in their order, from one state."""
        keys = [_device_key(user, device) for user, device in listed(devices, "devices")]
        return [_unpack(value) for value in self._keys.get_many(keys)]

    @atomic
    def forget_device(self, user: UserId, device: DeviceId) -> bool:
        """Drop the keys of a device that goes and announce it; False if there were none."""
        had_keys = self._keys.remove(_device_key(user, device)) is not None
        if had_keys:
            self._near.key_changes.mark(user)
        return had_keys

    # Cross-signing ------------------------------------------------------------------------------
    @atomic(durability="commit")
    def add_cross_signing_keys(
        self,
        user: UserId,
        master: JsonObject,
        self_signing: JsonObject | None = None,
        user_signing: JsonObject | None = None,
        *,
        notify: bool = True,
    ) -> None:
        """Replace the keys that are given, all or none. On the platter before it returns.

        ``notify`` announces the change. Source: Conduit, add_cross_signing_keys, which has stored
        the first by the time it finds fault with the second.

        Raises:
            InvalidArgumentError: one is no object with exactly one public key, or two are the same.
        """
        given: list[tuple[Role, JsonObject | None]] = [
            ("self_signing", self_signing),
            ("user_signing", user_signing),
        ]
        new: dict[Role, JsonObject] = {"master": master}
        new |= {role: keys for role, keys in given if keys is not None}
        packed = {role: _pack(keys) for role, keys in new.items()}
        rows = {role: _KEY.pack(user, public_key_of(keys)) for role, keys in new.items()}
        old = {role: self._pointers(role).get(_USER(user)) for role in _ROLES}
        now = [rows.get(role, old[role]) for role in _ROLES]
        _check_different(now)
        for gone in {key for key in old.values() if key is not None} - set(now):
            self._keys.put(gone, None)
        for role, key in rows.items():
            self._pointers(role).insert(_USER(user), key)
            self._keys.put(key, packed[role])
        if notify:
            self._near.key_changes.mark(user)

    def master_key(
        self, user: UserId, allowed: Callable[[UserId], bool] = nobody
    ) -> JsonObject | None:
        """The user's master key with the signatures the asker may see.

        Those are the owner's, and those of signers that ``allowed`` admits: the asker, or for
        another server its users. Source: Conduit, get_master_key.
        """
        return self._cross_signing_key(user, "master", allowed)

    def self_signing_key(
        self, user: UserId, allowed: Callable[[UserId], bool] = nobody
    ) -> JsonObject | None:
        """The key that signs the user's own devices. Source: Conduit, get_self_signing_key."""
        return self._cross_signing_key(user, "self_signing", allowed)

    def user_signing_key(self, user: UserId) -> JsonObject | None:
        """The key that signs other users, for its owner only.

        Source: Conduit, get_user_signing_key.
        """
        return self._cross_signing_key(user, "user_signing", lambda _: True)

    @consistent
    def _cross_signing_key(
        self, user: UserId, role: Role, allowed: Callable[[UserId], bool]
    ) -> JsonObject | None:
        key = self._pointers(role).get(_USER(user))
        return None if key is None else _visible(_unpack(self._keys.get(key)), user, allowed)

    # Either kind --------------------------------------------------------------------------------
    @consistent
    def key(
        self, user: UserId, key_id: str, allowed: Callable[[UserId], bool] = nobody
    ) -> JsonObject | None:
        """The user's cross-signing key of this public key, or else that device's keys.

        Signatures as for :meth:`master_key`. Source: Conduit, get_key.
        """
        return _visible(_unpack(self._find(user, key_id)[1]), user, allowed)

    @atomic(durability="commit")
    def sign(
        self, user: UserId, key_id: str, signer: UserId, signing_key_id: str, signature: str
    ) -> Count:
        """Add a signature to a key of ``user`` and announce it. On the platter before it returns.

        ``key_id`` is as for :meth:`key`, ``signing_key_id`` as ``ed25519:...``.
        Source: Conduit, sign_key, which loses one of two signatures added at once.

        Raises:
            InvalidArgumentError: no such key.
        """
        key, value = self._find(user, key_id)
        keys = _unpack(value)
        if keys is None:
            raise InvalidArgumentError(f"{user} has no key {shown(key_id)}")
        if not all(isinstance(text, str) for text in (signer, signing_key_id, signature)):
            raise InvalidArgumentError("a signature is text, and so are its signer and its key")
        keys.setdefault("signatures", {}).setdefault(signer, {})[signing_key_id] = signature
        self._keys.put(key, _pack(keys))
        return self._near.key_changes.mark(user)

    def _find(self, user: UserId, key_id: str) -> tuple[bytes, bytes | None]:
        """Where a key is, and its value."""
        key = _KEY.pack(user, key_id)
        value = self._keys.get(key) if _PUBLIC_KEY.fullmatch(key_id) else None
        if value is None:
            key = _device_key(user, DeviceId(key_id))
            value = self._keys.get(key)
        return key, value


def public_key_of(keys: JsonObject) -> PublicKey:
    """The one public key in a cross-signing key: 43 characters of unpadded base64.

    Source: Conduit, parse_master_key.
    """
    found = keys.get("keys") if isinstance(keys, dict) else None
    values = list(found.values()) if isinstance(found, dict) else []
    if len(values) == 1 and isinstance(values[0], str) and _PUBLIC_KEY.fullmatch(values[0]):
        return PublicKey(values[0])
    raise InvalidArgumentError("a cross-signing key is an object with exactly one public key")


def _check_different(keys: Iterable[bytes | None]) -> None:
    there = [key for key in keys if key is not None]
    if len(set(there)) < len(there):
        raise InvalidArgumentError("a user's cross-signing keys must differ from each other")


def _device_key(user: UserId, device: DeviceId) -> bytes:
    if isinstance(device, str) and _LOOKS_LIKE_ONE.fullmatch(device):
        return _KEY.pack(user, device + "=")
    return _KEY.pack(user, device)


def _pack(keys: JsonObject) -> bytes:
    value = pack_json_object(keys)
    signatures = keys.get("signatures", {})
    by_signer = signatures.values() if isinstance(signatures, dict) else [None]
    if not all(isinstance(signed, dict) for signed in by_signer):
        raise InvalidArgumentError("signatures are an object of users, each an object of keys")
    return value


def _unpack(value: bytes | None) -> JsonObject | None:
    return None if value is None else unpack_json_object("keyid_key", value)


def _visible(
    keys: JsonObject | None, owner: UserId, allowed: Callable[[UserId], bool]
) -> JsonObject | None:
    """``keys`` without the signatures that the asker may not see."""
    if keys is not None and "signatures" in keys:
        keys["signatures"] = {
            signer: signed
            for signer, signed in keys["signatures"].items()
            if signer == owner or allowed(signer)
        }
    return keys
