"""Devices and their access tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from conduitstore.codec.keys import FOLDED, check_u64, encode_id, fold
from conduitstore.codec.values import (
    checked_text,
    pack_json,
    pack_text,
    pack_u64,
    unpack_json_object,
    unpack_text,
    unpack_u64,
)
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.parts.clock import now_ms
from conduitstore.parts.part import Near, Part, TreeOf, atomic, explained
from conduitstore.schema import TREES
from conduitstore.types import AccessToken, DeviceId, JsonObject, UserId

_DEVICE = TREES["userdeviceid_metadata"].key
_TOKEN = TREES["token_userdeviceid"].key.pack
_USER = TREES["userid_devicelistversion"].key.pack


class Accounts(Protocol):
    """What a device needs to know of its user."""

    def exists(self, user: UserId) -> bool: ...


class Queues(Protocol):
    """What a device leaves behind."""

    def forget_all(self, user: UserId, device: DeviceId) -> int: ...


class Belongings(Protocol):
    """A part that keeps something for each device."""

    def forget_device(self, user: UserId, device: DeviceId) -> object: ...


class RoomsNear(Protocol):
    """What rooms keep for each device."""

    @property
    def lazy_loading(self) -> Belongings: ...


class DevicesNear(Near, Protocol):
    """The user a device belongs to, and all that goes with the device."""

    @property
    def users(self) -> Accounts: ...
    @property
    def to_device(self) -> Queues: ...
    @property
    def keys(self) -> Belongings: ...
    @property
    def one_time_keys(self) -> Belongings: ...
    @property
    def refresh_tokens(self) -> Belongings: ...
    @property
    def dehydrated_devices(self) -> Belongings: ...
    @property
    def pushers(self) -> Belongings: ...
    @property
    def transaction_ids(self) -> Belongings: ...
    @property
    def uiaa(self) -> Belongings: ...
    @property
    def rooms(self) -> RoomsNear: ...


class Devices(Part[DevicesNear]):
    """Trees: ``userdeviceid_metadata`` and ``_token``; two more by token and by user.

    A row in ``userdeviceid_metadata`` is the device: ``device_id``, ``display_name``,
    ``last_seen_ip``, ``last_seen_ts`` (milliseconds).
    """

    _metadata = TreeOf("userdeviceid_metadata")
    _tokens = TreeOf("userdeviceid_token")
    _owners = TreeOf("token_userdeviceid")
    _expiries = TreeOf("userdeviceid_tokenexpires")
    _list_versions = TreeOf("userid_devicelistversion")

    @atomic(durability="commit")
    def create(
        self,
        user: UserId,
        device: DeviceId,
        token: AccessToken | None,
        display_name: str | None = None,
        last_seen_ip: str | None = None,
        *,
        expires_s: int | None = None,
    ) -> None:
        """Log a device in: its metadata, its token, a new device list version, in one commit.

        A device of that id gets new metadata and keeps its keys and its queue; its old tokens are
        retired, on the platter before this returns. Without a token it only receives. ``expires_s``
        is until when the token works, Unix seconds; default: until it is retired.
        Source: Conduit, create_device.

        Raises:
            InvalidArgumentError: no such account, an empty id, or another device's token.
        """
        encode_id(fold(device))
        if not self._near.users.exists(user):
            raise InvalidArgumentError(f"there is no account {user}")
        known = {"display_name": display_name, "last_seen_ip": last_seen_ip}
        metadata = {
            "device_id": device,
            **{field: checked_text(text) for field, text in known.items() if text is not None},
            "last_seen_ts": now_ms(),
        }
        self._metadata.put(_DEVICE.pack(user, device), pack_json(metadata))
        self.remove_tokens(user, device)
        if token is not None:
            self._give_token(user, device, token, expires_s)
        self._list_versions.increment(_USER(user))

    @atomic(durability="commit")
    def remove(self, user: UserId, device: DeviceId) -> bool:
        """Forget a device and all it has: tokens, queue, keys, pushers, answers, what it was told.

        On the platter before it returns. Source: Conduit, remove_device, which forgets no more than
        tokens and the queue.

        Returns:
            Whether there was such a device. If not, nothing but leftovers is removed.
        """
        near = self._near
        self.remove_tokens(user, device)
        near.to_device.forget_all(user, device)
        for part in (
            near.keys,
            near.one_time_keys,
            near.dehydrated_devices,
            near.pushers,
            near.transaction_ids,
            near.uiaa,
            near.rooms.lazy_loading,
        ):
            part.forget_device(user, device)
        existed = self._metadata.remove(_DEVICE.pack(user, device)) is not None
        if existed:
            self._list_versions.increment(_USER(user))
        return existed

    # Access tokens ------------------------------------------------------------------------------
    @atomic(durability="commit")
    def set_token(
        self, user: UserId, device: DeviceId, token: AccessToken, *, expires_s: int | None = None
    ) -> None:
        """Replace the device's access token. The old one is dead before this returns.

        ``expires_s`` is as for :meth:`create`. Source: Conduit, set_token.

        Raises:
            InvalidArgumentError: no such device, or the token belongs to another one.
        """
        self._check_exists(user, device)
        self._take_token(user, device)
        self._give_token(user, device, token, expires_s)

    @atomic(durability="commit")
    def remove_tokens(self, user: UserId, device: DeviceId) -> None:
        """Log a device out without forgetting it: its access token and refresh tokens are dead.

        On the platter before it returns. Source: tuwunel, remove_tokens.
        """
        self._take_token(user, device)
        self._near.refresh_tokens.forget_device(user, device)

    def _take_token(self, user: UserId, device: DeviceId) -> None:
        key = _DEVICE.pack(user, device)
        self._expiries.put(key, None)
        token = self._tokens.remove(key)
        if token is not None:
            self._owners.put(_TOKEN(unpack_text("userdeviceid_token", token)), None)

    def _give_token(
        self, user: UserId, device: DeviceId, token: AccessToken, expires_s: int | None
    ) -> None:
        key = _DEVICE.pack(user, device)
        self._tokens.put(key, pack_text(token))
        if self._owners.insert(_TOKEN(token), key) is not None:
            raise InvalidArgumentError("this access token belongs to another device")
        if expires_s is not None:
            self._expiries.put(key, pack_u64(expires_s))

    def _check_exists(self, user: UserId, device: DeviceId) -> None:
        if not self.exists(user, device):
            raise InvalidArgumentError(f"{user} has no device {shown(device)}")

    def exists(self, user: UserId, device: DeviceId) -> bool:
        """Whether there is such a device."""
        return self._metadata.contains_key(_DEVICE.pack(user, device))

    def token(self, user: UserId, device: DeviceId) -> AccessToken | None:
        """The device's access token. Source: the forks, get_token."""
        value = self._tokens.get(_DEVICE.pack(user, device))
        return None if value is None else AccessToken(unpack_text("userdeviceid_token", value))

    def find_from_token(
        self, token: AccessToken, *, even_expired: bool = False
    ) -> tuple[UserId, DeviceId] | None:
        """Whose token this is; None for an unknown, retired or expired one.

        ``even_expired`` finds the last kind too: the client may come back with a refresh token.
        Source: Conduit, find_from_token.
        """
        value = self._owners.get(_TOKEN(token))
        if value is None or not (even_expired or self._is_fresh(value)):
            return None
        user, device = _DEVICE.unpack(value)
        whole = self.id_of(user, device)
        return None if whole is None else (user, whole)

    def _is_fresh(self, device: bytes) -> bool:
        value = self._expiries.get(device)
        return value is None or now_ms() < 1000 * unpack_u64("userdeviceid_tokenexpires", value)

    @explained
    def id_of(self, user: UserId, device: DeviceId) -> DeviceId | None:
        """A device's whole id from what a key holds of it; None where there is no such device.

        Only an over-long id has to be looked up: the device itself knows it in full.
        """
        if not device.startswith(FOLDED):
            return device
        metadata = self._metadata.get(_DEVICE.prefix(user) + device.encode())
        return None if metadata is None else DeviceId(_unpack(metadata)["device_id"])

    # What is known of devices -------------------------------------------------------------------
    def ids(self, user: UserId) -> list[DeviceId]:
        """The user's devices, in the order of their ids. Source: Conduit, all_device_ids."""
        return [metadata["device_id"] for metadata in self.all_metadata(user)]

    def metadata(self, user: UserId, device: DeviceId) -> JsonObject | None:
        """What is known of the device. Source: Conduit, get_device_metadata."""
        value = self._metadata.get(_DEVICE.pack(user, device))
        return None if value is None else _unpack(value)

    def all_metadata(self, user: UserId) -> list[JsonObject]:
        """What is known of each of the user's devices.

        Source: Conduit, all_user_devices_metadata.
        """
        return [_unpack(value) for _, value in self._metadata.scan_prefix(_DEVICE.prefix(user))]

    @atomic
    def update_metadata(self, user: UserId, device: DeviceId, metadata: JsonObject) -> None:
        """Replace what is known of the device, and bump the device list version.

        Source: Conduit, update_device_metadata.

        Raises:
            InvalidArgumentError: no such device, or no object.
        """
        self._check_exists(user, device)
        if not isinstance(metadata, dict):
            raise InvalidArgumentError("a device's metadata is an object")
        value = pack_json(metadata | {"device_id": device})
        self._metadata.put(_DEVICE.pack(user, device), value)
        self._list_versions.increment(_USER(user))

    @atomic
    def set_last_seen(self, seen_ms: Mapping[tuple[UserId, DeviceId], int]) -> None:
        """Note when devices were last seen, Unix milliseconds; one removed meanwhile stays removed.

        Source: Conduit, set_devices_last_seen.
        """
        for (user, device), last_seen_ts in seen_ms.items():
            metadata = self.metadata(user, device)
            if metadata is not None:
                value = pack_json(metadata | {"last_seen_ts": check_u64(last_seen_ts)})
                self._metadata.put(_DEVICE.pack(user, device), value)

    def list_version(self, user: UserId) -> int | None:
        """A number that goes up with each change of the user's devices; None before the first.

        Source: Conduit, get_devicelist_version.
        """
        value = self._list_versions.get(_USER(user))
        return None if value is None else unpack_u64("userid_devicelistversion", value)


def _unpack(metadata: bytes) -> JsonObject:
    return unpack_json_object("userdeviceid_metadata", metadata, "device_id")
