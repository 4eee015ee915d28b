"""Where a user's phones are told of new messages."""

from __future__ import annotations

from typing import Protocol

from conduitstore.codec.keys import fold
from conduitstore.codec.values import pack_json_object, pack_text, unpack_json_object
from conduitstore.errors import CorruptedError, InvalidArgumentError, shown
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import Destination, DeviceId, JsonObject, PushGateway, UserId

_PUSHER = TREES["senderkey_pusher"].key


class Queues(Protocol):
    """What waits for a pusher's gateway."""

    def forget_all(self, destination: Destination) -> int: ...


class Accounts(Protocol):
    """What a pusher needs to know of its user."""

    def exists(self, user: UserId) -> bool: ...


class DevicesThere(Protocol):
    """What a pusher needs to know of its device."""

    def exists(self, user: UserId, device: DeviceId) -> bool: ...


class PushersNear(Near, Protocol):
    """Whose pushers there may be, and the outgoing queues."""

    @property
    def users(self) -> Accounts: ...
    @property
    def devices(self) -> DevicesThere: ...
    @property
    def sending(self) -> Queues: ...


class Pushers(Part[PushersNear]):
    """Trees: ``senderkey_pusher``; ``senderkey_deviceid`` knows which device set a pusher.

    A pusher is the object a client sent to set it. A row that cannot be read is left out of lists.
    """

    _rows = TreeOf("senderkey_pusher")
    _devices = TreeOf("senderkey_deviceid")

    @atomic
    def set(self, user: UserId, pusher: JsonObject, device: DeviceId | None = None) -> None:
        """Set the pusher of ``pusher["pushkey"]``, which goes with the device where one is given.

        Source: Conduit, set_pusher.

        Raises:
            InvalidArgumentError: no object with a pushkey; no such account or device.
        """
        pushkey = pusher.get("pushkey") if isinstance(pusher, dict) else None
        if not isinstance(pushkey, str) or not pushkey:
            raise InvalidArgumentError(f"a pusher has a pushkey, not {shown(pushkey)}")
        if not self._near.users.exists(user):
            raise InvalidArgumentError(f"there is no account {user}")
        if device is not None and not self._near.devices.exists(user, device):
            raise InvalidArgumentError(f"{user} has no device {shown(device)}")
        key = _PUSHER.pack(user, pushkey)
        self._rows.put(key, pack_json_object(pusher))
        if device is None:
            self._devices.put(key, None)
        else:
            self._devices.put(key, pack_text(fold(device)))

    @atomic
    def remove(self, user: UserId, pushkey: str) -> bool:
        """Remove a pusher and what waits for its gateway; gives whether there was one.

        Source: Conduit, set_pusher with no kind.
        """
        key = _PUSHER.pack(user, pushkey)
        self._devices.put(key, None)
        if pushkey:
            self._near.sending.forget_all(PushGateway(user, pushkey))
        return self._rows.remove(key) is not None

    @atomic
    def forget_device(self, user: UserId, device: DeviceId) -> list[str]:
        """Remove the pushers that a device set; gives their pushkeys.

        The idea is conduwuit's, which keeps devices by pushkey alone, so that of two users with one
        pushkey only the last one's went.
        """
        wanted = pack_text(fold(device))
        rows = self._devices.scan_prefix(_PUSHER.prefix(user))
        pushkeys = [_PUSHER.unpack(key)[1] for key, value in rows if value == wanted]
        for pushkey in pushkeys:
            self.remove(user, pushkey)
        return pushkeys

    @atomic
    def forget_user(self, user: UserId) -> int:
        """Remove all pushers of a user and what waits for them; gives how many there were."""
        return sum([self.remove(user, pushkey) for pushkey in self.pushkeys(user)])

    def get(self, user: UserId, pushkey: str) -> JsonObject | None:
        """The pusher of a pushkey. Source: Conduit, get_pusher."""
        value = self._rows.get(_PUSHER.pack(user, pushkey))
        return None if value is None else unpack_json_object("senderkey_pusher", value)

    def all(self, user: UserId) -> list[JsonObject]:
        """The user's pushers, by pushkey; one that cannot be read does not hide the others.

        Cost: one range. Source: Conduit, get_pushers.
        """
        rows = self._rows.scan_prefix(_PUSHER.prefix(user))
        found = [_readable(value) for _, value in rows]
        return [pusher for pusher in found if pusher is not None]

    def pushkeys(self, user: UserId) -> list[str]:
        """The pushkeys of the user's pushers, the unreadable too. Source: Conduit, get_pushkeys."""
        keys = self._rows.keys(_PUSHER.prefix(user))
        return [_PUSHER.unpack(key)[1] for key in keys]


def _readable(value: bytes) -> JsonObject | None:
    try:
        return unpack_json_object("senderkey_pusher", value)
    except CorruptedError:
        return None
