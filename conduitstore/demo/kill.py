"""A writer process, killed with SIGKILL in the middle of its writes.

The writer appends messages and prints each event id once the call returned: that is its word that
the event is stored. Its reader counts, kills it without warning, and looks for every one of them.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import conduitstore
from conduitstore.types import EventId, RoomId, UserId

from .messages import message

ROOM = RoomId("!killed:demo.test")
SENDER = UserId("@writer:demo.test")


@dataclass(frozen=True, slots=True)
class Kill:
    """What was promised and what was kept.

    Attributes:
        acknowledged: ids the writer printed.
        missing: those of them that the reopened store does not have.
        stored_total: events in the room; at most one more than acknowledged.
        was_killed: whether it was still writing; else it ended by itself.
        was_recovered: whether opening the store again had to replay the log.
    """

    acknowledged: list[EventId]
    missing: list[EventId]
    stored_total: int
    was_killed: bool
    was_recovered: bool


def kill_a_writer(path: Path, acknowledged_least: int = 300) -> Kill:
    """Start a writer on the store at ``path``, kill it, open the store again and compare.

    The store must be closed: a directory has one writer at a time.
    """
    writer = subprocess.Popen(  # noqa: S603  # ourselves
        [sys.executable, "-m", __spec__.name, str(path)], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    with writer.stdout as lines:
        acknowledged = [next(lines, b"") for _ in range(acknowledged_least)]
        writer.kill()
        acknowledged += list(lines)  # What it had said before it died.
    was_killed = writer.wait() == -signal.SIGKILL
    # A last line without an end was not said to the end: no acknowledgement.
    ids = [EventId(line.decode().strip()) for line in acknowledged if line.endswith(b"\n")]
    return _compare(path, ids, was_killed=was_killed)


def _compare(path: Path, acknowledged: list[EventId], *, was_killed: bool) -> Kill:
    with conduitstore.open(path) as store, store.snapshot() as view:
        timeline = view.rooms.timeline
        missing = [event_id for event_id in acknowledged if timeline.get(event_id) is None]
        stored_total, start = 0, None
        while True:
            events, start = timeline.page(ROOM, start, "f", 1_000)
            stored_total += len(events)
            if start is None:
                break
        return Kill(acknowledged, missing, stored_total, was_killed, store.db.was_recovered)


def write_for_ever(path: Path) -> None:
    """Append messages one commit each, acknowledging each, until something stops it."""
    with conduitstore.open(path) as store:
        depth = 0
        while True:
            depth += 1
            pdu, event_id = message(ROOM, SENDER, f"message {depth}", depth)
            store.rooms.append(pdu, event_id, ROOM)
            print(event_id, flush=True)  # noqa: T201  # the pipe to the reader


if __name__ == "__main__":
    write_for_ever(Path(sys.argv[1]))
