"""What was answered to a request, so that the same request again gets the same answer."""

from __future__ import annotations

from itertools import islice

from conduitstore.codec.keys import check_u64, encode_id, fold
from conduitstore.codec.values import pack_text, pack_u64, unpack_text, unpack_u64
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import check_limit
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import DeviceId, UserId

_KEY = TREES["userdevicetxnid_response"].key


class TransactionIds(Part[Near]):
    """Trees: ``userdevicetxnid_response``, and ``userdevicetxnid_recordedms``: when that was.

    The response is an event id, or empty where there is none to give, as for to-device messages.
    """

    _responses = TreeOf("userdevicetxnid_response")
    _times = TreeOf("userdevicetxnid_recordedms")

    @atomic
    def record(
        self, user: UserId, device: DeviceId | None, txn_id: str, response: str, now_ms: int
    ) -> str | None:
        """Record the answer to a request, unless it was answered before: then gives that answer.

        In the transaction that does what was asked for, this makes sure it is done once, however
        many times and threads the request comes. Nothing is recorded over an earlier answer.
        Source: Conduit, existing_txnid and add_txnid, which are two steps.

        Args:
            user: who asked.
            device: None for a request of no device, as of an appservice.
            txn_id: the client's.
            response: what to answer.
            now_ms: Unix milliseconds, for :meth:`forget_before`.
        """
        key, value = _key(user, device, txn_id), pack_text(response)
        earlier = self._responses.get(key)
        if earlier is not None:
            return unpack_text("userdevicetxnid_response", earlier)
        self._responses.put(key, value)
        self._times.put(key, pack_u64(now_ms))
        return None

    def response(self, user: UserId, device: DeviceId | None, txn_id: str) -> str | None:
        """What was answered; None where nothing was yet, which is not the same as an empty answer.

        Source: Conduit, existing_txnid.
        """
        value = self._responses.get(_key(user, device, txn_id))
        return None if value is None else unpack_text("userdevicetxnid_response", value)

    @atomic
    def forget_before(self, time_ms: int, *, limit: int | None = None) -> int:
        """Drop what was recorded before a time; gives how many.

        Clients repeat a request within minutes; a day is plenty. Cost: one pass over what is
        recorded, in one commit; ``store.gc`` does the same in many.
        """
        check_u64(time_ms)
        name = self._times.name
        old = (key for key, value in self._times if unpack_u64(name, value) < time_ms)
        keys = list(islice(old, check_limit(limit)))
        for key in keys:
            self._times.put(key, None)
            self._responses.put(key, None)
        return len(keys)

    @atomic
    def forget_device(self, user: UserId, device: DeviceId) -> int:
        """Drop the answers to a device that is gone; gives how many there were."""
        encode_id(fold(device))  # None is no device, but the requests of none.
        return self._forget(_KEY.prefix(user, device))

    @atomic
    def forget_user(self, user: UserId) -> int:
        """Drop the answers to all requests of a user; gives how many there were."""
        return self._forget(_KEY.prefix(user))

    def _forget(self, prefix: bytes) -> int:
        self._times.remove_prefix(prefix)
        return self._responses.remove_prefix(prefix)


def _key(user: UserId, device: DeviceId | None, txn_id: str) -> bytes:
    return _KEY.pack(user, _component(device), txn_id)


def _component(device: DeviceId | None) -> str:
    """The device in a key, where no device is an empty one."""
    if device == "":
        raise InvalidArgumentError("a device id must not be empty; None stands for no device")
    return "" if device is None else device
