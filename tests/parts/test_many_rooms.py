"""What is asked of many rooms at once is what each of them answers by itself."""

import pytest
from lived import OTHER, ROOM, WHOLE, A, B, live

UNKNOWN = "!unknown:one.test"
ROOMS = [WHOLE, UNKNOWN, ROOM, OTHER]


@pytest.fixture
def lived(store):
    """Rooms with messages, receipts, markers, account data and unread threads."""
    store.transaction(live)
    for room, user in ((ROOM, A), (WHOLE, A), (WHOLE, B)):
        store.account_data.update(room, user, "m.tag", {"room": room})
        for thread in (None, "$r0"):
            store.rooms.receipts.set_private_read(user, room, 7, thread)
        store.rooms.user_counters.reset(user, room)
        store.rooms.user_counters.increment(room, [A, B], [A])
        store.rooms.user_counters.increment(room, [A, B], [B], "$r0")
    with store.snapshot() as view:
        yield view


# Each of many from counts of their own, and one room by itself.
SINCE = {
    "timeline": (
        lambda view, rooms, upto: view.rooms.timeline.since_many(rooms, upto, 2),
        lambda view, room, since, upto: view.rooms.timeline.since(room, since, upto, 2),
    ),
    "receipts": (
        lambda view, rooms, upto: view.rooms.receipts.since_many(rooms, upto),
        lambda view, room, since, upto: view.rooms.receipts.since(room, since, upto),
    ),
    "private markers": (
        lambda view, rooms, upto: view.rooms.receipts.private_since_many(A, rooms, upto),
        lambda view, room, since, upto: view.rooms.receipts.private_since(A, room, since, upto),
    ),
    "account data": (
        lambda view, rooms, upto: view.account_data.changes_since_many(rooms, A, upto),
        lambda view, room, since, upto: view.account_data.changes_since(room, A, since, upto),
    ),
    "state": (
        lambda view, rooms, _: view.rooms.state.at_many(rooms),
        lambda view, room, since, _: view.rooms.state.at(room, since),
    ),
    "neighbours": (
        lambda view, rooms, _: view.rooms.timeline.neighbour_many(rooms, "f"),
        lambda view, room, since, _: view.rooms.timeline.neighbour(room, since, "f"),
    ),
}


@pytest.mark.parametrize("name", SINCE)
def test_many_rooms_since_counts_of_their_own(lived, name):
    many, one = SINCE[name]
    upto = lived.globals.current_count()
    told = []
    for counts in ([0] * 4, [upto] * 4, [upto // 2, 0, upto // 3, 1], [1, upto, 0, upto // 2]):
        rooms = dict(zip(ROOMS, counts, strict=True))
        found = many(lived, rooms, upto)
        assert found == {room: one(lived, room, since, upto) for room, since in rooms.items()}
        assert list(found) == ROOMS
        told.append(found)
    assert told[0] != told[1], "there is something to be told"
    assert many(lived, {}, upto) == {}


NOW = {
    "state": (
        lambda view, rooms: view.rooms.state.current_many(rooms),
        lambda view, room: view.rooms.state.current(room),
    ),
    "who is in them": (
        lambda view, rooms: view.rooms.members.joined_total_many(rooms),
        lambda view, room: view.rooms.members.joined_total(room),
    ),
    "who is invited": (
        lambda view, rooms: view.rooms.members.invited_total_many(rooms),
        lambda view, room: view.rooms.members.invited_total(room),
    ),
    "who came": (
        lambda view, rooms: view.rooms.members.arrivals_many(rooms, "join"),
        lambda view, room: view.rooms.members.arrivals(room, "join"),
    ),
    "unread": (
        lambda view, rooms: view.rooms.user_counters.unread_many(A, rooms),
        lambda view, room: view.rooms.user_counters.unread(A, room),
    ),
    "last read": (
        lambda view, rooms: view.rooms.user_counters.last_read_many(A, rooms),
        lambda view, room: view.rooms.user_counters.last_read(A, room),
    ),
}


@pytest.mark.parametrize("name", NOW)
def test_many_rooms_as_they_are(lived, name):
    many, one = NOW[name]
    found = many(lived, [*ROOMS, WHOLE])
    assert found == [one(lived, room) for room in [*ROOMS, WHOLE]]
    assert len(set(map(str, found))) > 1, "there is something to be told"
    assert many(lived, []) == []


def test_unread_numbers_are_of_their_rooms_and_threads(lived):
    counted = lived.rooms.user_counters.unread_many(A, [UNKNOWN, WHOLE])
    assert [(u.main.notifications, u.main.highlights) for u in counted] == [(0, 0), (2, 2)]
    assert counted[0].threads == {}
    assert counted[1].threads["$r0"].notifications == 2
    assert counted[1].threads["$r0"].highlights == 0


def test_many_states_say_what_each_of_them_says(lived):
    """In any order, one of them twice, and each asked for keys of its own."""
    rooms = lived.rooms
    states = [rooms.state.before(event) for event in ("$w24", "$w3", "$w24", "$w12")]
    keys = [
        [("m.room.name", "")],
        [("m.room.member", A), ("m.x", "y")],
        [],
        [("m.room.create", "")],
    ]
    asked = list(zip(states, keys, strict=True))
    found = rooms.state_accessor.event_id_each(asked)
    assert found == [rooms.state_accessor.event_id_many(*each) for each in asked]
    assert found[0] == ["$w23"]
    assert found[3] == ["$w0"]
    whole = rooms.state_accessor.full_ids_many([(state, None) for state in states])
    assert whole == [rooms.state_accessor.full_ids(state) for state in states]
    members = rooms.state_accessor.full_ids_many(
        [(states[0], lambda key: key[0] == "m.room.member"), (states[0], lambda _: False)]
    )
    assert members == [{k: e for k, e in whole[0].items() if k[0] == "m.room.member"}, {}]
    compressor = rooms.state_compressor
    assert compressor.entries_many(states) == [compressor.entries(state) for state in states]
    numbers = [list(rooms.state_accessor.full_short_ids(state)) for state in states]
    asked = list(zip(states, [numbers[3], numbers[0], numbers[1], []], strict=True))
    assert compressor.lookup_each(asked) == [compressor.lookup_many(*each) for each in asked]
    assert rooms.state_accessor.event_id_each([]) == compressor.entries_many([]) == []
