"""What a homeserver's calls cost on PostgreSQL, and how that grows with clients and with nodes.

    python benchmarks/scale.py [--seconds S] [--clients 1,2,4] [--only one,three]

Each client is a process with a store of its own, as a worker of a homeserver has it; of the
embedded engine, which one process writes to, it is a thread. Servers are started here, with
``fsync`` on; three nodes are one that writes and two standbys, of which one must have a durable
commit. On the line "standbys" clients that only read are spread over those. Printed are operations
in a second of all clients together, and how often one operation waits for the server.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import conduitstore
from conduitstore.codec.events import event_id_of
from conduitstore.demo.messages import ROOM_VERSION, message
from conduitstore.store import Store
from conduitstore.sync import sync
from conduitstore.testing.cluster import cluster
from conduitstore.testing.postgres import running
from conduitstore.types import AccessToken, Count, DeviceId, RoomId, UserId

ROOMS = 20
DEVICES = 20
CLIENTS_MAX = 1_000
ALICE, BOB = UserId("@alice:example.org"), UserId("@bob:example.org")
PHONES = [DeviceId(f"PHONE{number}") for number in range(DEVICES)]
SAFE = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "256MB"}
Operation = Callable[[Store, int, int], object]
"""What is done, by which client, for the how manieth time."""


def room(number: int) -> RoomId:
    return RoomId(f"!room{number % ROOMS}:example.org")


def prepare(store: Store) -> None:
    """Twenty rooms with two members and ten events, twenty devices of each."""
    for user in (ALICE, BOB):
        store.users.create(user, None)
        for phone in PHONES:
            store.devices.create(user, phone, AccessToken(f"{user}{phone}"), None)
    for number in range(ROOMS):
        for user in (ALICE, BOB):
            pdu, _ = message(room(number), user, "", 0)
            pdu |= {"type": "m.room.member", "state_key": user, "content": {"membership": "join"}}
            store.rooms.append(pdu, event_id_of(pdu, ROOM_VERSION), room(number))
        for depth in range(10):
            store.rooms.append(*message(room(number), BOB, f"hello {depth}", depth), room(number))


def append(store: Store, client: int, number: int) -> None:
    """A message; its depth is nobody else's, since the text is no part of what an id is made of."""
    text = f"client {client} says {number} at {time.time_ns()}"
    depth = number * CLIENTS_MAX + client
    store.rooms.append(*message(room(client + number), ALICE, text, depth), room(client + number))


def fan_out_and_drain(store: Store, client: int, _number: int) -> None:
    """A message to each of a user's devices; the client's own takes it."""
    content = {"algorithm": "m.olm.v1", "ciphertext": "x" * 200}
    messages = {ALICE: dict.fromkeys(PHONES, content)}
    upto = store.to_device.queue_many(BOB, "m.room.encrypted", messages)[-1]
    phone = PHONES[client % DEVICES]
    store.to_device.events_since(ALICE, phone, Count(0), upto)
    store.to_device.forget_until(ALICE, phone, upto)


def sync_nothing_new(store: Store, client: int, _number: int) -> None:
    with store.snapshot() as view:
        sync(view, ALICE, PHONES[client % DEVICES], view.globals.current_count())


def upload_and_claim(store: Store, client: int, _number: int) -> None:
    phone, name = PHONES[client % DEVICES], f"signed_curve25519:{time.time_ns()}_{client}"
    store.one_time_keys.add(BOB, phone, {name: {"key": name}})
    assert store.one_time_keys.claim(BOB, phone, "signed_curve25519")


def look_up_state(store: Store, client: int, number: int) -> None:
    with store.snapshot() as view:
        assert view.rooms.state_accessor.member(room(client + number), ALICE)


READS: dict[str, Operation] = {"sync, nothing new": sync_nothing_new, "state": look_up_state}
WORKLOADS: dict[str, Operation] = {
    "append": append,
    "fan out, drain": fan_out_and_drain,
    "upload, claim": upload_and_claim,
} | READS


def run_for(store: Store, name: str, client: int, seconds: float) -> tuple[int, int]:
    """How many operations, and how often they waited for a server."""
    operation = WORKLOADS[name]
    pool = getattr(store.db, "pool", None)
    before = pool.trips_total if pool else 0
    total, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        operation(store, client, total)
        total += 1
    return total, (pool.trips_total if pool else 0) - before


def be_client(dsn: str, client: int, *, reads: bool) -> None:
    """A process: takes ``[name, seconds]`` from its input, line by line, and prints what it did."""
    with conduitstore.open(dsn, read_only=reads) as store:
        print("ready", flush=True)
        for line in sys.stdin:
            name, seconds = json.loads(line)
            operation = WORKLOADS[name]
            operation(store, client, 0)  # Statements are prepared, trees are known.
            print("ready", flush=True)
            sys.stdin.readline()
            print(json.dumps(run_for(store, name, client, seconds)), flush=True)


class Clients:
    """Processes that do the same at the same time."""

    def __init__(self, dsns: list[str], *, reads: bool = False) -> None:
        command = [sys.executable, __file__, "--client"]
        self._processes = [
            subprocess.Popen(  # noqa: S603 - ourselves
                [*command, json.dumps([dsn, number, reads])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number, dsn in enumerate(dsns)
        ]
        self._hear()

    def measure(self, name: str, seconds: float) -> tuple[float, float]:
        """Operations in a second, and waits for the server in an operation."""
        self._say(json.dumps([name, seconds]))
        self._hear()
        self._say("go")
        found = [json.loads(line) for line in self._hear()]
        total, trips = (sum(side) for side in zip(*found, strict=True))
        return total / seconds, trips / max(1, total)

    def _say(self, line: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()

    def _hear(self) -> list[str]:
        return [process.stdout.readline() for process in self._processes if process.stdout]

    def close(self) -> None:
        for process in self._processes:
            process.communicate()


def on_servers(dsns: list[str], clients: int, seconds: float, *, reads: bool = False) -> Row:
    """A row of the table: every workload in turn."""
    group = Clients([dsns[number % len(dsns)] for number in range(clients)], reads=reads)
    try:
        return {name: group.measure(name, seconds) for name in (READS if reads else WORKLOADS)}
    finally:
        group.close()


Row = dict[str, tuple[float, float]]


def embedded(clients: int, seconds: float) -> Row:
    """The same by threads of one process, in a directory."""
    row: Row = {}
    with tempfile.TemporaryDirectory() as place, conduitstore.open(Path(place) / "s") as store:
        prepare(store)
        for name in WORKLOADS:
            totals: list[int] = []

            def run(client: int, name: str = name, totals: list[int] = totals) -> None:
                totals.append(run_for(store, name, client, seconds)[0])

            threads = [threading.Thread(target=run, args=(n,)) for n in range(clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            row[name] = sum(totals) / seconds, 0.0
    return row


@contextmanager
def one_node() -> Iterator[list[str]]:
    with running(settings=SAFE) as server:
        yield [server.dsn]


@contextmanager
def three_nodes() -> Iterator[list[str]]:
    with cluster(settings=SAFE) as nodes:
        yield [nodes.dsn, *(standby.dsn for standby in nodes.standbys.values())]


def shown(engine: str, clients: int, row: Row) -> None:
    cells = [
        f"{row[name][0]:9,.0f} {row[name][1]:5.1f}" if name in row else "" for name in WORKLOADS
    ]
    print(f"{engine:10}{clients:>8}", *(f"{cell:>18}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument(
        "--clients", default="1,4", help="how many, one row each; up to 32 make sense"
    )
    parser.add_argument("--only", default="embedded,one,three", help="of these, which")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        dsn, number, reads = json.loads(options.client)
        be_client(dsn, number, reads=reads)
        return
    numbers = [int(word) for word in options.clients.split(",")]
    print(f"{'engine':10}{'clients':>8}", *(f"{name:>18}" for name in WORKLOADS))
    print(f"{'':18}", *(f"{'per s':>12} waits" for _ in WORKLOADS))
    chosen = options.only.split(",")
    if "embedded" in chosen:
        for number in numbers:
            shown("embedded", number, embedded(number, options.seconds))
    for name, made in (("one", one_node), ("three", three_nodes)):
        if name in chosen:
            measure_servers(name, made, numbers, options.seconds)


def measure_servers(name: str, made: Nodes, numbers: list[int], seconds: float) -> None:
    with made() as (primary, *standbys):
        with conduitstore.open(primary) as store:
            prepare(store)
        for number in numbers:
            shown(name, number, on_servers([primary], number, seconds))
            if standbys:
                shown("standbys", number, on_servers(standbys, number, seconds, reads=True))


Nodes = Callable[[], AbstractContextManager[list[str]]]

if __name__ == "__main__":
    main()
