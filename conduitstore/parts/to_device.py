"""Each device's queue of to-device messages, trimmed by the tokens its syncs bring back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from conduitstore.codec.values import pack_json, unpack_json_object
from conduitstore.errors import InvalidArgumentError
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import Count, DeviceId, JsonObject, UserId

M = TypeVar("M", bound=Mapping[Any, Any])

_EVENT = TREES["todeviceid_events"].key


class ToDevice(Part[Near]):
    """Tree: ``todeviceid_events``.

    Nobody checks that the device exists: keys may be on the way. What waits for one that does not
    is collected by ``gc``.
    """

    _events = TreeOf("todeviceid_events")

    @atomic
    def queue(
        self, sender: UserId, user: UserId, device: DeviceId, type: str, content: JsonObject
    ) -> Count:
        """Append a message to the queue of one device. Source: Conduit, add_to_device_event."""
        return self._append(user, device, _pack(sender, type, content))

    @atomic
    def queue_many(
        self,
        sender: UserId,
        type: str,
        messages: Mapping[UserId, Mapping[DeviceId, JsonObject]],
    ) -> list[Count]:
        """Append one message for each device of ``messages``, all in one commit.

        ``messages`` is as in the client's request: user to device to content. Counts follow its
        order.
        """
        return [
            self._append(user, device, _pack(sender, type, content))
            for user, contents in _checked(messages).items()
            for device, content in _checked(contents).items()
        ]

    def _append(self, user: UserId, device: DeviceId, event: bytes) -> Count:
        count = self._near.globals.draw()
        self._events.put(_EVENT.pack(user, device, count), event)
        return count

    def events_since(
        self,
        user: UserId,
        device: DeviceId,
        since: Count,
        upto: Count,
        *,
        limit: int | None = None,
    ) -> list[tuple[Count, JsonObject]]:
        """The queue's messages in (since, upto], oldest first: ``type``, ``sender``, ``content``.

        With a ``limit``, the last count returned is the token up to which they were delivered.
        Cost: one range. Source: Conduit, get_to_device_events.
        """
        lo, hi = _EVENT.counts(user, device, since=since, upto=upto)
        return [
            (_EVENT.unpack(key)[-1], unpack_json_object("todeviceid_events", value))
            for key, value in self._events.range(lo, hi, limit=limit)
        ]

    @atomic
    def forget_until(self, user: UserId, device: DeviceId, until: Count) -> int:
        """Drop the messages a device confirmed by syncing past them; gives how many there were.

        ``until`` is the newest count to drop, inclusive: the request's since token.
        Cost: O(dropped). Source: Conduit, remove_to_device_events.
        """
        lo, hi = _EVENT.counts(user, device, since=0, upto=until)
        keys = [key for key, _ in self._events.range(lo, hi)]
        for key in keys:
            self._events.put(key, None)
        return len(keys)

    @atomic
    def forget_all(self, user: UserId, device: DeviceId) -> int:
        """Drop the queue of a device that is gone; gives how many messages there were."""
        return self._events.remove_prefix(_EVENT.prefix(user, device))


def _checked(messages: M) -> M:
    if not isinstance(messages, Mapping):
        raise InvalidArgumentError("messages are an object of users, each an object of devices")
    return messages


def _pack(sender: UserId, type: str, content: JsonObject) -> bytes:
    if not isinstance(type, str) or not isinstance(sender, str):
        raise InvalidArgumentError("a to-device message has a type and a sender, both text")
    if not isinstance(content, dict):
        raise InvalidArgumentError("the content of a to-device message is an object")
    return pack_json({"type": type, "sender": sender, "content": content})
