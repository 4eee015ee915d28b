"""Pack recorded /sync answers of a real homeserver for tests/sync to compare with.

    python tools/pack_syncs.py CORPUS_FOLDER [OUTPUT]

Each line is one answer, placed in the stream that `tools/pack_demo.py` writes and cut down to what
identifies its contents:

    at          how many operations of the packed history had happened
    user, device, note, filter
    full_state  whether the request asked for it
    since       the line number (from 0) of the answer whose next_batch was the request's; or null
    join        {room: {"timeline", "limited", "state", "account_data", "receipts", "unread",
                "summary"}}: event ids; types; [event, type, user]; [notifications, highlights]
    leave       {room: {"timeline", "limited", "state"}}
    invite      {room: [[type, state_key], ...]}
    knock       the same
    account_data [type, ...]
    to_device   [[type, sender, content], ...]
    changed, left  users whose device lists changed, and who need not be told any more
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_left
from pathlib import Path

import zstandard
from pack_demo import (
    CLIENT_CALL,
    Json,
    client_calls,
    events,
    membership_changes,
    ndjson,
    read_arrivals,
    read_deltas,
    state_changes,
)

OUTPUT = Path(__file__).parent.parent / "tests" / "data" / "two-servers-syncs.ndjson.zst"


def main() -> None:
    """Write the file and say how large it became."""
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: pack_syncs.py CORPUS_FOLDER [OUTPUT]")
    corpus = Path(sys.argv[1])
    output = Path(sys.argv[2]) if len(sys.argv) == 3 else OUTPUT
    lines = answers(corpus)
    text = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
    packed = zstandard.ZstdCompressor(level=19).compress(text)
    output.parent.mkdir(exist_ok=True)
    output.write_bytes(packed)
    print(f"{output}: {len(lines)} answers, {len(text)} bytes packed into {len(packed)}")


def answers(corpus: Path) -> list[Json]:
    """Every recorded answer, in the order they were given."""
    places = sorted(_places(corpus))
    records = list(ndjson(corpus / "sync-oracle-sample.ndjson.gz"))
    line_of: dict[tuple[str, str], int] = {}
    lines = []
    for number, record in enumerate(records):
        by_token = (record["user"] + record["device"], record["since"])
        at = bisect_left(places, (record["arrival"], CLIENT_CALL, (record["seq"], 0)))
        since = None if record["since"] is None else line_of[by_token]
        lines.append(_cut(record) | {"at": at, "since": since})
        line_of[record["user"] + record["device"], record["response"]["next_batch"]] = number
    return lines


def _places(corpus: Path) -> list[tuple[int, int, tuple[int, int]]]:
    """Where each operation of the packed history stands."""
    pdus = {record["event_id"]: record for record in ndjson(corpus / "pdus.ndjson.gz")}
    arrivals = read_arrivals(corpus / "hs1-arrival.tsv.gz")
    deltas = read_deltas(corpus / "hs1-state_deltas.tsv.gz", arrivals)
    members = membership_changes(deltas, pdus, arrivals)
    calls = [c for c in ndjson(corpus / "client-data.ndjson.gz") if c["status"] == 200]
    timed = [*events(pdus, arrivals, members, state_changes(deltas)), *client_calls(calls)]
    return [place for place, _ in timed]


def _cut(record: Json) -> Json:
    response = record["response"]
    rooms, lists = response.get("rooms", {}), response.get("device_lists", {})
    return {
        **{key: record[key] for key in ("user", "device", "note", "filter")},
        "full_state": record["params"].get("full_state") == "true",
        "join": {room: _joined(told) for room, told in rooms.get("join", {}).items()},
        "leave": {room: _timeline(told) for room, told in rooms.get("leave", {}).items()},
        "invite": _stripped(rooms.get("invite", {}), "invite_state"),
        "knock": _stripped(rooms.get("knock", {}), "knock_state"),
        "account_data": [event["type"] for event in _events(response, "account_data")],
        "to_device": [
            [event["type"], event["sender"], event["content"]]
            for event in _events(response, "to_device")
        ],
        "changed": lists.get("changed", []),
        "left": lists.get("left", []),
    }


def _events(told: Json, section: str) -> list[Json]:
    events: list[Json] = told.get(section, {}).get("events", [])
    return events


def _timeline(told: Json) -> Json:
    return {
        "timeline": [event["event_id"] for event in _events(told, "timeline")],
        "limited": told["timeline"].get("limited", False),
        "state": [event["event_id"] for event in _events(told, "state")],
    }


def _joined(told: Json) -> Json:
    unread = told.get("unread_notifications", {})
    return _timeline(told) | {
        "account_data": [event["type"] for event in _events(told, "account_data")],
        "receipts": [
            [event_id, kind, user]
            for event in _events(told, "ephemeral")
            if event["type"] == "m.receipt"
            for event_id, kinds in event["content"].items()
            for kind, users in kinds.items()
            for user in users
        ],
        "unread": [unread.get("notification_count", 0), unread.get("highlight_count", 0)],
        "summary": told.get("summary", {}),
    }


def _stripped(rooms: Json, section: str) -> Json:
    return {
        room: [[event["type"], event["state_key"]] for event in _events(told, section)]
        for room, told in rooms.items()
    }


if __name__ == "__main__":
    main()
