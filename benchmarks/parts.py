"""What the parts cost above the engine: an operation against the raw calls that it makes.

    python benchmarks/parts.py [--operations N]

Each operation runs once over a recorder, which notes every call that reaches the engine with its
arguments. Then the operations run on a fresh store, and the recorded calls alone on another, in
turn. Printed are both times per operation and their ratio: what is above 1 is spent on keys,
values, checks and savepoints. Both stores are in memory, so that no disk blurs the ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import conduitstore
from conduitstore.codec.events import event_id_of
from conduitstore.demo.messages import ROOM_VERSION, message
from conduitstore.kv import Database
from conduitstore.parts.holder import Parts
from conduitstore.store import Store
from conduitstore.sync import sync
from conduitstore.types import Count, DeviceId, EventId, JsonObject, RoomId, UserId

ROUNDS = 5
ROOMS = 20
ALICE, BOB, PHONE = UserId("@alice:example.org"), UserId("@bob:example.org"), DeviceId("PHONE")

Call = tuple[str, str, tuple[Any, ...], dict[str, Any]]
Operation = Callable[[Parts], object]


class RecordingTree:
    """A tree that notes what it is asked; an iterator is used up, as a part would use it up."""

    def __init__(self, tree: Any, calls: list[Call]) -> None:
        self.name = tree.name
        self._tree = tree
        self._calls = calls

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def ask(*args: Any, **kwargs: Any) -> Any:
            args = tuple(list(arg) if isinstance(arg, Iterator) else arg for arg in args)
            self._calls.append((self.name, method, args, kwargs))
            return getattr(self._tree, method)(*args, **kwargs)

        return ask


class Recorder:
    """A transaction or snapshot of which the trees note what they are asked."""

    def __init__(self, keyspace: Any, calls: list[Call]) -> None:
        self._keyspace = keyspace
        self._calls = calls

    def open_tree(self, name: str) -> RecordingTree:
        return RecordingTree(self._keyspace.open_tree(name), self._calls)

    def transaction(self, fn: Callable[[Any], Any], **_: Any) -> Any:
        return fn(self)

    def next_count(self) -> int:
        self._calls.append(("", "next_count", (), {}))
        return int(self._keyspace.next_count())

    def current_count(self) -> int:
        self._calls.append(("", "current_count", (), {}))
        return int(self._keyspace.current_count())


def record(store: Store, operation: Operation, *, is_reading: bool) -> list[Call]:
    """The calls that ``operation`` makes, which is done on ``store``."""
    calls: list[Call] = []

    def run(keyspace: Any) -> None:
        operation(Parts(Recorder(keyspace, calls)))  # type: ignore[arg-type]  # as much as is used

    if is_reading:
        with store.db.snapshot() as view:
            run(view)
    else:
        store.db.transaction(run)
    return calls


def replay(keyspace: Any, calls: list[Call]) -> None:
    """Make the calls, each tree opened once."""
    trees = {"": keyspace}
    for name, method, args, kwargs in calls:
        if name not in trees:
            trees[name] = keyspace.open_tree(name)
        found = getattr(trees[name], method)(*args, **kwargs)
        if method in ("range", "scan_prefix", "keys"):
            list(found)


def prepared() -> Store:
    """Twenty rooms with Alice and Bob in them, and ten events in each."""
    store = conduitstore.open(":memory:")
    for number in range(ROOMS):
        room = RoomId(f"!room{number}:example.org")
        for user in (ALICE, BOB):
            _append(store, *_join(room, user), room)
        for depth in range(10):
            _append(store, *message(room, BOB, f"hello {depth}", depth), room)
    return store


def _join(room: RoomId, user: UserId) -> tuple[JsonObject, EventId]:
    pdu, _ = message(room, user, "", 0)
    pdu |= {"type": "m.room.member", "state_key": user, "content": {"membership": "join"}}
    return pdu, event_id_of(pdu, ROOM_VERSION)


def appends(total: int) -> list[Operation]:
    room = RoomId("!room0:example.org")
    named = [message(room, ALICE, f"message {number}", number) for number in range(total)]
    return [partial(_append, pdu=pdu, event_id=event_id, room=room) for pdu, event_id in named]


def _append(parts: Parts, pdu: JsonObject, event_id: EventId, room: RoomId) -> None:
    parts.rooms.append(pdu, event_id, room)


def queues(total: int) -> list[Operation]:
    content = {"algorithm": "m.olm.v1", "ciphertext": "x" * 200}
    return [lambda parts: parts.to_device.queue(BOB, ALICE, PHONE, "m.room.encrypted", content)] * (
        total
    )


def drain(parts: Parts) -> None:
    """Ten messages in, delivered, acknowledged, as one commit."""
    counts = [parts.to_device.queue(BOB, ALICE, PHONE, "t", {"n": n}) for n in range(10)]
    parts.to_device.events_since(ALICE, PHONE, Count(0), counts[-1])
    parts.to_device.forget_until(ALICE, PHONE, counts[-1])


def _sync_from_now(parts: Parts) -> None:
    sync(parts, ALICE, PHONE, parts.globals.current_count())


def measures(total: int) -> list[tuple[str, Sequence[Operation], bool]]:
    """Name, operations, and whether they only read."""
    return [
        ("append an event", appends(total), False),
        ("queue a to-device message", queues(total), False),
        ("queue and drain ten", [lambda parts: parts.transaction(drain)] * (total // 10), False),
        ("sync, nothing new", [_sync_from_now] * 50, True),
        ("sync from the start", [lambda parts: sync(parts, ALICE, PHONE, Count(0))] * 20, True),
    ]


def seconds(run: Callable[[], None]) -> float:
    """How long ``run`` keeps a processor busy: others on the machine do not blur it."""
    started = time.process_time()
    run()
    return time.process_time() - started


def compare(operations: Sequence[Operation], *, is_reading: bool) -> tuple[float, float]:
    """Seconds for all of them by the parts, and by the calls alone."""
    with prepared() as recorded:
        calls = [record(recorded, operation, is_reading=is_reading) for operation in operations]

    def by_parts(store: Store) -> None:
        for operation in operations:
            if is_reading:
                with store.snapshot() as view:
                    operation(view)
            else:
                operation(store)

    def by_calls(db: Database) -> None:
        for made in calls:
            if is_reading:
                with db.snapshot() as view:
                    replay(view, made)
            else:
                db.transaction(partial(replay, calls=made))

    with prepared() as one, prepared() as other:
        return seconds(lambda: by_parts(one)), seconds(lambda: by_calls(other.db))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--operations", type=int, default=1_000)
    total = parser.parse_args().operations
    print(f"{'operation':28}{'parts us':>10}{'calls us':>10}{'ratio':>8}")
    for name, operations, is_reading in measures(total):
        times = [compare(operations, is_reading=is_reading) for _ in range(ROUNDS)]
        parts, raw = (min(side) / len(operations) * 1e6 for side in zip(*times, strict=True))
        print(f"{name:28}{parts:10.1f}{raw:10.1f}{parts / raw:8.2f}")


if __name__ == "__main__":
    main()
