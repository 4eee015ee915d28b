"""What a state says, and how it differs from another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import CorruptedError, InvalidArgumentError

A, B, ROOM = "@a:one.test", "@b:two.test", "!r:one.test"
NAME, TOPIC = ("m.room.name", ""), ("m.room.topic", "")


@pytest.fixture
def accessor(store):
    return store.rooms.state_accessor


@pytest.fixture
def put(store, message):
    """Appends a state event to the room; gives its position."""

    def append(type, content, state_key="", event_id=None):
        number = len(store.db.open_tree("pduid_pdu"))
        pdu = message(number, type=type, state_key=state_key, content=content)
        return store.rooms.append(pdu, event_id or f"${number}", ROOM)

    return append


def test_one_many_and_all(store, accessor, put):
    put("m.room.create", {"room_version": "11"})
    put("m.room.name", {"name": "Tea"})
    for user in (A, B):
        put("m.room.member", {"membership": "join", "displayname": user[1]}, user)
    state = store.rooms.state.current(ROOM)
    ids = {("m.room.create", ""): "$0", NAME: "$1"}
    ids |= {("m.room.member", A): "$2", ("m.room.member", B): "$3"}
    assert accessor.full_ids(state) == ids
    assert {key: event.event_id for key, event in accessor.full(state).items()} == ids
    assert accessor.room_full(ROOM) == accessor.full(state)
    assert accessor.event_id(state, *NAME) == accessor.room_event_id(ROOM, *NAME) == "$1"
    assert accessor.get(state, *NAME).position == store.rooms.timeline.position("$1")
    assert accessor.content(state, *NAME) == accessor.room_content(ROOM, *NAME) == {"name": "Tea"}
    assert accessor.contains(state, *NAME)
    assert accessor.state_keys(state, "m.room.member") == {A: "$2", B: "$3"}
    assert accessor.state_keys(state, "m.room.topic") == {}
    wanted = [("m.room.member", B), TOPIC, ("m.room.member", "@c:x"), NAME]
    assert accessor.event_id_many(state, wanted) == ["$3", None, None, "$1"]
    assert list(accessor.get_many(state, wanted)) == [wanted[0], NAME]
    assert list(accessor.room_get_many(ROOM, wanted)) == [wanted[0], NAME]
    assert len(accessor.full_short_ids(state)) == 4


def test_nothing_of_a_room_that_is_not_here(accessor):
    assert accessor.room_full(ROOM) == {}
    assert accessor.room_get(ROOM, *NAME) is None
    assert accessor.room_event_id(ROOM, *NAME) is None
    assert accessor.room_content(ROOM, *NAME) is None
    assert accessor.room_version(ROOM) is None
    assert not accessor.is_encrypted(ROOM)
    for call in (accessor.full, accessor.full_ids, lambda s: accessor.get(s, *NAME)):
        with pytest.raises(InvalidArgumentError):
            call(77)


def test_the_state_delta_of_a_sync(store, accessor, put):
    put("m.room.create", {})
    put("m.room.name", {"name": "one"})
    put("m.room.topic", {"topic": "tea"})
    since = store.globals.current_count()
    put("m.room.name", {"name": "two"})
    between = put("m.room.name", {"name": "three"})
    put("m.room.member", {"membership": "join"}, A)
    upto = store.globals.current_count()
    delta = accessor.changes_since(ROOM, since, upto)
    assert delta.changed == {NAME: "$4", ("m.room.member", A): "$5"}
    assert delta.removed == {}
    assert accessor.changes_since(ROOM, since, between - 1).changed == {NAME: "$3"}
    assert accessor.changes_since(ROOM, upto, upto).changed == {}
    assert len(accessor.changes_since(ROOM, 0, upto).changed) == 4
    without_topic = store.rooms.state_compressor.change(
        store.rooms.state.current(ROOM), {TOPIC: None, NAME: "$1"}
    )
    store.rooms.state.set_current(ROOM, without_topic)
    delta = accessor.changes_since(ROOM, upto, store.globals.current_count())
    assert (delta.changed, delta.removed) == ({NAME: "$1"}, {TOPIC: "$2"})
    back = accessor.changes(without_topic, None)
    assert (back.changed, back.removed) == ({}, accessor.full_ids(without_topic))


def test_well_known_content(accessor, put):
    put("m.room.create", {"type": "m.space", "room_version": "10"})
    put("m.room.name", {"name": "Tea"})
    put("m.room.topic", {"topic": ["no", "text"]})
    put("m.room.avatar", {"url": "mxc://x/y"})
    put("m.room.canonical_alias", {"alias": ""})
    put("m.room.power_levels", {"users": {A: 100}})
    put("m.room.member", {"membership": "join", "displayname": "Ann"}, A)
    assert accessor.name(ROOM) == "Tea"
    assert accessor.topic(ROOM) is None
    assert accessor.avatar(ROOM) == "mxc://x/y"
    assert accessor.canonical_alias(ROOM) is None
    assert (accessor.room_type(ROOM), accessor.room_version(ROOM)) == ("m.space", "10")
    assert accessor.power_levels(ROOM) == {"users": {A: 100}}
    assert accessor.member(ROOM, A)["displayname"] == "Ann"
    assert accessor.member(ROOM, B) is None
    assert accessor.history_visibility(ROOM) == "shared"
    assert accessor.join_rule(ROOM) is None
    assert not accessor.guest_can_join(ROOM)
    assert not accessor.is_encrypted(ROOM)
    put("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    put("m.room.history_visibility", {"history_visibility": "joined"})
    put("m.room.join_rules", {"join_rule": "knock"})
    put("m.room.guest_access", {"guest_access": "can_join"})
    assert accessor.is_encrypted(ROOM)
    assert accessor.history_visibility(ROOM) == "joined"
    assert accessor.join_rule(ROOM) == "knock"
    assert accessor.guest_can_join(ROOM)


def test_events_that_are_not_stored_are_left_out(store, accessor):
    state = store.rooms.state_compressor.save({NAME: "$elsewhere", TOPIC: "$nowhere"})
    store.rooms.state.set_current(ROOM, state)
    assert accessor.full(state) == accessor.get_many(state, [NAME]) == {}
    assert accessor.full_ids(state) == {NAME: "$elsewhere", TOPIC: "$nowhere"}
    store.db.open_tree("shorteventid_eventid").clear()
    with pytest.raises(CorruptedError, match="numbers of no id"):
        accessor.full_ids(state)


CHANGES = st.dictionaries(
    st.sampled_from([NAME, TOPIC, ("m.room.avatar", ""), ("x", "y")]),
    st.sampled_from([None, "$a", "$b", "$c"]),
    max_size=3,
)


@given(st.lists(CHANGES, max_size=15), st.data())
def test_deltas_between_any_two_tokens_are_what_a_dictionary_says(steps, data):
    with conduitstore.open(":memory:") as store:
        rooms = store.rooms
        rooms.state.set_current(ROOM, rooms.state_compressor.save({}))
        history = [(0, {}), (store.globals.current_count(), {})]
        for changes in steps:
            state = rooms.state_compressor.change(rooms.state.current(ROOM), changes)
            rooms.state.set_current(ROOM, state)
            model = {k: e for k, e in (history[-1][1] | changes).items() if e is not None}
            history.append((store.globals.current_count(), model))
        for _ in range(5):
            since, old = data.draw(st.sampled_from(history))
            upto, new = data.draw(st.sampled_from(history))
            delta = rooms.state_accessor.changes_since(ROOM, since, upto)
            assert delta.changed == {k: e for k, e in new.items() if old.get(k) != e}
            assert delta.removed == {k: e for k, e in old.items() if k not in new}
