"""What a user has not read yet: events that notify and those that are highlighted, by room.

- Counting goes by thread: ``main``, the events outside threads, is what Conduit counts; each thread
  has its own numbers beside it. A client that knows no threads is told the sum.
- Who is notified is for the homeserver's push rules to say. Here no increment is lost.
- A counter that would say 0 has no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from conduitstore.codec.values import pack_u64, unpack_u64
from conduitstore.kv import Tree, prefix_end
from conduitstore.parts.arguments import distinct, listed
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent, explained
from conduitstore.parts.totals import totals_in
from conduitstore.schema import TREES
from conduitstore.types import Count, RoomId, ThreadId, UserId

_ROOM = TREES["userroomid_notificationcount"].key
_THREAD = TREES["userroomthreadid_notificationcount"].key
_READ = TREES["roomuserid_lastnotificationread"].key.pack
_MAIN = ThreadId("main")


@dataclass(frozen=True, slots=True)
class Unread:
    """Unread events that notify, and how many of them are highlighted."""

    notifications: int = 0
    highlights: int = 0


@dataclass(frozen=True, slots=True)
class RoomUnread:
    """What is unread in a room.

    Attributes:
        main: outside threads.
        threads: by root; one without unread events is not listed.
    """

    main: Unread = Unread()
    threads: dict[ThreadId, Unread] = field(default_factory=dict)

    @property
    def total(self) -> Unread:
        """Everything, for clients that know no threads."""
        every = [self.main, *self.threads.values()]
        return Unread(sum(u.notifications for u in every), sum(u.highlights for u in every))


class UserCounters(Part[Near]):
    """Trees: two counters by room and two by thread, and ``roomuserid_lastnotificationread``."""

    _notifications = TreeOf("userroomid_notificationcount")
    _highlights = TreeOf("userroomid_highlightcount")
    _thread_notifications = TreeOf("userroomthreadid_notificationcount")
    _thread_highlights = TreeOf("userroomthreadid_highlightcount")
    _reads = TreeOf("roomuserid_lastnotificationread")

    @atomic
    def increment(
        self,
        room: RoomId,
        notify: Iterable[UserId],
        highlight: Iterable[UserId] = (),
        thread: ThreadId = _MAIN,
    ) -> None:
        """One more event for the users to ``notify``, highlighted for those of ``highlight``.

        Counters draw no count of their own: call it in the commit that appends the event, whose
        count is when they changed. A user given twice is told once. Cost: an increment each.
        Source: Conduit, increment_notification_counts.
        """
        if thread == _MAIN:
            for user in distinct(notify, "users"):
                self._notifications.increment(_ROOM.pack(user, room))
            for user in distinct(highlight, "users"):
                self._highlights.increment(_ROOM.pack(user, room))
        else:
            for user in distinct(notify, "users"):
                self._thread_notifications.increment(_THREAD.pack(user, room, thread))
            for user in distinct(highlight, "users"):
                self._thread_highlights.increment(_THREAD.pack(user, room, thread))

    @atomic
    def reset(self, user: UserId, room: RoomId, thread: ThreadId | None = None) -> Count:
        """The user read the room, or one thread of it: nothing is unread there any more.

        Args:
            user: the reader.
            room: the room.
            thread: a thread's root, or ``"main"``; None for the room with all its threads.

        Returns:
            When that was, drawn now.

        Source: Conduit, reset_notification_counts.
        """
        count = self._near.globals.draw()
        self._reads.put(_READ(room, user), pack_u64(count))
        if thread is None or thread == _MAIN:
            for tree in (self._notifications, self._highlights):
                tree.put(_ROOM.pack(user, room), None)
        for tree in (self._thread_notifications, self._thread_highlights):
            if thread is None:
                tree.remove_prefix(_THREAD.prefix(user, room))
            else:
                tree.put(_THREAD.pack(user, room, thread), None)
        return count

    @consistent
    def unread(self, user: UserId, room: RoomId) -> RoomUnread:
        """All counters of a room. Cost: two point reads and two ranges over unread threads.

        Source: Conduit, notification_count and highlight_count.
        """
        return self.unread_many(user, [room])[0]

    @consistent
    def unread_many(self, user: UserId, rooms: Sequence[RoomId]) -> list[RoomUnread]:
        """:meth:`unread` of many rooms, in their order. Cost: two bulk reads and two of ranges."""
        keys = [_ROOM.pack(user, room) for room in listed(rooms, "rooms")]
        totals = zip(
            totals_in(self._notifications, keys), totals_in(self._highlights, keys), strict=True
        )
        threads = self._unread_threads([_THREAD.prefix(user, room) for room in rooms])
        return [
            RoomUnread(Unread(*of_main), more)
            for of_main, more in zip(totals, threads, strict=True)
        ]

    @consistent
    def unread_everywhere(self, user: UserId) -> Unread:
        """The sum over all rooms and threads: the number on an app's icon.

        Cost: four ranges over what is unread. Source: tuwunel, global_notification_count.
        """
        prefix = _ROOM.prefix(user)
        notifications = (self._notifications, self._thread_notifications)
        highlights = (self._highlights, self._thread_highlights)
        return Unread(_sum(notifications, prefix), _sum(highlights, prefix))

    def _unread_threads(self, prefixes: list[bytes]) -> Iterator[dict[ThreadId, Unread]]:
        bounds = [(prefix, prefix_end(prefix)) for prefix in prefixes]
        trees = (self._thread_notifications, self._thread_highlights)
        for rows in zip(*(tree.ranges(bounds) for tree in trees), strict=True):
            if not any(rows):
                yield {}
                continue
            notifications, highlights = (
                {key: unpack_u64(tree.name, value) for key, value in found}
                for tree, found in zip(trees, rows, strict=True)
            )
            yield {
                _THREAD.unpack(key)[2]: Unread(notifications.get(key, 0), highlights.get(key, 0))
                for key in sorted(notifications | highlights)
            }

    def last_read(self, user: UserId, room: RoomId) -> Count:
        """When the user last reset counters of the room; 0 if never.

        Source: Conduit, last_notification_read, which reads it among the highlights.
        """
        return self.last_read_many(user, [room])[0]

    @explained
    def last_read_many(self, user: UserId, rooms: Sequence[RoomId]) -> list[Count]:
        """:meth:`last_read` of many rooms, in their order. Cost: one bulk read."""
        keys = [_READ(room, user) for room in listed(rooms, "rooms")]
        return list(map(Count, totals_in(self._reads, keys)))


def _sum(trees: Iterable[Tree], prefix: bytes) -> int:
    return sum(
        unpack_u64(tree.name, value) for tree in trees for _, value in tree.scan_prefix(prefix)
    )
