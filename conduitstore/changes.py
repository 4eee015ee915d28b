"""Long polls: waiting until something a user's sync depends on has changed.

A hub watches whole trees and maps each key written or removed to a *topic*: a user, a device, a
room or a room's short id. It remembers at which count each topic last changed; a waiter belongs to
the topics of its user, its device and the rooms the user is in.

- ``wait`` registers when it is called. What committed before is known from the remembered counts,
  what commits later wakes: nothing falls between. A wake-up may be spurious.
- A count is remembered from the key that has one; any count of a commit stands for all of it, for
  nobody's token is between two. Of a key without one it is only known that it is no later than now.
- What the hub cannot know (changes before it started, events dropped by a full queue, counts
  forgotten to bound memory) counts as changed: see ``_unknown_upto``.
- A user who joins a room while waiting is woken by that, and waits for the room the next time.
- Committing threads only schedule a drain on the loops of waiters, and only where there are any.
- One lock guards it all and is held briefly; no user code and no commit ever waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter

from conduitstore.codec.keys import U64_MAX, check_u64, fold
from conduitstore.errors import (
    ClosedError,
    CorruptedError,
    InvalidArgumentError,
    LaggedError,
    shown,
)
from conduitstore.kv import Database, Event, Subscriber
from conduitstore.schema import TREES
from conduitstore.types import Count, DeviceId, RoomId, ShortRoomId, UserId

Topic = str | int | tuple[str, str]
"""User or room id (their sigils differ), short room id, or user and device."""

# Tree -> the fields of its key that make the topic.
WATCHED = {
    "todeviceid_events": ("user", "device"),
    "roomusertype_roomuserdataid": ("user",),
    "userroomid_joined": ("user",),
    "userroomid_invitestate": ("user",),
    "userroomid_knockstate": ("user",),
    "userroomid_leftstate": ("user",),
    "roomuserid_lastprivatereadupdate": ("user",),
    "roomuserthreadid_privateread": ("user",),
    "roomuserid_lastnotificationread": ("user",),
    "userroomid_notificationcount": ("user",),
    "userroomid_highlightcount": ("user",),
    "userroomthreadid_notificationcount": ("user",),
    "userroomthreadid_highlightcount": ("user",),
    "readreceiptid_readreceipt": ("room",),
    "roomid_shortroomid": ("room",),  # A room's first event, before it had a short id to wait for.
    "userid_lastonetimekeyupdate": ("user",),
    "keychangeid_userid": ("room_or_user",),
    "pduid_pdu": ("short_room",),
    "roomcount_shortstatehash": ("short_room",),  # A state may change without an event.
}
EVENTS_QUEUED_MAX = 16_384
TOPICS_REMEMBERED_MAX = 100_000
TIMEOUT_MS_MAX = 24 * 60 * 60 * 1000


class _Loop:
    """An event loop with waiters on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiters: set[_Waiter] = set()
        self.is_scheduled = False


class _Waiter:
    """One call of ``wait`` that has not ended."""

    def __init__(self, home: _Loop, future: asyncio.Future[bool], topics: set[Topic]) -> None:
        self.home = home
        self.future = future
        self.topics = topics

    def wake(self, changed: bool) -> None:  # noqa: FBT001 - the answer itself
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits.
            self.home.loop.call_soon_threadsafe(_settle, self.future, changed)


class Changes:
    """See the module. Any thread and any number of event loops may use it."""

    def __init__(
        self,
        db: Database,
        rooms_joined: Callable[[UserId], tuple[Sequence[RoomId], Sequence[ShortRoomId | None]]],
    ) -> None:
        self._db = db
        self._rooms_joined = rooms_joined
        self._lock = threading.Lock()
        self._watches: list[tuple[Subscriber, Callable[[bytes], tuple[Topic, int]]]] = []
        self._newest: dict[Topic, int] = {}
        self._unknown_upto = 0
        self._waiters: dict[Topic, set[_Waiter]] = {}
        self._loops: dict[asyncio.AbstractEventLoop, _Loop] = {}
        self._homes: tuple[_Loop, ...] = ()  # The values of _loops, read without the lock.

    def wait(
        self, user: UserId, device: DeviceId, since: Count, timeout_ms: float
    ) -> asyncio.Future[bool]:
        """Wait until something the device's sync shows may have changed after ``since``.

        A plain function: it has registered when it returns, before anything is awaited. Cancelling
        what it returns frees everything.

        ``since`` is the next token of the answer that had nothing to tell. From the token of the
        request, a change that is no news to the device would wake it again at once, for ever.

        Returns:
            An awaitable: True when there may be a change (look again, it may be spurious), False
            when ``timeout_ms`` passed or the store was closed.

        Raises:
            InvalidArgumentError: not called on an event loop, or an argument is of no use.

        Cost: one scan of the user's rooms, here on the loop, and a dictionary entry or two for
        each room. Source: Conduit, watch and wait_for_update.
        """
        check_u64(since)
        timeout_s = _timeout_s(timeout_ms)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise InvalidArgumentError("changes.wait is called on a running event loop") from error
        rooms, short_rooms = self._rooms_joined(user)
        known = [short_room for short_room in short_rooms if short_room is not None]
        topics: set[Topic] = {user, (user, fold(device)), *rooms, *known}
        future = loop.create_future()
        with self._lock:
            waiter = self._enter(loop, future, topics)
            try:
                changed = self._has_changed(topics, since)
            except BaseException:
                self._leave(waiter)
                raise
            if changed:
                self._leave(waiter)
                future.set_result(True)
                return future
            for topic in topics:
                self._waiters.setdefault(topic, set()).add(waiter)
        timer = loop.call_later(timeout_s, _settle, future, False)
        future.add_done_callback(lambda _: self._ended(waiter, timer))
        return future

    def touch(self, room: RoomId) -> None:
        """Wake who waits for a room for a reason that is in no tree, such as typing.

        Call it after the commit that drew the change's count.
        """
        count = self._db.current_count()
        with self._lock:
            self._newest[room] = count
            self._wake({room}, changed=True)

    def close(self) -> None:
        """Answer every waiter with False and stop watching."""
        with self._lock:
            for subscriber, _ in self._watches:
                subscriber.close()
            self._watches.clear()
            self._wake(set(self._waiters), changed=False)

    # All below is called with the lock held, but for the two marked -----------------------------
    def _has_changed(self, topics: set[Topic], since: int) -> bool:
        if not self._watches:
            self._start()
        self._drain()
        return since < self._unknown_upto or any(
            self._newest.get(topic, 0) > since for topic in topics
        )

    def _start(self) -> None:
        self._watches = [self._watch(name, fields) for name, fields in WATCHED.items()]
        self._unknown_upto = self._db.current_count()

    def _watch(
        self, name: str, fields: tuple[str, ...]
    ) -> tuple[Subscriber, Callable[[bytes], tuple[Topic, int]]]:
        subscriber = self._db.open_tree(name).watch_prefix(b"", capacity=EVENTS_QUEUED_MAX)
        subscriber.on_ready(self._on_ready)
        return subscriber, _topic_of(name, fields)

    def _on_ready(self) -> None:
        """Runs in committing threads, without the lock."""
        for home in self._homes:
            if not home.is_scheduled:
                home.is_scheduled = True
                with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits.
                    home.loop.call_soon_threadsafe(self._drain_from, home)

    def _drain_from(self, home: _Loop) -> None:
        """Runs on a waiter's loop, without the lock."""
        home.is_scheduled = False  # Before the queues are read: what comes later schedules again.
        with self._lock:
            self._drain()

    def _drain(self) -> None:
        """Take what was queued: remember it, and wake whoever waits for it."""
        touched: dict[Topic, int] = {}
        lagged = False
        for subscriber, topic_of in self._watches:
            for event in _queued(subscriber):
                if event is None:
                    lagged = True
                    continue
                with contextlib.suppress(CorruptedError):  # No key of ours, so nobody waits for it.
                    topic, changed = topic_of(event.key)
                    touched[topic] = max(changed, touched.get(topic, 0))
        if not touched and not lagged:
            return
        try:
            count = self._db.current_count()
        except ClosedError:  # The engine was closed under us.
            self._wake(set(self._waiters), changed=False)
            return
        for topic, changed in touched.items():
            self._newest[topic] = max(min(changed, count), self._newest.get(topic, 0))
        if lagged or len(self._newest) > TOPICS_REMEMBERED_MAX:
            self._newest.clear()
            self._unknown_upto = count
        self._wake(set(self._waiters if lagged else touched), changed=True)

    def _wake(self, topics: set[Topic], *, changed: bool) -> None:
        woken = {waiter for topic in topics for waiter in self._waiters.get(topic, ())}
        for waiter in woken:
            self._forget(waiter)
            waiter.wake(changed)

    def _enter(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[bool], topics: set[Topic]
    ) -> _Waiter:
        home = self._loops.get(loop)
        if home is None:
            self._forget_closed_loops()
            home = self._loops[loop] = _Loop(loop)
            self._homes = tuple(self._loops.values())
        waiter = _Waiter(home, future, topics)
        home.waiters.add(waiter)
        return waiter

    def _leave(self, waiter: _Waiter) -> None:
        home = waiter.home
        home.waiters.discard(waiter)
        if not home.waiters:
            del self._loops[home.loop]
            self._homes = tuple(self._loops.values())

    def _forget_closed_loops(self) -> None:
        """A loop closed with waiters on it runs no timers: nothing else would ever free them."""
        for home in self._homes:
            if home.loop.is_closed():
                for waiter in list(home.waiters):
                    self._forget(waiter)

    def _forget(self, waiter: _Waiter) -> None:
        """Free a waiter's entries; a second time is nothing."""
        if not waiter.topics:
            return
        for topic in waiter.topics:
            others = self._waiters[topic]
            others.discard(waiter)
            if not others:
                del self._waiters[topic]
        waiter.topics = set()
        self._leave(waiter)

    def _ended(self, waiter: _Waiter, timer: asyncio.TimerHandle) -> None:
        """Runs on the waiter's loop, without the lock, when its future is done or cancelled."""
        timer.cancel()
        with self._lock:
            self._forget(waiter)


def _timeout_s(timeout_ms: float) -> float:
    if type(timeout_ms) not in (int, float):
        raise InvalidArgumentError(f"a timeout is in milliseconds, not {shown(timeout_ms)}")
    bounded_ms = min(max(timeout_ms, 0), TIMEOUT_MS_MAX)
    if math.isnan(bounded_ms):
        raise InvalidArgumentError("a timeout must be a number: a loop would spin on this one")
    return bounded_ms / 1000


def _settle(future: asyncio.Future[bool], changed: bool) -> None:  # noqa: FBT001 - the answer itself
    if not future.done():
        future.set_result(changed)


def _queued(subscriber: Subscriber) -> Iterator[Event | None]:
    """What is queued right now; None where events were dropped."""
    while True:
        try:
            event = subscriber.next(0)
        except LaggedError:
            yield None
            continue
        if event is None:
            return
        yield event


def _topic_of(tree: str, fields: tuple[str, ...]) -> Callable[[bytes], tuple[Topic, int]]:
    """From a key its topic and its count; without a count in it, the highest there could be."""
    shape = TREES[tree].key
    pick = itemgetter(*(shape.fields.index(field) for field in fields))
    at = next((n for n, name in enumerate(shape.fields) if name in ("count", "position")), None)

    def read(key: bytes) -> tuple[Topic, int]:
        values = shape.unpack(key)
        return pick(values), U64_MAX if at is None else abs(values[at])

    return read
