"""What a homeserver asks: traces of the parts, on the rows that the parts made."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

from peers import Contender, Write

import conduitstore
from conduitstore.codec.events import event_id_of
from conduitstore.parts.holder import Parts
from conduitstore.schema import TREES
from conduitstore.store import Store
from conduitstore.sync import sync
from conduitstore.types import AccessToken, Count, DeviceId, EventId, JsonObject, RoomId, UserId

from .arena import Arena, Line, Work
from .trace import COUNT_KEY, GLOBAL, Step, recorded
from .world import batches

ROOMS = 500
JOINED = {5: UserId("@five:one.test"), 50: UserId("@fifty:one.test"), 500: UserId("@all:one.test")}
EVENTS = 20
BUSY_ROOMS = 5
PHONE = DeviceId("PHONE")
SENDER = UserId("@talker:one.test")
DEVICES = [DeviceId(f"DEVICE{n}") for n in range(100)]
ALGORITHM = "signed_curve25519"
CLAIMS = 20


class World:
    """A homeserver in memory that goes on living; each round records what it did next."""

    def __init__(self) -> None:
        self.store = conduitstore.open(":memory:")
        self.beside: list[Write] = []
        self._numbers = itertools.count()
        self.store.transaction(self._settle)
        self.since = Count(self.store.globals.current_count())
        self.rows = [
            Write(name, key, value)
            for name in self.store.db.tree_names()
            for key, value in self.store.db.open_tree(name)
        ]
        self.rows.append(Write(GLOBAL, COUNT_KEY, int(self.since).to_bytes(8)))

    def aside(self, operation: Callable[[Parts], object]) -> None:
        """Do what a round needs beforehand; contenders get its rows, not timed."""
        self.beside += recorded(self.store, operation, is_reading=False).writes

    def _settle(self, parts: Parts) -> None:
        for user in (*JOINED.values(), SENDER):
            parts.users.create(user, "hash")
        parts.devices.create(SENDER, PHONE, AccessToken("token"))
        for device in DEVICES:
            parts.devices.create(JOINED[5], device, AccessToken(f"token {device}"))
        for number in range(ROOMS):
            members = [user for rooms, user in JOINED.items() if number < rooms]
            self._furnish(parts, RoomId(f"!room{number}:one.test"), members)

    def _furnish(self, parts: Parts, room: RoomId, members: Sequence[UserId]) -> None:
        self.say(parts, room, "m.room.create", {"room_version": "11"}, "")
        for user in (SENDER, *members):
            self.say(parts, room, "m.room.member", {"membership": "join"}, user, sender=user)
        for kind in ("m.room.power_levels", "m.room.join_rules", "m.room.name"):
            self.say(parts, room, kind, {"name": room}, "")
        for _ in range(EVENTS):
            self.say(parts, room)

    def say(
        self,
        parts: Parts,
        room: RoomId,
        type: str = "m.room.message",
        content: JsonObject | None = None,
        state_key: str | None = None,
        *,
        sender: UserId = SENDER,
    ) -> None:
        pdu, event_id = self.event(room, type, content, state_key, sender)
        parts.rooms.append(pdu, event_id, room)

    def event(
        self,
        room: RoomId,
        type: str = "m.room.message",
        content: JsonObject | None = None,
        state_key: str | None = None,
        sender: UserId = SENDER,
    ) -> tuple[JsonObject, EventId]:
        number = next(self._numbers)
        pdu: JsonObject = {
            "type": type,
            "room_id": room,
            "sender": sender,
            "content": content or {"msgtype": "m.text", "body": f"{number} " + "word " * 40},
            "origin_server_ts": 1_700_000_000_000 + number,
            "depth": number,
            "prev_events": [],
            "auth_events": [],
        }
        if state_key is not None:
            pdu["state_key"] = state_key
        return pdu, event_id_of(pdu, "11")


def write_steps(store: Store, operations: Sequence[Callable[[Parts], object]]) -> list[Step]:
    return [recorded(store, operation, is_reading=False) for operation in operations]


def appends(world: World, chance: random.Random) -> list[Step]:
    rooms = [RoomId(f"!room{chance.randrange(BUSY_ROOMS)}:one.test") for _ in range(100)]
    said = [(*world.event(room), room) for room in rooms]
    return write_steps(world.store, [partial(_append, said=one) for one in said])


def _append(parts: Parts, said: tuple[JsonObject, EventId, RoomId]) -> None:
    parts.rooms.append(*said)


def fan_out(world: World, chance: random.Random) -> list[Step]:
    contents = {
        device: {"algorithm": "m.olm.v1", "ciphertext": chance.randbytes(150).hex()}
        for device in DEVICES
    }
    messages = {JOINED[5]: contents}
    return write_steps(
        world.store,
        [lambda parts: parts.to_device.queue_many(SENDER, "m.room.encrypted", messages)] * 5,
    )


def drains(world: World, _: random.Random) -> list[Step]:
    def drain(parts: Parts, device: DeviceId) -> None:
        now = Count(parts.globals.current_count())
        parts.to_device.events_since(JOINED[5], device, Count(0), now)
        parts.to_device.forget_until(JOINED[5], device, now)

    return write_steps(world.store, [partial(drain, device=device) for device in DEVICES])


def syncs(world: World, _: random.Random, *, rooms: int) -> list[Step]:
    """Since what was said last, in a few rooms."""
    before = Count(world.store.globals.current_count())
    for number in range(BUSY_ROOMS):
        room = RoomId(f"!room{number}:one.test")
        world.aside(partial(world.say, room=room))
    ask = partial(sync, user=JOINED[rooms], device=PHONE, since=before)
    return [recorded(world.store, ask, is_reading=True)] * 5


def claims(world: World, chance: random.Random) -> list[Step]:
    keys = {f"{ALGORITHM}:{chance.randbytes(6).hex()}": {"key": "k" * 43} for _ in range(CLAIMS)}
    world.aside(lambda parts: parts.one_time_keys.add(SENDER, PHONE, keys))
    return write_steps(
        world.store, [lambda parts: parts.one_time_keys.claim(SENDER, PHONE, ALGORITHM)] * CLAIMS
    )


def lookups(world: World, chance: random.Random) -> list[Step]:
    def look(parts: Parts, room: RoomId) -> None:
        state = parts.rooms.state.current(room)
        assert state is not None
        parts.rooms.state_accessor.get(state, "m.room.power_levels", "")

    rooms = [RoomId(f"!room{chance.randrange(ROOMS)}:one.test") for _ in range(200)]
    return [recorded(world.store, partial(look, room=room), is_reading=True) for room in rooms]


Record = Callable[[World, random.Random], list[Step]]


class Replayed:
    """A line's preparation: every contender gets the same steps of each round, in order.

    What the world wrote for a round beside its steps is written before them, not timed.
    """

    def __init__(self, world: Callable[[], World], record: Record) -> None:
        self._world = world
        self._record = record
        self._steps: list[tuple[list[Write], list[Step]]] = []
        self._rounds: dict[str, Iterator[int]] = defaultdict(itertools.count)

    def __call__(self, contender: Contender, chance: random.Random) -> Work:
        number = next(self._rounds[contender.name])
        while len(self._steps) <= number:
            self._steps.append(self._recorded(chance))
        beside, steps = self._steps[number]
        contender.write(beside)
        return lambda: [step.on(contender) for step in steps]

    def _recorded(self, chance: random.Random) -> tuple[list[Write], list[Step]]:
        world = self._world()
        steps = self._record(world, chance)
        beside, world.beside = world.beside, []
        return beside, steps


def arena() -> Arena:
    world = cache(World)

    def line(name: str, operations: int, record: Record, target: float | None = None) -> Line:
        targets = {} if target is None else {"best": target}
        return Line(name, operations, Replayed(world, record), targets)

    return Arena(
        "homeserver",
        tuple(TREES),
        lambda: batches(world().rows),
        [
            line("append an event", 100, appends),
            line("to-device, to 100 devices", 5, fan_out),
            line("to-device, drain one device", 100, drains),
            *(line(f"sync of {n} rooms", 5, partial(syncs, rooms=n)) for n in JOINED),
            line("claim a one-time key", CLAIMS, claims),
            line("look up state", 200, lookups),
        ],
    )
