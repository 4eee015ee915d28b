"""The device that receives keys while its user has no other (MSC3814): one for each user.

It is a device like the others, with keys and a queue but without an access token; what the client
needs to wake it is kept here.
"""

from __future__ import annotations

from typing import Protocol

from conduitstore.codec.values import pack_json, unpack_json_object
from conduitstore.errors import InvalidArgumentError
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import DeviceId, JsonObject, UserId

_USER = TREES["userid_dehydrateddevice"].key.pack


class DeviceList(Protocol):
    """What a dehydrated device does as a device."""

    def exists(self, user: UserId, device: DeviceId) -> bool: ...
    def create(
        self, user: UserId, device: DeviceId, token: None, display_name: str | None
    ) -> None: ...
    def remove(self, user: UserId, device: DeviceId) -> bool: ...


class DehydratedDevicesNear(Near, Protocol):
    """The devices it is one of."""

    @property
    def devices(self) -> DeviceList: ...


class DehydratedDevices(Part[DehydratedDevicesNear]):
    """Tree: ``userid_dehydrateddevice``."""

    _devices = TreeOf("userid_dehydrateddevice")

    @atomic(durability="commit")
    def set(
        self,
        user: UserId,
        device: DeviceId,
        device_data: JsonObject,
        display_name: str | None = None,
    ) -> None:
        """Replace the user's dehydrated device, in one commit.

        The old one goes with its keys and queue. Source: the forks, set_dehydrated_device.

        Raises:
            InvalidArgumentError: no such account, the data is no object, or the user has a device
                of that id that is not dehydrated.
        """
        if not isinstance(device_data, dict):
            raise InvalidArgumentError("the data of a dehydrated device is an object")
        self.remove(user)
        if self._near.devices.exists(user, device):
            raise InvalidArgumentError("this device is in use: a dehydrated one needs an own id")
        self._near.devices.create(user, device, None, display_name)
        value = pack_json({"device_id": device, "device_data": device_data})
        self._devices.put(_USER(user), value)

    def get(self, user: UserId) -> tuple[DeviceId, JsonObject] | None:
        """The user's dehydrated device and its data.

        Source: the forks, get_dehydrated_device and get_dehydrated_device_id.
        """
        value = self._devices.get(_USER(user))
        if value is None:
            return None
        found = unpack_json_object("userid_dehydrateddevice", value, "device_id", "device_data")
        return found["device_id"], found["device_data"]

    @atomic(durability="commit")
    def remove(self, user: UserId) -> bool:
        """Remove the user's dehydrated device with all it has; False if there is none.

        Source: the forks, remove_dehydrated_device.
        """
        found = self.get(user)
        return found is not None and self._near.devices.remove(user, found[0])

    @atomic
    def forget_device(self, user: UserId, device: DeviceId) -> bool:
        """Forget a device that goes, if it is the dehydrated one."""
        found = self.get(user)
        if found is None or found[0] != device:
            return False
        self._devices.put(_USER(user), None)
        return True
