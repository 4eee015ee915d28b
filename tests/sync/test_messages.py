"""Pages of a room's history: every event once, whatever is left out, from any token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import OTHER, ROOM, A, B, C, Device, Scene, ids

import conduitstore
from conduitstore import InvalidArgumentError
from conduitstore.sync import EventFilter, HistoryOptions, context, messages
from conduitstore.sync.messages import LOOKED_AT_MAX


def page(store, start, direction, limit, room=ROOM, to=None, **options):
    with store.snapshot() as view:
        return messages(
            view, room, start, direction, limit, to=to, options=HistoryOptions(**options)
        )


def pages(store, start, direction, limit, **options):
    """All there is, page by page."""
    found, token = [], start
    while True:
        answer = page(store, token, direction, limit, **options)
        assert len(answer.events) <= limit
        found += ids(answer.events)
        if answer.end is None:
            return found
        assert answer.end != token
        token = answer.end


def test_back_and_forth_from_a_syncs_tokens(store, scene):
    scene.join(A)
    said = [scene.say(A) for _ in range(6)]
    scene.say(A, OTHER)
    answer = Device(store, A, timeline_limit=2).ask()
    room = answer.joined[ROOM]
    assert ids(room.timeline.events) == said[4:]
    assert ids(page(store, room.prev_batch, "b", 2).events) == said[3:1:-1]
    assert ids(page(store, room.prev_batch, "f", 9).events) == said[4:]
    newest = str(answer.next_batch)
    assert ids(page(store, newest, "b", 2).events) == said[:3:-1]
    assert page(store, newest, "f", 2).events == []
    later = scene.say(A)
    assert ids(page(store, newest, "f", 2).events) == [later]


@given(
    kinds=st.lists(st.sampled_from(["say", "old", "topic", "elsewhere"]), max_size=20),
    direction=st.sampled_from("bf"),
    limit=st.integers(1, 5),
    start=st.none() | st.integers(-40, 60),
    to=st.none() | st.integers(-40, 60),
    is_filtered=st.booleans(),
)
def test_any_history_is_paged_as_the_whole_is(kinds, direction, limit, start, to, is_filtered):
    with conduitstore.open(":memory:") as store:
        scene = Scene(store)
        places = {}
        for kind in kinds:
            match kind:
                case "say":
                    event_id = scene.say(A)
                case "topic":
                    event_id = scene.state(A, "m.room.topic", {})
                case "elsewhere":
                    scene.say(A, OTHER)
                    continue
                case "old":
                    pdu = scene.pdu(ROOM, A, "m.room.message", {})
                    event_id = f"${scene.number}"
                    store.rooms.append.backfilled(pdu, event_id, ROOM)
            if not (is_filtered and kind == "topic"):
                places[event_id] = store.rooms.timeline.position(event_id)
        expected = sorted(places, key=places.get, reverse=direction == "b")
        if start is not None:
            expected = [e for e in expected if (places[e] <= start) == (direction == "b")]
        if to is not None:
            expected = [e for e in expected if (places[e] <= to) != (direction == "b")]
        options = {"filter": EventFilter(not_types=["m.room.topic"])} if is_filtered else {}
        token = None if start is None else str(start)
        end = None if to is None else str(to)
        assert pages(store, token, direction, limit, to=end, **options) == expected


def test_what_is_left_out_is_looked_at_in_bounds(store, scene):
    store.transaction(lambda tx: [Scene(tx, n).say(A) for n in range(LOOKED_AT_MAX + 5)])
    nobody = {"filter": EventFilter(senders=[B])}
    answer = page(store, None, "b", 10, **nobody)
    assert (answer.events, answer.end is None) == ([], False)
    answer = page(store, answer.end, "b", 10, **nobody)
    assert (answer.events, answer.end) == ([], None)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, "tui"),
        ({"types": ["m.room.message"]}, "ui"),
        ({"types": ["m.room.*"]}, "tui"),
        ({"types": ["*.message"], "not_types": ["m.*"]}, ""),
        ({"types": ["m.room.mess"]}, ""),
        ({"types": []}, ""),
        ({"types": ["m.r.om.topic"]}, ""),
        ({"senders": [A]}, "tu"),
        ({"senders": [A, B], "not_senders": [A]}, "i"),
        ({"contains_url": True}, "u"),
        ({"contains_url": False}, "ti"),
    ],
)
def test_what_a_filter_lets_through(store, scene, wanted, expected):
    events = {
        scene.state(A, "m.room.topic", {}): "t",
        scene.say(A, url="mxc://one.test/1"): "u",
        scene.say(B): "i",
    }
    found = page(store, None, "f", 9, filter=EventFilter(**wanted)).events
    assert "".join(events[event_id] for event_id in ids(found)) == expected


def test_what_a_reader_may_not_see_is_the_callers_to_say(store, scene):
    scene.join(A)
    scene.state(A, "m.room.history_visibility", {"history_visibility": "joined"})
    unseen = scene.say(A)
    (joined,) = scene.join(B)
    seen = scene.say(A)
    accessor = store.rooms.state_accessor

    def is_visible(event, state):
        if state is None:
            return False
        member = accessor.content(state, "m.room.member", B) or {}
        return member.get("membership") == "join" or event.pdu.get("state_key") == B

    assert pages(store, None, "b", 1, is_visible=is_visible) == [seen, joined]
    with store.snapshot() as view:
        options = HistoryOptions(is_visible=is_visible)
        assert context(view, ROOM, unseen, 9, options) is None
        assert ids(context(view, ROOM, seen, 9, options).before) == [joined]


def test_members_of_a_page_are_those_of_then(store, scene):
    (first,) = scene.join(A)
    old = scene.member(B, "join", displayname="Bea")
    scene.say(B)
    new = scene.member(B, "join", displayname="Beatrix")
    (late,) = scene.join(C)
    scene.say(B)
    scene.say(C)
    answer = page(store, None, "f", 3, lazy_members=True)
    assert ids(answer.state) == [first, old]
    answer = page(store, None, "b", 2, lazy_members=True)
    assert sorted(ids(answer.state)) == sorted([new, late])
    assert page(store, None, "b", 2).state == []


def test_the_context_of_an_event(store, scene):
    joins = scene.join(A, B)
    said = [scene.say(A) for _ in range(5)]
    topic = scene.state(B, "m.room.topic", {})
    with store.snapshot() as view:
        found = context(view, ROOM, said[2], 4)
        assert (found.event.event_id, ids(found.before), ids(found.after)) == (
            said[2],
            [said[1], said[0]],
            [said[3], said[4]],
        )
        assert ids(found.state) == joins
        assert ids(messages(view, ROOM, found.start, "b", 9).events) == joins[::-1]
        assert ids(messages(view, ROOM, found.end, "f", 9).events) == [topic]
        whole = context(view, ROOM, said[2], 50)
        assert ids(whole.after) == [*said[3:], topic]
        assert sorted(ids(whole.state)) == sorted([*joins, topic])
        assert messages(view, ROOM, whole.start, "b", 9).events == []
        assert messages(view, ROOM, whole.end, "f", 9).events == []
        alone = context(view, ROOM, said[2], 0, HistoryOptions(lazy_members=True))
        assert (alone.before, alone.after, ids(alone.state)) == ([], [], joins[:1])
        assert ids(messages(view, ROOM, alone.start, "b", 1).events) == [said[1]]
        assert ids(messages(view, ROOM, alone.end, "f", 1).events) == [said[3]]


def test_what_has_no_context(store, scene):
    scene.join(A)
    elsewhere = scene.say(A, OTHER)
    outlier = scene.outlier(ROOM, A, "m.room.topic", {}, "")
    with store.snapshot() as view:
        for event_id in (elsewhere, outlier, "$unknown"):
            assert context(view, ROOM, event_id) is None
        with pytest.raises(InvalidArgumentError):
            context(view, OTHER, elsewhere, -1)


def test_the_context_of_an_event_from_before_the_room_was_here(store, scene):
    (join,) = scene.join(A)
    pdu = scene.pdu(ROOM, A, "m.room.message", {})
    store.rooms.append.backfilled(pdu, "$old", ROOM)
    with store.snapshot() as view:
        found = context(view, ROOM, "$old", 2)
        assert (ids(found.before), ids(found.after)) == ([], [join])


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": "x"},
        {"start": 5},
        {"to": "1.5"},
        {"direction": "up"},
        {"limit": 0},
        {"limit": True},
    ],
)
def test_what_is_no_page(store, scene, wrong):
    scene.join(A)
    asked = {"start": None, "direction": "b", "limit": 5} | wrong
    with pytest.raises(InvalidArgumentError):
        page(store, **asked)


def test_an_unknown_room_has_no_history(store):
    assert page(store, None, "b", 5, room="!unknown:x").events == []
    assert page(store, "5", "f", 5, room="!unknown:x").end is None
