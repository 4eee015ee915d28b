"""A history into a store: one operation after the other, one commit each, as it once happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Protocol

from conduitstore.parts.holder import Parts
from conduitstore.store import Store, View
from conduitstore.types import (
    AccessToken,
    Count,
    EventId,
    JsonObject,
    RoomId,
    ShortStateHash,
    StateKey,
    UserId,
)

from .history import History


class Tally:
    """What passes by on its way into the store.

    Attributes:
        operations: how many of each kind.
        events: how many in each room's timeline.
        names: each room's newest name.
        to_device_total: to-device messages, one for each device.
    """

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.events: Counter[RoomId] = Counter()
        self.names: dict[RoomId, str] = {}
        self.to_device_total = 0

    def watch(self, operations: Iterable[JsonObject]) -> Iterator[JsonObject]:
        """The operations, unchanged."""
        for operation in operations:
            self.operations[operation["do"]] += 1
            if operation["do"] in ("append", "backfill"):
                self._see_event(operation["room"], operation["pdu"])
            elif operation["do"] == "to_device":
                self.to_device_total += sum(map(len, operation["messages"].values()))
            yield operation

    def _see_event(self, room: RoomId, pdu: JsonObject) -> None:
        self.events[room] += 1
        if pdu["type"] == "m.room.name":
            self.names[room] = pdu["content"].get("name", "")


def replay(store: Store, operations: Iterable[JsonObject]) -> Iterator[None]:
    """Do the operations in order; gives back control after each commit."""
    for operation in operations:
        store.transaction(partial(_DO[operation["do"]], operation=operation))
        yield


def wrong_memberships(store: Store, history: History) -> list[RoomId]:
    """Rooms whose joined users are not those the homeserver itself ended with."""
    with store.snapshot() as view:
        members = view.rooms.members
        rooms = {room for user in _all_users(history) for room in members.rooms_joined(user)}
        return [
            room
            for room in sorted(rooms | history.joined.keys())
            if sorted(members.joined_members(room)) != history.joined.get(room, [])
        ]


def wrong_states(store: Store, history: History) -> list[RoomId]:
    """Rooms whose state is not the one the homeserver itself had resolved in the end."""
    with store.snapshot() as view:
        return [
            room
            for room, entries in history.state.items()
            if _state_of(view, room) != {(type, key): event for type, key, event in entries}
        ]


def _state_of(view: View, room: RoomId) -> dict[StateKey, EventId]:
    state = view.rooms.state.current(room)
    return {} if state is None else view.rooms.state_accessor.full_ids(state)


def _all_users(history: History) -> set[UserId]:
    return {user for users in history.joined.values() for user in users}


# What each operation does to the store --------------------------------------------------------


def _user(tx: Parts, operation: JsonObject) -> None:
    tx.users.create(operation["user"], password_hash=None)


def _device(tx: Parts, operation: JsonObject) -> None:
    user, device = operation["user"], operation["device"]
    tx.devices.create(user, device, AccessToken(f"token of {user} {device}"))


def _logout(tx: Parts, operation: JsonObject) -> None:
    tx.devices.remove(operation["user"], operation["device"])


def _append(tx: Parts, operation: JsonObject) -> None:
    room = operation["room"]
    for event_id, pdu in operation.get("brings", ()):
        tx.rooms.timeline.add_outlier(pdu, event_id)
    tx.rooms.append(operation["pdu"], operation["event_id"], room, after=_resolved(tx, operation))


def _resolved(tx: Parts, operation: JsonObject) -> ShortStateHash | None:
    """The room's state from this event on, where it is not just one event more."""
    if "state" not in operation:
        return None
    current = tx.rooms.state.current(operation["room"])
    changes = {(type, state_key): event_id for type, state_key, event_id in operation["state"]}
    states = tx.rooms.state_compressor
    return states.change(states.save({}) if current is None else current, changes)


def _backfill(tx: Parts, operation: JsonObject) -> None:
    tx.rooms.append.backfilled(operation["pdu"], operation["event_id"], operation["room"])


def _outlier(tx: Parts, operation: JsonObject) -> None:
    tx.rooms.timeline.add_outlier(operation["pdu"], operation["event_id"])
    for user, _ in operation.get("members", ()):
        tx.rooms.members.follow(user, operation["room"], operation["pdu"])


def _to_device(tx: Parts, operation: JsonObject) -> None:
    tx.to_device.queue_many(operation["sender"], operation["type"], operation["messages"])


def _account_data(tx: Parts, operation: JsonObject) -> None:
    tx.account_data.update(
        operation["room"], operation["user"], operation["type"], operation["content"]
    )


def _receipt(tx: Parts, operation: JsonObject) -> None:
    user, room, event_id = operation["user"], operation["room"], operation["event_id"]
    if operation["type"] == "m.read.private":
        position = tx.rooms.timeline.position(event_id)
        tx.rooms.receipts.set_private_read(user, room, Count(max(position or 0, 0)))
        return
    detail = {key: operation[key] for key in ("ts", "thread_id") if key in operation}
    content = {event_id: {operation["type"]: {user: detail}}}
    tx.rooms.receipts.update(user, room, {"type": "m.receipt", "content": content})


class _Do(Protocol):
    def __call__(self, tx: Parts, operation: JsonObject) -> None: ...


_DO: dict[str, _Do] = {
    "user": _user,
    "device": _device,
    "logout": _logout,
    "append": _append,
    "backfill": _backfill,
    "outlier": _outlier,
    "to_device": _to_device,
    "account_data": _account_data,
    "receipt": _receipt,
}
