"""Small forks from the tests of another project's state resolution, stored branch by branch.

They are ruma's (MIT). Resolving is not the store's: each event is given the state of its own
branch, and the room one that was put together here. What was given must come back.
"""

import json
from pathlib import Path

import pytest

from conduitstore.consistency import check

ROOM = "!room:example.com"
PLACE = Path("shared/corpora/third-party/ruma-state-res")
BRANCHES = [
    ("bootstrap-private-chat", []),
    ("bootstrap-public-chat", []),
    ("bootstrap-public-chat", ["ban-vs-power-levels-alice", "ban-vs-power-levels-bob"]),
    ("bootstrap-public-chat", ["concurrent-joins-charlie", "concurrent-joins-ella"]),
    (
        "bootstrap-public-chat",
        ["join-rules-vs-join-common", "join-rules-vs-join-alice", "join-rules-vs-join-ella"],
    ),
    ("bootstrap-public-chat", ["origin-server-ts-tiebreak"]),
    ("bootstrap-public-chat", ["power-levels-admin-vs-mod-alice", "power-levels-admin-vs-mod-bob"]),
    ("bootstrap-public-chat", ["topic-vs-ban-common", "topic-vs-ban-alice", "topic-vs-ban-bob"]),
    ("bootstrap-public-chat", ["topic-vs-power-levels-alice", "topic-vs-power-levels-bob"]),
]
PROBLEMS = [("MSC4297-problem-A", version, ("bob", "charlie")) for version in ("v11", "v12")] + [
    ("MSC4297-problem-B", version, ("eve", "zara")) for version in ("v11", "v12")
]


def fixture(name):
    """A file of theirs, in a folder beside the repository or above it."""
    for folder in Path(__file__).resolve().parents:
        if (folder / PLACE).exists():
            return json.loads((folder / PLACE / f"{name}.json").read_text())
    pytest.skip(f"the forks ({PLACE}) are not on this machine")
    return None


def key_of(pdu):
    return pdu["type"], pdu["state_key"]


def with_event(state, pdu):
    return state | {key_of(pdu): pdu["event_id"]}


class Replay:
    """Takes the events in, and remembers what state each had by its branch."""

    def __init__(self, store):
        self.store = store
        self.before, self.after = {}, {}

    def append(self, pdus, room=ROOM):
        states = self.store.rooms.state_compressor
        for pdu in pdus:
            event_id = pdu["event_id"]
            before = {}
            for previous in pdu["prev_events"]:
                before |= self.after[previous]
            self.before[event_id] = before
            self.after[event_id] = with_event(before, pdu)
            resolved = {}
            for branch in self.after.values():
                resolved |= branch
            self.store.rooms.append(
                pdu, event_id, room, before=states.save(before), after=states.save(resolved)
            )
        self.resolved = resolved


def ids_of(store, state):
    return store.rooms.state_accessor.full_ids(state)


@pytest.mark.parametrize(("base", "branches"), BRANCHES)
def test_branches_keep_their_own_states(store, base, branches):
    replay = Replay(store)
    pdus = [pdu for name in (base, *branches) for pdu in fixture(name)]
    replay.append(pdus)
    rooms = store.rooms
    assert ids_of(store, rooms.state.current(ROOM)) == replay.resolved
    assert rooms.state_accessor.room_full(ROOM).keys() == replay.resolved.keys()
    for event_id, before in replay.before.items():
        assert ids_of(store, rooms.state.before(event_id)) == before
    followed = {previous for pdu in pdus for previous in pdu["prev_events"]}
    assert set(rooms.state.forward_extremities(ROOM)) == {
        pdu["event_id"] for pdu in pdus if pdu["event_id"] not in followed
    }
    memberships = {
        pdu["state_key"]: pdu["content"]["membership"]
        for pdu in pdus
        if replay.resolved.get(key_of(pdu)) == pdu["event_id"] and pdu["type"] == "m.room.member"
    }
    joined = sorted(user for user, is_in in memberships.items() if is_in == "join")
    assert rooms.members.joined_members(ROOM) == joined
    with store.db.snapshot() as view:
        assert list(check(view)) == []


@pytest.mark.parametrize(("problem", "version", "branches"), PROBLEMS)
def test_the_states_of_a_known_problem_are_told_apart(store, problem, version, branches):
    """Two branches with much in common, of which each has lost what the other has."""
    pdus = {pdu["event_id"]: pdu for pdu in fixture(f"{problem}/pdus-{version}")}
    states = [
        {key_of(pdus[event_id]): event_id for event_id in fixture(f"{problem}/state-{branch}")}
        for branch in branches
    ]
    compressor, accessor = store.rooms.state_compressor, store.rooms.state_accessor
    for pdu in pdus.values():
        store.rooms.timeline.add_outlier(pdu, pdu["event_id"])
    one = compressor.save(states[0])
    other = compressor.save(states[1], near=one)
    assert [accessor.full_ids(state) for state in (one, other)] == states
    changes = accessor.changes(one, other)
    old, new = states
    assert changes.changed == {k: e for k, e in new.items() if old.get(k) != e}
    assert changes.removed == {k: e for k, e in old.items() if k not in new}
    union = {**old, **new}
    assert compressor.change(one, union) == compressor.save(union)
    loaded = accessor.full(other)
    assert {key: event.pdu for key, event in loaded.items()} == {
        key: {**pdus[event_id], "event_id": event_id} for key, event_id in new.items()
    }
