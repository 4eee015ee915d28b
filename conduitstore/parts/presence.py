"""Who is online: the latest presence of each user, and since tokens over it.

- One row per user, found through an index: the forks' layout. (Conduit keeps one for each room the
  user is in, by room; who may see whose presence is for the homeserver to say, by shared rooms.)
- Stored are times, told are durations: ``last_active_ago`` is worked out when somebody is told.
- All of it may be dropped at any time: clients and servers say it again. A new presence wakes no
  long poll by itself, as in Conduit: it is told with the next answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from conduitstore.codec.keys import check_u64
from conduitstore.codec.values import pack_json, pack_u64, unpack_json_object, unpack_u64
from conduitstore.errors import CorruptedError, InvalidArgumentError, shown
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent
from conduitstore.schema import TREES
from conduitstore.types import Count, JsonObject, UserId

PresenceState = Literal["online", "offline", "unavailable"]

_ROW = TREES["presenceid_presence"].key
_USER = TREES["userid_presenceid"].key


@dataclass(frozen=True, slots=True)
class Presence:
    """What is known of a user's presence.

    Attributes:
        state: as in ``m.presence``.
        currently_active: whether the user does something right now.
        last_active_ts: Unix milliseconds.
        status_msg: what the user says about it.
    """

    state: PresenceState
    currently_active: bool = False
    last_active_ts: int = 0
    status_msg: str | None = None

    def content(self, now_ms: int) -> JsonObject:
        """The content of an ``m.presence`` event; who is online has no ``last_active_ago``."""
        content: JsonObject = {"presence": self.state, "currently_active": self.currently_active}
        if self.state != "online":
            content["last_active_ago"] = max(now_ms - self.last_active_ts, 0)
        if self.status_msg is not None:
            content["status_msg"] = self.status_msg
        return content


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """A user's presence, and when it changed."""

    count: Count
    user: UserId
    presence: Presence


class Presences(Part[Near]):
    """Trees: ``presenceid_presence``, ``userid_presenceid``, ``userid_lastpresenceupdate``."""

    _rows = TreeOf("presenceid_presence")
    _counts = TreeOf("userid_presenceid")
    _pings = TreeOf("userid_lastpresenceupdate")

    @atomic
    def update(self, user: UserId, presence: Presence) -> Count:
        """Replace the user's presence; it also counts as a sign of life.

        Cost: three writes and a removal. Source: the forks, set_presence; Conduit, update_presence.
        """
        value = _pack(presence)
        self._remove_row(user)
        count = self._near.globals.draw()
        self._rows.put(_ROW.pack(count, user), value)
        self._counts.put(_USER.pack(user), pack_u64(count))
        self.ping(user, presence.last_active_ts)
        return count

    def _remove_row(self, user: UserId) -> None:
        old = self._counts.get(_USER.pack(user))
        if old is not None:
            self._rows.put(_ROW.pack(unpack_u64("userid_presenceid", old), user), None)

    @atomic
    def ping(self, user: UserId, now_ms: int) -> None:
        """The user gave a sign of life; an earlier one than is known changes nothing.

        Source: Conduit, ping_presence.
        """
        if check_u64(now_ms) >= (self.last_update(user) or 0):
            self._pings.put(_USER.pack(user), pack_u64(now_ms))

    def last_update(self, user: UserId) -> int | None:
        """The user's last sign of life, Unix milliseconds; None for none.

        Source: Conduit, last_presence_update.
        """
        value = self._pings.get(_USER.pack(user))
        return None if value is None else unpack_u64("userid_lastpresenceupdate", value)

    @consistent
    def get(self, user: UserId) -> PresenceChange | None:
        """The user's presence; None where it is not known. Cost: two point reads.

        Source: the forks, get_presence; Conduit, get_presence_event.
        """
        value = self._counts.get(_USER.pack(user))
        if value is None:
            return None
        count = Count(unpack_u64("userid_presenceid", value))
        row = self._rows.get(_ROW.pack(count, user))
        return None if row is None else PresenceChange(count, user, _unpack(row))

    def since(self, since: Count, upto: Count) -> list[PresenceChange]:
        """Who changed in (since, upto], oldest first. Cost: one range.

        Source: Conduit, presence_since, of one room.
        """
        lo, hi = _ROW.counts(since=since, upto=upto)
        return [_of(key, value) for key, value in self._rows.range(lo, hi)]

    @atomic
    def remove(self, user: UserId) -> bool:
        """Forget one user's presence; False where there was none.

        Source: the forks, remove_presence.
        """
        self._remove_row(user)
        self._pings.put(_USER.pack(user), None)
        return self._counts.remove(_USER.pack(user)) is not None

    @atomic
    def set_all_offline(self) -> int:
        """Nobody is online any more, as after a restart; gives how many were.

        Source: the forks, unset_all_presence.
        """
        present = [_of(*item) for item in self._rows.range()]
        gone = [change for change in present if change.presence.state != "offline"]
        for change in gone:
            self.update(
                change.user, replace(change.presence, state="offline", currently_active=False)
            )
        return len(gone)

    @atomic
    def forget_all(self) -> None:
        """Forget everybody's presence, as Conduit does at every start."""
        for tree in (self._rows, self._counts, self._pings):
            tree.clear()


def _pack(presence: Presence) -> bytes:
    if not isinstance(presence, Presence):
        raise InvalidArgumentError(f"a Presence is needed here, not {shown(presence)}")
    if presence.state not in get_args(PresenceState):
        raise InvalidArgumentError(
            f"a presence is online, offline or unavailable, not {shown(presence.state)}"
        )
    if not isinstance(presence.currently_active, bool):
        raise InvalidArgumentError("currently_active is a bool")
    if not isinstance(presence.status_msg, str | None):
        raise InvalidArgumentError("a status message is text, or None")
    return pack_json(
        {
            "state": presence.state,
            "currently_active": presence.currently_active,
            "last_active_ts": check_u64(presence.last_active_ts),
            "status_msg": presence.status_msg,
        }
    )


def _of(key: bytes, value: bytes) -> PresenceChange:
    count, user = _ROW.unpack(key)
    return PresenceChange(count, user, _unpack(value))


def _unpack(value: bytes) -> Presence:
    found = unpack_json_object("presenceid_presence", value, "state")
    presence = Presence(
        found["state"],
        found.get("currently_active", False),
        found.get("last_active_ts", 0),
        found.get("status_msg"),
    )
    try:
        _pack(presence)
    except InvalidArgumentError as error:
        raise CorruptedError("presenceid_presence", 0, str(error)) from error
    return presence
