"""What happened in the rooms of one sync, besides their state: read of all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from conduitstore.parts.rooms.receipts import PrivateRead
from conduitstore.types import Count, JsonObject, PduCount, Receipt, RoomId, TimelineSlice, UserId

from .request import Request


class RoomNews(NamedTuple):
    """What a :class:`conduitstore.sync.JoinedRoom` tells under the same names."""

    timeline: TimelineSlice
    receipts: list[Receipt]
    private_reads: list[PrivateRead]
    account_data: list[tuple[Count, JsonObject]]
    has_been_read: bool
    typing: list[UserId] | None

    @property
    def is_there(self) -> bool:
        """Whether there is any."""
        return self.typing is not None or bool(self.timeline.events) or any(self[1:5])


def news_of(request: Request, rooms: Mapping[RoomId, Count]) -> dict[RoomId, RoomNews]:
    """The news of each room since a count of its own: 0 for one that is new to the client.

    Cost: bulk reads, as many for many rooms as for one.
    """
    view, user, upto = request.view, request.user, request.upto
    timelines = _timelines(request, rooms)
    receipts = view.rooms.receipts.since_many(rooms, upto)
    private_reads = view.rooms.receipts.private_since_many(user, rooms, upto)
    account_data = view.account_data.changes_since_many(rooms, user, upto)
    reads = view.rooms.user_counters.last_read_many(user, list(rooms))
    return {
        room: RoomNews(
            timelines[room],
            receipts[room],
            private_reads[room],
            account_data[room],
            since < read <= upto,
            _typing(request, room, since),
        )
        for (room, since), read in zip(rooms.items(), reads, strict=True)
    }


def _timelines(request: Request, rooms: Mapping[RoomId, Count]) -> dict[RoomId, TimelineSlice]:
    """The newest events; those of a room that is new are limited too where there is more before."""
    timeline = request.view.rooms.timeline
    found = timeline.since_many(rooms, request.upto, request.options.timeline_limit)
    firsts = {
        room: PduCount(slice.events[0].position or 0)
        for room, slice in found.items()
        if slice.events and not slice.limited and not rooms[room]
    }
    for room, older in timeline.neighbour_many(firsts, "b").items():
        found[room] = replace(found[room], limited=older is not None)
    return found


def _typing(request: Request, room: RoomId, since: Count) -> list[UserId] | None:
    """What changed after the instant is told too, and again with the next sync."""
    if request.typing is None or request.typing.last_update(room) <= since:
        return None
    users = request.typing.users(room)
    return users if users or since else None
