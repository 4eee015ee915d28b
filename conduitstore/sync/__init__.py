"""The storage half of /sync: what is new for a device since a token, read from one snapshot.

Everything comes from one instant and that instant's count is the next token, so nothing can be
missed and nothing is told twice. Reading writes nothing: what the token acknowledges is dropped by
:func:`acknowledge`, before or after, and syncs of one user do not wake each other.
"""

from __future__ import annotations

from conduitstore.parts.holder import Parts
from conduitstore.types import Count, DeviceId, UserId

from .answer import JoinedRoom, LeftRoom, SyncAnswer, SyncOptions
from .rooms import joined_room, left_room

__all__ = [
    "JoinedRoom",
    "LeftRoom",
    "SyncAnswer",
    "SyncOptions",
    "acknowledge",
    "sync",
]

_DEFAULT = SyncOptions()


def sync(
    view: Parts, user: UserId, device: DeviceId, since: Count, options: SyncOptions = _DEFAULT
) -> SyncAnswer:
    """Everything a device has to be told of (since, now].

    Args:
        view: a snapshot's view or a transaction, so that it is one instant; not the store.
        user: whose sync it is.
        device: whose to-device messages to read.
        since: the ``next_batch`` of the answer before, 0 for a first sync.
        options: what the client's filter asks for.

    Cost: some ranges for each room the user is in.
    """
    upto = view.globals.current_count()
    members = view.rooms.members
    new_rooms = set(members.joined_since(user, since, upto))
    joined = members.rooms_joined(user)
    rooms = {
        room: joined_room(view, user, room, Count(0) if room in new_rooms else since, upto, options)
        for room in joined
    }
    has_left = members.changes_since(user, "leave", since, upto)
    return SyncAnswer(
        next_batch=upto,
        joined={room: news for room, news in rooms.items() if news or room in new_rooms},
        invited=members.changes_since(user, "invite", since, upto),
        knocked=members.changes_since(user, "knock", since, upto),
        left={
            change.room: left_room(view, user, change, since, options)
            for change in (has_left if since or options.include_left else ())
        },
        to_device=view.to_device.events_since(user, device, since, upto),
        account_data=view.account_data.changes_since(None, user, since, upto),
        keys_changed=view.key_changes.since_many([user, *joined], since, upto) if since else set(),
        one_time_keys=view.one_time_keys.counts(user, device),
        unused_fallback_algorithms=view.one_time_keys.unused_fallback_algorithms(user, device),
    )


def acknowledge(parts: Parts, user: UserId, device: DeviceId, since: Count) -> None:
    """Drop what a client shows to have received by syncing from ``since``.

    Writes only where there is something to drop.
    """
    if parts.to_device.events_since(user, device, Count(0), since, limit=1):
        parts.to_device.forget_until(user, device, since)
