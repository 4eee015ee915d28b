"""Media ids given out before their content comes, to be uploaded to once and not for ever."""

from __future__ import annotations

from typing import NamedTuple

from conduitstore.codec.keys import check_u64
from conduitstore.codec.values import EMPTY, pack_u64, unpack_u64
from conduitstore.errors import InvalidArgumentError
from conduitstore.parts.expiry import expiry_key, take_before
from conduitstore.parts.media.rows import check_mxc
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import Mxc, UserId

_MXC = TREES["mediaid_pending"].key.pack
_RESERVATION = TREES["mediaid_pending"].value_fields
_BY_USER = TREES["userid_pending"].key


class Reservation(NamedTuple):
    """For whom a media id is kept, and until when (Unix milliseconds)."""

    expires_ms: int
    user: UserId


class Pending(Part[Near]):
    """Trees: ``mediaid_pending``; ``userid_pending`` by user, ``expiresms_mediaid`` by time."""

    _rows = TreeOf("mediaid_pending")
    _by_user = TreeOf("userid_pending")
    _by_time = TreeOf("expiresms_mediaid")

    @atomic
    def reserve(self, mxc: Mxc, user: UserId, expires_ms: int) -> None:
        """Keep a media id for somebody. Source: tuwunel, insert_pending_mxc.

        Raises:
            InvalidArgumentError: it is kept for somebody already.
        """
        key = _key(mxc)
        value = _RESERVATION.pack(check_u64(expires_ms), user)
        if self._rows.insert(key, value) is not None:
            raise InvalidArgumentError(f"{mxc} is reserved already")
        self._by_user.put(_BY_USER.pack(user, str(mxc)), pack_u64(expires_ms))
        self._by_time.put(expiry_key(expires_ms, key), EMPTY)

    def get(self, mxc: Mxc) -> Reservation | None:
        """For whom it is kept and until when, also when that is over; None for nobody (any more).

        Source: tuwunel, search_pending_mxc.
        """
        value = self._rows.get(_key(mxc))
        return None if value is None else Reservation(*_RESERVATION.unpack(value))

    def total(self, user: UserId, now_ms: int) -> int:
        """How many ids are kept for somebody now. Source: tuwunel, count_pending_mxc_for_user."""
        check_u64(now_ms)
        rows = self._by_user.scan_prefix(_BY_USER.prefix(user))
        return sum(unpack_u64("userid_pending", value) > now_ms for _, value in rows)

    @atomic
    def take(self, mxc: Mxc, user: UserId, now_ms: int) -> bool:
        """Use up a reservation, in the transaction that creates the media; whether there was one.

        One of another user, or one that is over, stays as it is: :meth:`get` tells which. Of many
        who take the same one gets it. Source: tuwunel, remove_pending_mxc.
        """
        found = self.get(mxc)
        if found is None or found.user != user or found.expires_ms <= check_u64(now_ms):
            return False
        key = _key(mxc)
        self._by_time.put(expiry_key(found.expires_ms, key), None)
        self._remove(key)
        return True

    @atomic
    def forget_expired(self, now_ms: int, *, limit: int | None = None) -> int:
        """Drop reservations that are over; gives how many. Cost: one step for each."""
        keys = take_before(self._by_time, check_u64(now_ms) + 1, limit)
        for key in keys:
            self._remove(key)
        return len(keys)

    @atomic
    def forget_user(self, user: UserId) -> int:
        """Drop what is kept for a user; gives how many ids that were."""
        rows = list(self._by_user.scan_prefix(_BY_USER.prefix(user)))
        for by_user, expires_ms in rows:
            _, key = _BY_USER.cut(by_user)
            self._by_time.put(expires_ms + key, None)
            self._remove(key)
        return len(rows)

    def _remove(self, key: bytes) -> None:
        value = self._rows.remove(key)
        if value is not None:
            user = _RESERVATION.unpack(value)[1]
            self._by_user.put(_BY_USER.prefix(user) + key, None)


def _key(mxc: Mxc) -> bytes:
    return _MXC(str(check_mxc(mxc)))
