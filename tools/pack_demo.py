"""Pack a captured homeserver history into the one stream that `conduitstore demo` replays.

    python tools/pack_demo.py CORPUS_FOLDER [OUTPUT]

The corpus holds what two federating servers, hs1 and hs2, stored and were sent. The stream tells it
as hs1 lived it, one JSON object a line, in arrival order:

    header       {"format", "source", "server", "totals": {operation: lines}}
    user         {"do": "user", "user"}
    device       {"do": "device", "user", "device"}
    append       {"do", "event_id", "room", "room_version", "pdu", "members"?, "state"?, "brings"?}
    backfill     the same, older than all that the room holds: newest first within a room
    outlier      the same, known but not part of the timeline (soft-failed events too)
    to_device    {"do", "sender", "type", "messages": {user: {device: content}}}
    receipt      {"do", "room", "user", "type", "event_id", "ts", "thread_id"?}
    account_data {"do", "room" (null: global), "user", "type", "content"}
    logout       {"do": "logout", "user", "device"}
    trailer      {"joined": {room: [user]}, "state": {room: [[type, state_key, event_id], ...]}}:
                 who is joined at the end, and the resolved state, to verify a replay by

`members` is the change of the resolved membership at that event: [[user, membership], ...], and
`state` that of the resolved state: [[type, state_key, event_id or null], ...]. `brings` are events
of the state that were not stored before, as a server gets them when it joins: [[event_id, pdu]].
"""

from __future__ import annotations

import gzip
import json
import sys
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import zstandard

FORMAT = 1
SERVER = "hs1.test"
SOURCE = "two federating homeservers, played by a script for this project; as hs1.test lived it"
OUTPUT = Path(__file__).parent.parent / "conduitstore" / "demo" / "two-servers.ndjson.zst"
COMPRESSION_LEVEL = 22
WINDOW_LOG = 23  # 8 MiB, the most every decoder accepts: repeated ids are found far back.

Json = dict[str, Any]
Timed = tuple[tuple[int, int, tuple[int, int]], Json]
"""Sort key (arrival position, rank there, order within the rank) and the line."""
AT_EVENT, BACKFILL, CLIENT_CALL = range(3)


class Arrival(NamedTuple):
    """One event's place in hs1's history."""

    position: int
    event_id: str
    room: str
    is_outlier: bool


def main() -> None:
    """Write the stream and say how large it became."""
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: pack_demo.py CORPUS_FOLDER [OUTPUT]")
    corpus = Path(sys.argv[1])
    output = Path(sys.argv[2]) if len(sys.argv) == 3 else OUTPUT
    lines = stream(corpus)
    text = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        COMPRESSION_LEVEL, window_log=WINDOW_LOG
    )
    packed = zstandard.ZstdCompressor(compression_params=parameters).compress(text)
    output.write_bytes(packed)
    print(f"{output}: {len(lines)} lines, {len(text)} bytes packed into {len(packed)}")


def stream(corpus: Path) -> list[Json]:
    """Header, every operation in arrival order, trailer."""
    pdus = {record["event_id"]: record for record in ndjson(corpus / "pdus.ndjson.gz")}
    arrivals = read_arrivals(corpus / "hs1-arrival.tsv.gz")
    deltas = read_deltas(corpus / "hs1-state_deltas.tsv.gz", arrivals)
    members = membership_changes(deltas, pdus, arrivals)
    calls = [c for c in ndjson(corpus / "client-data.ndjson.gz") if c["status"] == 200]
    timed = [*events(pdus, arrivals, members, state_changes(deltas)), *client_calls(calls)]
    operations = [line for _, line in sorted(timed, key=lambda item: item[0])]
    bring_state_events(operations, pdus)
    totals = Counter(line["do"] for line in operations)
    header = {"format": FORMAT, "source": SOURCE, "server": SERVER, "totals": dict(totals)}
    state = state_at_the_end(corpus / "hs1-current_state.tsv.gz")
    return [header, *operations, {"joined": joined_at_the_end(state, pdus), "state": state}]


# Events -----------------------------------------------------------------------------------------


def read_arrivals(path: Path) -> list[Arrival]:
    """Arrival order; a soft-failed event is known but not shown, as an outlier is."""
    return sorted(
        Arrival(int(position), event_id, room, "1" in (outlier, soft_failed))
        for position, event_id, room, outlier, soft_failed, _rejected in tsv(path)
    )


def events(
    pdus: dict[str, Json],
    arrivals: list[Arrival],
    members: dict[int, list[list[str]]],
    state: dict[int, list[list[str | None]]],
) -> Iterator[Timed]:
    """Every event as an append, a backfill or an outlier."""
    first_forward: dict[str, int] = {}
    for arrival in arrivals:
        if arrival.position > 0 and not arrival.is_outlier:
            first_forward.setdefault(arrival.room, arrival.position)
    for position, event_id, room, is_outlier in arrivals:
        record = pdus[event_id]
        line = {
            "do": "outlier" if is_outlier else "append" if position > 0 else "backfill",
            "event_id": event_id,
            "room": room,
            "room_version": record["room_version"],
            "pdu": record["pdu"],
        }
        if position in members:
            line["members"] = members[position]
        if position in state:
            line["state"] = state[position]
        if position > 0:
            yield (position, AT_EVENT, (0, 0)), line
        else:
            # hs1 numbered these as it worked through the room's state. A server that backfills is
            # given the newest first; where depths are equal, what arrived later is newer.
            yield (first_forward[room], BACKFILL, (-record["pdu"]["depth"], position)), line


def bring_state_events(operations: list[Json], pdus: dict[str, Json]) -> None:
    """Give each line the events that its state names and no line had before."""
    known: set[str] = set()
    for line in (line for line in operations if "pdu" in line):
        known.add(line["event_id"])
        named = [event_id for _, _, event_id in line.get("state", ()) if event_id]
        missing = [event_id for event_id in named if event_id not in known]
        if missing:
            line["brings"] = [[event_id, pdus[event_id]["pdu"]] for event_id in missing]
            known.update(missing)


class Delta(NamedTuple):
    """One change of a room's resolved state, told with the event at ``position``."""

    position: int
    stream_id: int
    room: str
    kind: str
    state_key: str
    event_id: str | None


def read_deltas(path: Path, arrivals: list[Arrival]) -> list[Delta]:
    """Every change of resolved state.

    A delta carries the position of the first event of its batch, or one just after the event that
    brought a room's whole state. The change is told with the event that made it when that comes
    later, else with the room's last event up to the delta.
    """
    position_of = {arrival.event_id: arrival.position for arrival in arrivals}
    positions: dict[str, list[int]] = defaultdict(list)
    for arrival in arrivals:
        positions[arrival.room].append(arrival.position)
    deltas = []
    for stream_id, room, kind, state_key, event_id, _previous in tsv(path):
        latest = max(int(stream_id), position_of.get(event_id, 0))
        position = positions[room][bisect_right(positions[room], latest) - 1]
        deltas.append(Delta(position, int(stream_id), room, kind, state_key, event_id or None))
    return sorted(deltas, key=lambda delta: delta.position)


def state_changes(deltas: list[Delta]) -> dict[int, list[list[str | None]]]:
    """Position to the changes of resolved state there."""
    changes: dict[int, list[list[str | None]]] = defaultdict(list)
    for delta in deltas:
        changes[delta.position].append([delta.kind, delta.state_key, delta.event_id])
    return changes


def membership_changes(
    deltas: list[Delta], pdus: dict[str, Json], arrivals: list[Arrival]
) -> dict[int, list[list[str]]]:
    """Position to the memberships that change there, by the server's own state resolution.

    hs1 resolves no state for a room it is not in, but is sent what concerns its own users (invites,
    their withdrawal): such events stand for themselves.
    """
    changes: list[tuple[int, str, str, str]] = []
    known_from: dict[str, int] = {}
    for delta in deltas:
        known_from[delta.room] = min(known_from.get(delta.room, sys.maxsize), delta.stream_id)
        if delta.kind == "m.room.member":
            membership = membership_in(pdus[delta.event_id]) if delta.event_id else "leave"
            changes.append((delta.position, delta.room, delta.state_key, membership))
    for position, event_id, room, _ in arrivals:
        user = pdus[event_id]["pdu"].get("state_key", "")
        is_ours = pdus[event_id]["pdu"]["type"] == "m.room.member" and user.endswith(":" + SERVER)
        if is_ours and 0 < position < known_from.get(room, sys.maxsize):
            changes.append((position, room, user, membership_in(pdus[event_id])))
    return grouped_changes(sorted(changes, key=lambda change: change[0]))


def grouped_changes(changes: Iterable[tuple[int, str, str, str]]) -> dict[int, list[list[str]]]:
    """By position, without those that repeat what already holds (a new display name, say)."""
    current: dict[tuple[str, str], str] = {}
    grouped: dict[int, list[list[str]]] = defaultdict(list)
    for position, room, user, membership in changes:
        if current.get((room, user)) != membership:
            current[room, user] = membership
            grouped[position].append([user, membership])
    return grouped


def membership_in(record: Json) -> str:
    """The membership a member event declares."""
    return str(record["pdu"]["content"]["membership"])


def state_at_the_end(path: Path) -> dict[str, list[list[str]]]:
    """Room to its resolved state: type, state key and event id of each entry."""
    state: dict[str, list[list[str]]] = defaultdict(list)
    for room, kind, state_key, event_id in tsv(path):
        state[room].append([kind, state_key, event_id])
    return {room: sorted(entries) for room, entries in sorted(state.items())}


def joined_at_the_end(
    state: dict[str, list[list[str]]], pdus: dict[str, Json]
) -> dict[str, list[str]]:
    """Room to its joined users, from the server's own resolved state."""
    joined = {
        room: sorted(
            user
            for kind, user, event_id in entries
            if kind == "m.room.member" and membership_in(pdus[event_id]) == "join"
        )
        for room, entries in state.items()
    }
    return {room: users for room, users in joined.items() if users}


# Client calls -----------------------------------------------------------------------------------


def client_calls(calls: list[Json]) -> Iterator[Timed]:
    """What hs1's users and devices did or were sent, each at hs1's position at that moment."""
    devices: dict[str, list[str]] = defaultdict(list)
    tags: dict[tuple[str, str], Json] = defaultdict(dict)
    for call in sorted(calls, key=lambda call: int(call["seq"])):
        lines = [*appearances(call, devices), *lines_of(call, devices, tags)]
        for line in lines:
            yield (call["arrival1"], CLIENT_CALL, (call["seq"], 0)), line


def appearances(call: Json, devices: dict[str, list[str]]) -> Iterator[Json]:
    """The caller's user and device, the first time they are seen."""
    user, device = call["user"], call["device"]
    if call["server"] != 1 or device in devices.get(user, ()):
        return
    if user not in devices:
        yield {"do": "user", "user": user}
    devices[user].append(device)
    yield {"do": "device", "user": user, "device": device}


def lines_of(
    call: Json, devices: dict[str, list[str]], tags: dict[tuple[str, str], Json]
) -> Iterator[Json]:
    """What one call means for hs1's store; nothing for the kinds this stream leaves out."""
    kind, user, payload = call["kind"], call["user"], call["payload"]
    path = [unquote(part) for part in call["path"].split("/")[1:]]
    if kind == "to_device":
        yield from to_device(call, path[1], devices)
    elif call["server"] != 1:
        return
    elif kind == "receipt":  # /rooms/{room}/receipt/{type}/{event}
        yield receipt(call, path[1], path[3], path[4]) | payload
    elif kind == "read_markers":  # /rooms/{room}/read_markers
        yield from read_markers(call, path[1])
    elif kind == "account_data":  # /user/{user}/account_data/{type}
        yield account_data(user, None, path[3], payload)
    elif kind == "room_account_data":  # /user/{user}/rooms/{room}/account_data/{type}
        yield account_data(user, path[3], path[5], payload)
    elif kind == "tag":  # /user/{user}/rooms/{room}/tags/{tag}
        room_tags = tags[user, path[3]]
        if call["method"] == "PUT":
            room_tags[path[5]] = payload
        else:
            room_tags.pop(path[5], None)
        yield account_data(user, path[3], "m.tag", {"tags": dict(room_tags)})
    elif kind == "logout":
        devices[user].remove(call["device"])
        yield {"do": "logout", "user": user, "device": call["device"]}


def to_device(call: Json, message_type: str, devices: dict[str, list[str]]) -> Iterator[Json]:
    """The call's messages to hs1's devices, "*" expanded to those known by then."""
    messages: dict[str, Json] = {}
    for user, by_device in call["payload"]["messages"].items():
        known = devices.get(user, [])
        addressed = {
            name: content
            for device, content in by_device.items()
            for name in (known if device == "*" else [device])
            if name in known
        }
        if addressed:
            messages[user] = addressed
    if messages:
        yield {
            "do": "to_device",
            "sender": call["user"],
            "type": message_type,
            "messages": messages,
        }


def receipt(call: Json, room: str, receipt_type: str, event_id: str) -> Json:
    """A receipt line, public or private by its type."""
    return {
        "do": "receipt",
        "room": room,
        "user": call["user"],
        "type": receipt_type,
        "event_id": event_id,
        "ts": call["ts"],
    }


def read_markers(call: Json, room: str) -> Iterator[Json]:
    """Fully read is account data of the room; the rest are receipts."""
    for marker, event_id in call["payload"].items():
        if marker == "m.fully_read":
            yield account_data(call["user"], room, marker, {"event_id": event_id})
        else:
            yield receipt(call, room, marker, event_id)


def account_data(user: str, room: str | None, kind: str, content: Json) -> Json:
    """An account data line."""
    return {"do": "account_data", "room": room, "user": user, "type": kind, "content": content}


# Files ------------------------------------------------------------------------------------------


def ndjson(path: Path) -> Iterator[Json]:
    """One object a line."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def tsv(path: Path) -> Iterator[list[str]]:
    """The columns of each line."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield line.rstrip("\n").split("\t")


if __name__ == "__main__":
    main()
