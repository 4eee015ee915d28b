"""The storage half of /sync: what is new for a device since a token, read from one snapshot.

Everything comes from one instant and that instant's count is the next token, so nothing can be
missed and nothing is told twice. Reading writes nothing, and syncs of one user do not wake each
other: what the token acknowledges is dropped by :func:`acknowledge`, and which members an answer
shows is noted by :func:`witness`.
"""

from __future__ import annotations

from conduitstore.codec.keys import check_u64
from conduitstore.parts.holder import Parts
from conduitstore.types import Count, DeviceId, RoomChange, UserId

from .answer import DeviceLists, JoinedRoom, LeftRoom, Summary, SyncAnswer
from .filter import EventFilter
from .messages import EventContext, HistoryOptions, MessagesPage, context, messages
from .request import Request, SyncOptions, TypingNow
from .rooms import ended_stay, joined_rooms, left_room
from .users import device_lists, presence_of
from .window import state_windows

__all__ = [
    "DeviceLists",
    "EventContext",
    "EventFilter",
    "HistoryOptions",
    "JoinedRoom",
    "LeftRoom",
    "MessagesPage",
    "Summary",
    "SyncAnswer",
    "SyncOptions",
    "acknowledge",
    "context",
    "messages",
    "sync",
    "witness",
]

_DEFAULT = SyncOptions()


def sync(
    view: Parts,
    user: UserId,
    device: DeviceId,
    since: Count,
    options: SyncOptions = _DEFAULT,
    typing: TypingNow | None = None,
) -> SyncAnswer:
    """Everything a device has to be told of (since, now].

    Hiding whom the user ignores, and events the user may not see, is the homeserver's.

    Args:
        view: a snapshot's view or a transaction, so that it is one instant; not the store.
        user: whose sync it is.
        device: whose to-device messages to read.
        since: the ``next_batch`` of the answer before, 0 for a first sync.
        options: what the client's filter asks for.
        typing: ``store.typing``; None tells nobody's typing.

    Cost: bulk reads, as many for many rooms as for one, with a range or two for each room the user
    is in; and some reads for each room that has a new state, or is new to the client.
    """
    check_u64(since)
    upto = view.globals.current_count()
    request = Request(view, user, device, since, upto, options, typing)
    members = view.rooms.members
    rooms = {
        room: Count(0) if since < joined <= upto else since
        for room, joined in members.joins(user).items()
    }
    windows = state_windows(view, rooms, upto)
    invited = members.changes_since(user, "invite", since, upto)
    knocked = members.changes_since(user, "knock", since, upto)
    left = _stays_ended(request, [*invited, *knocked])
    return SyncAnswer(
        next_batch=upto,
        joined=joined_rooms(request, windows),
        invited=invited,
        knocked=knocked,
        left={change.room: left_room(request, change) for change in left},
        to_device=view.to_device.events_since(user, device, since, upto),
        account_data=view.account_data.changes_since(None, user, since, upto),
        presence=presence_of(request, list(windows)),
        device_lists=device_lists(request, windows, left),
        one_time_keys=view.one_time_keys.counts(user, device),
        unused_fallback_algorithms=view.one_time_keys.unused_fallback_algorithms(user, device),
        keys_were_used=since < view.one_time_keys.last_update(user) <= upto,
    )


def _stays_ended(request: Request, asking: list[RoomChange]) -> list[RoomChange]:
    """Rooms left, also those that the user was invited to or knocked on since."""
    found = [ended_stay(request, change) for change in asking]
    ended = [change for change in found if change is not None]
    if request.since or request.options.include_left:
        leave = request.view.rooms.members.changes_since
        ended += leave(request.user, "leave", request.since, request.upto)
    return ended


def acknowledge(parts: Parts, user: UserId, device: DeviceId, since: Count) -> None:
    """Drop what a client shows to have received by syncing from ``since``.

    Writes only where there is something to drop.
    """
    if parts.to_device.events_since(user, device, Count(0), since, limit=1):
        parts.to_device.forget_until(user, device, since)


def witness(parts: Parts, user: UserId, device: DeviceId, since: Count, answer: SyncAnswer) -> None:
    """Note which members an answer shows, before it goes out; for clients that load them lazily.

    What an answer shows counts as known once the device comes back with its ``next_batch``, or a
    later one. Without this call, members are told with every answer that shows events of theirs.
    """
    if answer.joined:
        parts.transaction(lambda tx: _witness(tx, user, device, since, answer))


def _witness(tx: Parts, user: UserId, device: DeviceId, since: Count, answer: SyncAnswer) -> None:
    for room, news in answer.joined.items():
        told_since = Count(0) if news.is_new else since
        tx.rooms.lazy_loading.witness(
            user, device, room, news.shown_members, since=told_since, token=answer.next_batch
        )
