"""Threads: who wrote in each, its newest reply, and the summary its root carries.

- A thread is listed by its root, in the order of the timeline, or by its latest activity. Roots
  and replies may be backfilled.
- The root's ``unsigned`` holds the summary ``m.thread``: ``count`` and ``latest_event``, as a
  client sees it. Whether the reader took part is for the homeserver to add: ask
  :meth:`Threads.took_part`.
- All of it is kept by what changes the timeline.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from conduitstore.codec.mentions import relation_in
from conduitstore.codec.positions import PDU_ID, keys_before, parse_token, token_of
from conduitstore.codec.values import pack_ids, unpack_ids
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import check_limit
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent, explained
from conduitstore.schema import TREES
from conduitstore.types import (
    Direction,
    EventId,
    JsonObject,
    PduCount,
    PduId,
    PduToken,
    PlacedEvent,
    RoomId,
    ShortRoomId,
    StoredEvent,
    UserId,
)

_LATEST = TREES["threadrootid_latestcount"].value_fields
_REPLIES_AT_ONCE = 100
_SHOWN = ("content", "event_id", "origin_server_ts", "room_id", "sender", "state_key", "type")


class ShortIds(Protocol):
    """Numbers for rooms."""

    def room(self, room: RoomId) -> ShortRoomId | None: ...


class Timelines(Protocol):
    """Events by place."""

    def pdu_id(self, event_id: EventId) -> PduId | None: ...
    def at(self, pdu_id: PduId) -> StoredEvent | None: ...
    def rewrite(self, pdu_id: PduId, pdu: JsonObject) -> None: ...


class Relations(Protocol):
    """What relates to an event."""

    def relations(
        self,
        event_id: EventId,
        start: PduToken | None,
        direction: Direction,
        limit: int,
        *,
        rel_type: str | None = None,
    ) -> tuple[list[StoredEvent], PduToken | None]: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def short(self) -> ShortIds: ...
    @property
    def timeline(self) -> Timelines: ...
    @property
    def pdu_metadata(self) -> Relations: ...


class ThreadsNear(Near, Protocol):
    """The timeline that threads are in."""

    @property
    def rooms(self) -> RoomParts: ...


class Threads(Part[ThreadsNear]):
    """Trees: ``threadid_userids``, ``threadactivityid_rootid``, ``threadrootid_latestcount``."""

    _users = TreeOf("threadid_userids")
    _activity = TreeOf("threadactivityid_rootid")
    _latest = TreeOf("threadrootid_latestcount")

    # Kept by the timeline -----------------------------------------------------------------------
    @atomic
    def add(self, root_id: PduId, reply: PlacedEvent) -> None:
        """A reply has come: participants, order of activity and the root's summary follow.

        Cost: the root is read and written. Source: Conduit, add_to_thread and
        update_participants. The order of activity is tuwunel's.
        """
        if not _is_reply(reply.pdu):
            return
        root = self._near.rooms.timeline.at(root_id)
        if root is None:
            return
        users = self.participants(root_id)
        # Before the first reply, what the root says of a thread is forged.
        summary = _summary_of(root.pdu) if users else {}
        if reply.pdu["sender"] not in users:
            users = users or [root.pdu["sender"]]
            self._set_participants(root_id, [*users, reply.pdu["sender"]])
        is_latest = self._move_activity(root_id, reply.id.position)
        latest_event = _as_shown(reply.pdu) if is_latest else summary.get("latest_event")
        self._write(root_id, root.pdu, summary.get("count", 0) + 1, latest_event)

    @atomic
    def remove(self, root_id: PduId, reply: PlacedEvent) -> None:
        """A reply is one no more: redacted, or gone. Call it after its relation is.

        Cost: where it was the latest, a look at the relations before it; and at those after the
        sender's last other reply, or at all, to see whether the sender still takes part.
        """
        root = self._near.rooms.timeline.at(root_id) if _is_reply(reply.pdu) else None
        if root is None:
            return
        count = _summary_of(root.pdu).get("count", 1) - 1
        if count < 1:
            self.forget(root_id)
            self._write(root_id, root.pdu, 0, None)
            return
        latest_event = _summary_of(root.pdu).get("latest_event")
        if self._latest_position(root_id) == reply.id.position:
            latest, _ = self._near.rooms.pdu_metadata.relations(
                root.event_id, None, "b", 1, rel_type="m.thread"
            )
            self._drop_activity(root_id)
            for event in latest:
                assert event.position is not None
                self._move_activity(root_id, event.position)
                latest_event = _as_shown(event.pdu)
        self._leave(root_id, root, reply.pdu["sender"])
        self._write(root_id, root.pdu, count, latest_event)

    def _leave(self, root_id: PduId, root: StoredEvent, user: UserId) -> None:
        """Strike a participant who is neither the root's writer nor that of any reply."""
        users = self.participants(root_id)
        if user == root.pdu["sender"] or user not in users:
            return
        if not any(reply.pdu["sender"] == user for reply in self._replies(root.event_id)):
            self._set_participants(root_id, [other for other in users if other != user])

    def _replies(self, root: EventId) -> Iterator[StoredEvent]:
        """The newest first."""
        token, more = None, True
        while more:
            replies, token = self._near.rooms.pdu_metadata.relations(
                root, token, "b", _REPLIES_AT_ONCE, rel_type="m.thread"
            )
            yield from replies
            more = token is not None

    @atomic
    def refresh(self, root_id: PduId, reply: PlacedEvent) -> None:
        """A reply was rewritten and is still one: the summary shows it as it is now."""
        root = self._near.rooms.timeline.at(root_id)
        if root is not None and self._latest_position(root_id) == reply.id.position:
            count = _summary_of(root.pdu).get("count", 1)
            self._write(root_id, root.pdu, count, _as_shown(reply.pdu))

    @atomic
    def forget(self, root_id: PduId) -> None:
        """There is no thread any more."""
        self._drop_activity(root_id)
        self._users.put(PDU_ID.pack(*root_id), None)

    def _move_activity(self, root_id: PduId, position: PduCount) -> bool:
        """Whether ``position`` is the latest now."""
        old = self._latest_position(root_id)
        if old is not None and position < old:
            return False
        self._drop_activity(root_id)
        key = PDU_ID.pack(*root_id)
        self._activity.put(PDU_ID.pack(root_id.short_room, position), key)
        self._latest.put(key, _LATEST.pack(position))
        return True

    def _drop_activity(self, root_id: PduId) -> None:
        old = self._latest_position(root_id)
        if old is not None:
            self._activity.put(PDU_ID.pack(root_id.short_room, old), None)
            self._latest.put(PDU_ID.pack(*root_id), None)

    def _latest_position(self, root_id: PduId) -> PduCount | None:
        value = self._latest.get(PDU_ID.pack(*root_id))
        return None if value is None else PduCount(_LATEST.unpack(value)[0])

    def _set_participants(self, root_id: PduId, users: list[UserId]) -> None:
        self._users.put(PDU_ID.pack(*root_id), pack_ids(dict.fromkeys(users)))

    def _write(self, root_id: PduId, root: JsonObject, count: int, latest: object) -> None:
        """Give the root its summary; none where nobody replied."""
        unsigned = dict(root.get("unsigned", {}))
        relations = dict(unsigned.pop("m.relations", {}))
        relations.pop("m.thread", None)
        if count:
            relations["m.thread"] = {"count": count, "latest_event": latest}
        if relations:
            unsigned["m.relations"] = relations
        without = {key: value for key, value in root.items() if key != "unsigned"}
        written = {**without, "unsigned": unsigned} if unsigned else without
        self._near.rooms.timeline.rewrite(root_id, written)

    # Reading ------------------------------------------------------------------------------------
    @explained
    def participants(self, root_id: PduId) -> list[UserId]:
        """Who wrote in a thread, its root first; nobody where there is no thread.

        Source: Conduit, get_participants.
        """
        value = self._users.get(PDU_ID.pack(*root_id))
        users = [] if value is None else unpack_ids("threadid_userids", value)
        return [UserId(user) for user in users]

    @consistent
    def took_part(self, event_id: EventId, user: UserId) -> bool:
        """Whether a user wrote in the thread of a root. Source: tuwunel, user_participated."""
        root_id = self._near.rooms.timeline.pdu_id(event_id)
        return root_id is not None and user in self.participants(root_id)

    @consistent
    def page(
        self,
        room: RoomId,
        start: PduToken | None,
        limit: int,
        *,
        by: Literal["activity", "root"] = "activity",
        participant: UserId | None = None,
    ) -> tuple[list[StoredEvent], PduToken | None]:
        """Up to ``limit`` roots of threads of a room, newest first.

        Args:
            room: an unknown one has no threads.
            start: the token of the page before, in the same order.
            limit: 1 or more.
            by: the order: the latest reply's place, or the root's.
            participant: only threads this user wrote in.

        Returns:
            The roots, and the token to go on with: None when there are no more.

        Cost: a point read for each, two where participants are asked for.
        Source: Conduit, threads_until, which knows the order of roots only.
        """
        if by not in ("activity", "root"):
            raise InvalidArgumentError(f"an order is 'activity' or 'root', not {shown(by)}")
        if not check_limit(limit):
            raise InvalidArgumentError("a page has room for 1 thread or more")
        position = None if start is None else parse_token(start)
        short_room = self._near.rooms.short.room(room)
        found: list[StoredEvent] = []
        last = PduCount(0)
        if short_room is None:
            return found, None
        for place, root_id in self._roots(short_room, position, by):
            if participant is not None and participant not in self.participants(root_id):
                continue
            root = self._near.rooms.timeline.at(root_id)
            if root is None:
                continue
            if len(found) == limit:
                return found, token_of(last)
            found.append(root)
            last = place
        return found, None

    def _roots(
        self, short_room: ShortRoomId, start: PduCount | None, by: str
    ) -> Iterator[tuple[PduCount, PduId]]:
        """Places in the order asked for, and the roots."""
        tree = self._activity if by == "activity" else self._users
        if start is None:
            rows = tree.scan_prefix(PDU_ID.prefix(short_room), reverse=True)
        else:
            rows = tree.range(*keys_before(short_room, start), reverse=True)
        for key, value in rows:
            root_id = PduId(*PDU_ID.unpack(value if by == "activity" else key))
            yield PduCount(PDU_ID.unpack(key)[1]), root_id


def _is_reply(pdu: JsonObject) -> bool:
    relation = relation_in(pdu)
    return relation is not None and relation.rel_type == "m.thread"


def _summary_of(root: JsonObject) -> JsonObject:
    """What the root's ``unsigned`` says of its thread."""
    found: object = root.get("unsigned")
    for key in ("m.relations", "m.thread"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) and type(found.get("count")) is int else {}


def _as_shown(pdu: JsonObject) -> JsonObject:
    return {key: pdu[key] for key in _SHOWN if key in pdu}
