"""Interactive authentication: sessions are rows, the requests that wait for them are in memory.

A request may hold a password in the clear, so none is ever written to a disk.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from time import monotonic
from typing import Protocol

from conduitstore.codec.keys import check_u64
from conduitstore.codec.values import EMPTY, pack_json_object, unpack_json_object
from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.parts.beside import Beside
from conduitstore.parts.expiry import expiry_key, take_before
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import DeviceId, JsonObject, UserId

LIFETIME_MS = 24 * 60 * 60 * 1000
REQUESTS_MAX = 10_000

_SESSION = TREES["userdevicesessionid_uiaainfo"].key
_EXPIRES = "conduitstore.expires_ms"
"""A field of ours in Conduit's object; nobody else sees it."""


class PendingRequests:
    """The requests of sessions, by the session's key; those go first that were set first.

    One goes when there are too many, and when no session lives that long.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: OrderedDict[bytes, tuple[float, JsonObject]] = OrderedDict()

    def set(self, key: bytes, request: JsonObject) -> None:
        """Keep a request instead of an earlier one."""
        with self._lock:
            now = monotonic()
            self._requests[key] = now, request
            self._requests.move_to_end(key)
            while len(self._requests) > REQUESTS_MAX or self._is_over(now):
                self._requests.popitem(last=False)

    def _is_over(self, now: float) -> bool:
        set_at, _ = next(iter(self._requests.values()))
        return now - set_at > LIFETIME_MS / 1000

    def get(self, key: bytes) -> JsonObject | None:
        """The request."""
        found = self._requests.get(key)
        return None if found is None else found[1]

    def forget(self, keys: list[bytes]) -> None:
        """Drop requests."""
        with self._lock:
            for key in keys:
                self._requests.pop(key, None)


class UiaaNear(Near, Protocol):
    """What the store has in memory."""

    @property
    def beside(self) -> Beside: ...


class Uiaa(Part[UiaaNear]):
    """Trees: ``userdevicesessionid_uiaainfo``, and ``expiresms_uiaasession`` by time.

    The device may be empty, as while registering. A session lives a day from its first update.
    """

    _rows = TreeOf("userdevicesessionid_uiaainfo")
    _by_time = TreeOf("expiresms_uiaasession")

    @atomic
    def update_session(
        self, user: UserId, device: DeviceId, session: str, info: JsonObject | None, now_ms: int
    ) -> None:
        """Note how far a session is; None ends it, and with it the request that waits.

        Source: Conduit, update_uiaa_session.
        """
        key, now = _SESSION.pack(user, device, session), check_u64(now_ms)
        expires_ms = self._end(key, now) or now + LIFETIME_MS
        if info is None:
            self._requests.forget([key])
            return
        if not isinstance(info, dict):
            raise InvalidArgumentError("what is known of a session is an object")
        self._rows.put(key, pack_json_object({**info, _EXPIRES: expires_ms}))
        self._by_time.put(expiry_key(expires_ms, key), EMPTY)

    def _end(self, key: bytes, now_ms: int) -> int | None:
        """Remove a session; gives until when it would have lived, if it did live."""
        found = _unpack(self._rows.remove(key))
        if found is None:
            return None
        expires_ms = found[_EXPIRES]
        self._by_time.put(expiry_key(expires_ms, key), None)
        return expires_ms if expires_ms > now_ms else None

    def session(
        self, user: UserId, device: DeviceId, session: str, now_ms: int
    ) -> JsonObject | None:
        """How far a session is; None where there is none, or none any more.

        Source: Conduit, get_uiaa_session, for which that is an error.
        """
        found, now = (
            _unpack(self._rows.get(_SESSION.pack(user, device, session))),
            check_u64(now_ms),
        )
        if found is None or found.pop(_EXPIRES) <= now:
            return None
        return found

    @atomic
    def forget_expired(self, now_ms: int, *, limit: int | None = None) -> int:
        """Drop sessions that are over, and their requests; gives how many."""
        keys = take_before(self._by_time, check_u64(now_ms) + 1, limit)
        for key in keys:
            self._rows.put(key, None)
        self._requests.forget(keys)
        return len(keys)

    @atomic
    def forget_device(self, user: UserId, device: DeviceId) -> int:
        """Drop the sessions of a device that is gone; gives how many there were."""
        return self._forget(_SESSION.prefix(user, device))

    @atomic
    def forget_user(self, user: UserId) -> int:
        """Drop all sessions of a user; gives how many there were."""
        return self._forget(_SESSION.prefix(user))

    def _forget(self, prefix: bytes) -> int:
        keys = list(self._rows.keys(prefix))
        for key in keys:
            self._end(key, 0)
        self._requests.forget(keys)
        return len(keys)

    # In memory ----------------------------------------------------------------------------------
    @property
    def _requests(self) -> PendingRequests:
        return self._near.beside.memory(PendingRequests)

    def set_request(
        self, user: UserId, device: DeviceId, session: str, request: JsonObject
    ) -> None:
        """Keep a request until its session allows it: in memory, gone with the process.

        No transaction takes it back. Source: Conduit, set_uiaa_request.
        """
        if not isinstance(request, dict):
            raise InvalidArgumentError("a request is an object")
        self._requests.set(_SESSION.pack(user, device, session), request)

    def request(self, user: UserId, device: DeviceId, session: str) -> JsonObject | None:
        """The request that waits for a session. Source: Conduit, get_uiaa_request."""
        return self._requests.get(_SESSION.pack(user, device, session))


def _unpack(value: bytes | None) -> JsonObject | None:
    """A session; one that cannot be read, or says no end, is none: its user begins again."""
    try:
        found = {} if value is None else unpack_json_object("userdevicesessionid_uiaainfo", value)
    except CorruptedError:
        return None
    expires_ms = found.get(_EXPIRES)
    return found if type(expires_ms) is int and expires_ms >= 0 else None
