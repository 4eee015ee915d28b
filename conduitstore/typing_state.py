"""Who is typing, in memory: never stored, and gone with the process.

- A change draws a count of the store's, so that a sync can tell whether a room's typing is news: it
  is where :meth:`Typing.last_update` is behind its since token.
- It is noted before that count can be seen: a sync that reads the count finds the change.
- A time that runs out is a change too. Nothing here has a clock that ticks: call
  :meth:`Typing.expire` when :meth:`Typing.next_expiry_ms` says. Until then nobody is shown as
  typing for too long; only the wake-up waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from conduitstore.codec.keys import encode_id
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.parts.holder import Parts
from conduitstore.types import Count, RoomId, UserId

TIMEOUT_MS_MAX = 10 * 60 * 1000


class Transaction(Protocol):
    """:meth:`Parts.transaction`, as far as it is used here."""

    def __call__(self, fn: Callable[[Parts], Count], /) -> Count: ...


def monotonic_ms() -> float:
    """A clock that nobody sets back."""
    return time.monotonic() * 1000


class Typing:
    """See the module. Any thread may use it.

    Args:
        transaction: a store's, where counts are drawn.
        touch: called with a room after its typing changed, to wake who waits for it.
        clock_ms: the time, in milliseconds since any moment.
    """

    def __init__(
        self,
        transaction: Transaction,
        touch: Callable[[RoomId], None],
        clock_ms: Callable[[], float] = monotonic_ms,
    ) -> None:
        self._transaction = transaction
        self._touch = touch
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._until_ms: dict[RoomId, dict[UserId, float]] = {}
        self._updates: dict[RoomId, Count] = {}

    def add(self, user: UserId, room: RoomId, timeout_ms: float) -> bool:
        """The user types for ``timeout_ms`` from now; at most ten minutes.

        Source: Conduit, typing_add.

        Returns:
            False where the user was typing already: only the time is put off, and nobody woken.
        """
        encode_id(user), encode_id(room)
        until_ms = self._clock_ms() + _checked(timeout_ms)
        with self._lock:
            if self._is_typing(user, room):
                self._until_ms[room][user] = until_ms
                return False
        self._change(room, lambda users: users | {user: until_ms})
        return True

    def remove(self, user: UserId, room: RoomId) -> bool:
        """The user stopped; False where that is no news. Source: Conduit, typing_remove."""
        with self._lock:
            if not self._is_typing(user, room):
                return False
        self._change(room, lambda users: {u: until for u, until in users.items() if u != user})
        return True

    def users(self, room: RoomId) -> list[UserId]:
        """Who is typing in the room, those who began first first. Source: Conduit, typings_all."""
        with self._lock:
            return [user for user in self._until_ms.get(room, ()) if self._is_typing(user, room)]

    def last_update(self, room: RoomId) -> Count:
        """When the room's typing last changed; 0 for never since the store was opened.

        Source: Conduit, last_typing_update.
        """
        with self._lock:
            return self._updates.get(room, Count(0))

    def next_expiry_ms(self) -> float | None:
        """How long until the next time runs out, 0 or more; None while nobody types."""
        with self._lock:
            ends = [end for users in self._until_ms.values() for end in users.values()]
            return max(min(ends) - self._clock_ms(), 0) if ends else None

    def expire(self) -> list[RoomId]:
        """Forget those whose time ran out, and wake their rooms; gives the rooms."""
        now_ms = self._clock_ms()
        with self._lock:
            rooms = [r for r, users in self._until_ms.items() if min(users.values()) <= now_ms]
        for room in rooms:
            self._change(room, lambda users: users)
        return rooms

    def _is_typing(self, user: UserId, room: RoomId) -> bool:
        """With the lock held."""
        return self._until_ms.get(room, {}).get(user, 0) > self._clock_ms()

    def _change(
        self, room: RoomId, change: Callable[[dict[UserId, float]], dict[UserId, float]]
    ) -> None:
        """Note the change inside the commit that draws its count, then wake."""

        def note(tx: Parts) -> Count:
            count = tx.globals.draw()
            now_ms = self._clock_ms()
            with self._lock:
                users = change(self._until_ms.pop(room, {}))
                still = {user: until for user, until in users.items() if until > now_ms}
                if still:
                    self._until_ms[room] = still
                self._updates[room] = count
            return count

        self._transaction(note)
        self._touch(room)


def _checked(timeout_ms: float) -> float:
    if type(timeout_ms) not in (int, float) or not timeout_ms > 0:
        raise InvalidArgumentError(
            f"a typing timeout is a number of milliseconds above 0, not {shown(timeout_ms)}"
        )
    return min(timeout_ms, TIMEOUT_MS_MAX)
