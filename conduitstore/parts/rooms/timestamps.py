"""Events by the time they say they are from."""

from __future__ import annotations

from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import Item, prefix_end
from conduitstore.parts.arguments import check_direction
from conduitstore.parts.part import Near, Part, TreeOf, atomic, explained
from conduitstore.schema import TREES
from conduitstore.types import Direction, PduCount, PlacedEvent, RoomId

_TIME = TREES["roomid_tscount_pducount"].key
_POSITION = TREES["roomid_tscount_pducount"].value_fields


class Timestamps(Part[Near]):
    """Tree: ``roomid_tscount_pducount``. It is kept by what changes the timeline.

    A time before 1970 counts as 1970.
    """

    _times = TreeOf("roomid_tscount_pducount")

    @atomic
    def add(self, event: PlacedEvent) -> None:
        """Note when an event says it is from."""
        self._times.put(*row_of(event))

    @atomic
    def remove(self, event: PlacedEvent) -> None:
        """Forget it."""
        self._times.put(row_of(event)[0], None)

    def nearest(self, room: RoomId, time_ms: int, direction: Direction) -> PduCount | None:
        """The event closest to a time on one side of it, that time included.

        ``"f"``: the first at or after it, ``"b"``: the last at or before it; of several with the
        same time, the one that came first or last. None where there is none on that side.
        Cost: one seek. Source: tuwunel, get_event_id_near_ts.
        """
        check_direction(direction)
        prefix = _TIME.prefix(room)
        reverse = direction == "b"
        lo, hi = prefix, _TIME.prefix(room, _clamped(time_ms))
        if reverse:
            hi = prefix_end(hi) or b""
        else:
            lo, hi = hi, prefix_end(prefix) or b""
        item = next(self._times.range(lo, hi, reverse=reverse, limit=1), None)
        return None if item is None else PduCount(_POSITION.unpack(item[1])[0])

    @explained
    def before(
        self, room: RoomId, time_ms: int, limit: int, start: tuple[int, PduCount] | None = None
    ) -> list[tuple[int, PduCount]]:
        """Up to ``limit`` times and positions before a time, oldest first.

        ``start`` is the last of the page before. Cost: one range. Source: tuwunel, pdus_near_ts.
        """
        lo = _TIME.prefix(room) if start is None else _TIME.pack(room, *start) + b"\0"
        rows = self._times.range(lo, _TIME.prefix(room, _clamped(time_ms)), limit=limit)
        found = [_TIME.unpack(key) for key, _ in rows]
        return [(time_ms, position) for _, time_ms, position in found]


def row_of(event: PlacedEvent) -> Item:
    """The row that an event makes."""
    key = _TIME.pack(event.room, _clamped(event.pdu["origin_server_ts"]), event.id.position)
    return key, _POSITION.pack(event.id.position)


def _clamped(time_ms: int) -> int:
    if type(time_ms) is not int:
        raise InvalidArgumentError(f"a time is in milliseconds, not {shown(time_ms)}")
    return max(time_ms, 0)
