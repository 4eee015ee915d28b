"""Compare our syncs with what a real homeserver answered to the same ones over the same history.

    python tools/compare_syncs.py

Prints the table of docs/sync.md: how much is the same, and each kind of difference with its reason.
A difference that none explains is listed with the number of its answer, and ends in failure.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import zstandard

import conduitstore
from conduitstore.demo.history import History
from conduitstore.demo.replay import replay
from conduitstore.store import Store
from conduitstore.sync import Summary, SyncAnswer, SyncOptions, acknowledge, sync, witness
from conduitstore.types import Count, EventId, JsonObject, RoomId, StateKey, StoredEvent, UserId

RECORDED = Path(__file__).parents[1] / "tests" / "data" / "two-servers-syncs.ndjson.zst"
SAME = "the same"
NAMES = [("m.room.name", ""), ("m.room.canonical_alias", "")]
SERVER = "hs1.test"
WHY = {
    "nothing new": "They tell a room again of which nothing changed.",
    "whom the user ignores": "We tell it; hiding it is the homeserver's.",
    "what the user may not see": "We tell it; history visibility is the homeserver's.",
    "before the server was in the room": "We tell invites that came before anybody's join.",
    "the timelines differ": "For a reason of theirs; the state follows from where they begin.",
    "has it in the timeline too": "They repeat in the state what the timeline itself tells.",
    "repeated members": "They tell lazily loaded members again that the device was told before.",
    "repeated members of a whole state": "Asked for the whole state, we leave out no sender.",
    "repeated members, an older token": "The device came back with an older token in between.",
    "changed by the first event": "Their state is the one with the timeline's first event, ours "
    "the one before it: what that event replaced.",
    "a branch of a fork": "Theirs is the state of the branch that the first event is on, ours the "
    "room's.",
    "repeated": "They tell totals again that did not change; they equal what we told before.",
    "only ours": "They tell no totals with a whole state, nor where members changed in a "
    "gap, nor where the name did.",
    "not asked for": "They tell totals only to clients that load members lazily.",
}


class Pair(NamedTuple):
    """A recorded answer and ours.

    Attributes:
        told: member events that either told the device before.
        fell: of ours, those told with a token that the device then came back from before.
    """

    number: int
    ours: SyncAnswer
    theirs: JsonObject
    ignored: set[UserId]
    told: set[str]
    fell: set[str]


class Tally:
    """What is the same and what differs, by section and reason."""

    def __init__(self) -> None:
        self.totals: Counter[tuple[str, str]] = Counter()
        self.unexplained: list[str] = []

    def note(self, section: str, reason: str | None, *where: object) -> None:
        """One more of a section; None for a reason is no explanation."""
        if reason is None:
            self.unexplained.append(f"{section}: {where}")
        else:
            self.totals[section, reason] += 1

    def rows(self) -> list[str]:
        """A table of Markdown."""
        lines = ["| Compared | Found | Times | Why |", "|---|---|---:|---|"]
        for (section, reason), total in sorted(self.totals.items(), key=_same_first):
            lines.append(f"| {section} | {reason} | {total} | {WHY.get(reason, '')} |")
        return lines


def _same_first(item: tuple[tuple[str, str], int]) -> tuple[str, bool, str]:
    (section, reason), _ = item
    return section, reason != SAME, reason


def recorded() -> list[JsonObject]:
    """What the homeserver answered, in order."""
    with RECORDED.open("rb") as packed:
        text = zstandard.ZstdDecompressor().stream_reader(packed).read()
    return [json.loads(line) for line in text.splitlines()]


class Device:
    """What a device was told, by either, and with which token of ours."""

    def __init__(self) -> None:
        self.told: dict[str, Count] = {}
        self.fell: set[str] = set()

    def comes_with(self, since: Count) -> None:
        """What was told after that may not have arrived."""
        self.fell |= {event_id for event_id, token in self.told.items() if token > since}

    def is_told(self, ours: SyncAnswer, theirs: JsonObject) -> None:
        """Two answers went out."""
        for room in ours.joined.values():
            events = [*room.state, *room.timeline.events]
            self.told |= {event.event_id: ours.next_batch for event in events}
        for told in theirs["join"].values():
            self.told |= dict.fromkeys(told["state"] + told["timeline"], ours.next_batch)


# Asking -----------------------------------------------------------------------------------------


def ask_all(store: Store) -> Iterator[Pair]:
    """Replay the history into the store; ask what was asked, when it was asked."""
    by_time = defaultdict(list)
    for number, answer in enumerate(recorded()):
        by_time[answer["at"]].append((number, answer))
    tokens: dict[int, Count] = {}
    devices: dict[tuple[str, str], Device] = defaultdict(Device)
    for done, _ in enumerate(chain([None], replay(store, History()))):
        for number, theirs in by_time[done]:
            since = Count(0) if theirs["since"] is None else tokens[theirs["since"]]
            device = devices[theirs["user"], theirs["device"]]
            device.comes_with(since)
            ours = _ask(store, theirs, since)
            tokens[number] = ours.next_batch
            ignored = _ignored(store, theirs["user"])
            yield Pair(number, ours, theirs, ignored, set(device.told), set(device.fell))
            device.is_told(ours, theirs)


def _ask(store: Store, theirs: JsonObject, since: Count) -> SyncAnswer:
    user, device, wanted = theirs["user"], theirs["device"], theirs["filter"]["room"]
    options = SyncOptions(
        timeline_limit=wanted["timeline"]["limit"],
        lazy_members=wanted.get("state", {}).get("lazy_load_members", False),
        full_state=theirs["full_state"],
    )
    acknowledge(store, user, device, since)
    with store.snapshot() as view:
        answer = sync(view, user, device, since, options)
    if options.lazy_members:
        witness(store, user, device, since, answer)
    return answer


def _ignored(store: Store, user: UserId) -> set[UserId]:
    content = store.account_data.get(None, user, "m.ignored_user_list") or {}
    return set(content.get("ignored_users", {}))


# Comparing --------------------------------------------------------------------------------------


class Compared:
    """One room of one pair."""

    def __init__(self, store: Store, pair: Pair, room: RoomId, tally: Tally) -> None:
        self.store, self.pair, self.room, self.tally = store, pair, room, tally
        self.theirs: JsonObject = pair.theirs["join"][room]
        self.ours = pair.ours.joined[room]
        self.timeline = self.ours.timeline.events

    def note(self, section: str, reason: str | None, *where: object) -> None:
        self.tally.note(section, reason, self.pair.number, self.room, *where)

    @property
    def has_same_timeline(self) -> bool:
        told: list[str] = self.theirs["timeline"]
        return [event.event_id for event in self.timeline] == told

    def compare(self) -> None:
        """All sections."""
        self.note("timelines", SAME if self.has_same_timeline else self._why_timeline())
        self._compare_limited()
        self._compare_state()

    def _why_timeline(self) -> str | None:
        """Of a timeline where ours has events that theirs has not."""
        only_ours = [e for e in self.timeline if e.event_id not in self.theirs["timeline"]]
        if all(event.pdu["sender"] in self.pair.ignored for event in only_ours):
            return "whom the user ignores"
        states = [self._state_at(event) for event in only_ours]
        if all(_is_hidden(state) for state in states):
            return "what the user may not see"
        if not any(_has_local_members(state) for state in states):
            return "before the server was in the room"
        return None

    def _state_at(self, event: StoredEvent) -> dict[StateKey, StoredEvent]:
        rooms = self.store.rooms
        state = rooms.state.at(self.room, Count(event.position or 0))
        return {} if state is None else rooms.state_accessor.full(state)

    def _compare_limited(self) -> None:
        if self.ours.timeline.limited == self.theirs["limited"]:
            self.note("limited", SAME)
        else:
            self.note("limited", None if self.has_same_timeline else "the timelines differ")

    def _compare_state(self) -> None:
        ours = {event.event_id: event for event in self.ours.state}
        theirs = set(self.theirs["state"])
        for _ in theirs & ours.keys():
            self.note("state events", SAME)
        for event_id in theirs - ours.keys():
            self.note("state events", self._why_theirs(event_id, ours), event_id)
        for event_id in ours.keys() - theirs:
            self.note("state events", self._why_ours(ours[event_id]), event_id)

    def _why_theirs(self, event_id: str, ours: dict[EventId, StoredEvent]) -> str | None:
        event = self.store.rooms.timeline.get(EventId(event_id))
        if event is None:
            return None
        if event_id in {shown.event_id for shown in self.timeline}:
            return "has it in the timeline too"
        if event.pdu["type"] == "m.room.member" and event_id in self.pair.told:
            return "repeated members"
        return self._why_either(event, list(ours.values()))

    def _why_ours(self, event: StoredEvent) -> str | None:
        if self.timeline and _key(event) == _key(self.timeline[0]):
            return "changed by the first event"
        if event.pdu["type"] == "m.room.member" and event.event_id in self.pair.told:
            if self.pair.theirs["full_state"]:
                return "repeated members of a whole state"
            if event.event_id in self.pair.fell:
                return "repeated members, an older token"
        found = map(self.store.rooms.timeline.get, map(EventId, self.theirs["state"]))
        return self._why_either(event, [theirs for theirs in found if theirs is not None])

    def _why_either(self, event: StoredEvent, others: list[StoredEvent]) -> str | None:
        if not self.has_same_timeline:
            return "the timelines differ"
        return "a branch of a fork" if _key(event) in map(_key, others) else None


def _is_hidden(state: dict[StateKey, StoredEvent]) -> bool:
    """Whether events are not shared with those who come later."""
    found = state.get(("m.room.history_visibility", ""))
    return found is not None and found.pdu["content"]["history_visibility"] in ("joined", "invited")


def _has_local_members(state: dict[StateKey, StoredEvent]) -> bool:
    return any(
        key[1].endswith(":" + SERVER) and event.pdu["content"]["membership"] == "join"
        for key, event in state.items()
        if key[0] == "m.room.member"
    )


def _key(event: StoredEvent) -> tuple[object, object]:
    """A state event's place; of others nothing that one could have."""
    return event.pdu["type"], event.pdu.get("state_key", event.event_id)


def _compare_rest(pair: Pair, tally: Tally) -> None:
    """Which rooms are in which section, and what belongs to no room."""
    ours, theirs = pair.ours, pair.theirs
    for room in ours.joined.keys() | theirs["join"].keys():
        if room not in theirs["join"]:
            tally.note("rooms with news", None, pair.number, room)
        elif room not in ours.joined:
            is_news = theirs["join"][room]["timeline"] or theirs["join"][room]["state"]
            tally.note("rooms with news", None if is_news else "nothing new", pair.number, room)
        else:
            tally.note("rooms with news", SAME)
    for section, told in (("invites", ours.invited), ("knocks", ours.knocked)):
        is_same = {change.room for change in told} == theirs[section[:-1]].keys()
        tally.note(section, SAME if is_same else None, pair.number)
    is_same = ours.left.keys() == theirs["leave"].keys()
    tally.note("leaves", SAME if is_same else None, pair.number)
    told_messages = [[e["type"], e["sender"], e["content"]] for _, e in ours.to_device]
    is_same = _in_any_order(told_messages) == _in_any_order(theirs["to_device"])
    tally.note("to-device messages", SAME if is_same else None, pair.number)


def _in_any_order(messages: list[list[object]]) -> list[str]:
    return sorted(json.dumps(message, sort_keys=True) for message in messages)


def _compare_left(pair: Pair, tally: Tally) -> None:
    for room, ours in pair.ours.left.items():
        theirs = pair.theirs["leave"][room]
        told = [event.event_id for event in ours.timeline.events]
        state = {event.event_id for event in ours.state}
        is_same = told == theirs["timeline"] and state == set(theirs["state"])
        tally.note("left rooms", SAME if is_same else None, pair.number, room)


class Summaries:
    """What each client makes of the totals it was told; `known` goes on from token to token."""

    def __init__(self) -> None:
        self._known: dict[int | None, dict[RoomId, Summary]] = {None: {}}

    def compare(self, pair: Pair, tally: Tally) -> None:
        since = pair.theirs["since"]
        told = {room: news.summary for room, news in pair.ours.joined.items() if news.summary}
        known = self._known[pair.number] = {**self._known[since], **told}
        is_lazy = "state" in pair.theirs["filter"]["room"]
        for room, theirs in pair.theirs["join"].items():
            if theirs["summary"]:
                is_same = room in known and _as_told(known[room]) == theirs["summary"]
                found = SAME if room in told else "repeated"
                tally.note("summaries", found if is_same else None, pair.number, room)
            elif room in told:
                reason = _why_only_ours(pair, room) if is_lazy else "not asked for"
                tally.note("summaries", reason, pair.number, room)


def _why_only_ours(pair: Pair, room: RoomId) -> str | None:
    timeline = pair.ours.joined[room].timeline
    has_name = any(_key(event) in NAMES for event in timeline.events)
    is_known = pair.theirs["full_state"] or timeline.limited or has_name
    return "only ours" if is_known else None


def _as_told(summary: Summary) -> JsonObject:
    heroes = {} if summary.heroes is None else {"m.heroes": summary.heroes}
    return heroes | {
        "m.joined_member_count": summary.joined_total,
        "m.invited_member_count": summary.invited_total,
    }


def compare() -> Tally:
    """Everything."""
    tally, summaries = Tally(), Summaries()
    with conduitstore.open(":memory:") as store:
        pairs = list(ask_all(store))
        for pair in pairs:
            for room in pair.ours.joined.keys() & pair.theirs["join"].keys():
                Compared(store, pair, room, tally).compare()
            _compare_left(pair, tally)
            _compare_rest(pair, tally)
            summaries.compare(pair, tally)
    return tally


def main() -> None:
    """Print the table."""
    tally = compare()
    print("\n".join(tally.rows()))
    sys.exit("\n".join(["", "Without a reason:", *tally.unexplained]) if tally.unexplained else 0)


if __name__ == "__main__":
    main()
