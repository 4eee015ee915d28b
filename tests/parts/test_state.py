"""A room's state: now, at a token, before an event; and the members that follow it."""

import pytest

from conduitstore import InvalidArgumentError

A, B = "@a:one.test", "@b:two.test"
ROOM, OTHER = "!r:one.test", "!r:one.test2"
NAME = ("m.room.name", "")


@pytest.fixture
def state(store):
    return store.rooms.state


@pytest.fixture
def saved(store):
    return store.rooms.state_compressor.save


@pytest.fixture
def member(store, message):
    """Stores a member event as an outlier; gives its place in a state."""

    def make(user, membership, event_id, **changes):
        content = {"membership": membership}
        pdu = message(type="m.room.member", state_key=user, content=content, **changes)
        store.rooms.timeline.add_outlier(pdu, event_id)
        return {("m.room.member", user): event_id}

    return make


def test_a_room_has_the_state_it_was_given(state, saved):
    assert state.current(ROOM) is None
    first, second = saved({NAME: "$1"}), saved({NAME: "$2"})
    state.set_current(ROOM, first)
    state.set_current(OTHER, second)
    assert (state.current(ROOM), state.current(OTHER)) == (first, second)


def test_the_state_at_a_token(store, state, saved):
    assert state.at(ROOM, 100) is None
    states, tokens = [], [store.globals.current_count()]
    for number in range(4):
        states.append(saved({NAME: f"${number}"}))
        state.set_current(ROOM, states[-1])
        tokens.append(store.globals.current_count())
        store.globals.next_count()
    assert [state.at(ROOM, token) for token in tokens] == [None, *states]
    assert [state.at(ROOM, token + 1) for token in tokens[1:]] == states
    assert state.at(ROOM, (1 << 64) - 1) == states[-1]
    assert state.at(OTHER, tokens[-1]) is None
    with store.snapshot() as view:
        state.set_current(ROOM, states[0])
        assert view.rooms.state.at(ROOM, view.globals.current_count()) == states[-1]


def test_the_same_state_again_is_no_change(store, state, saved, rows):
    state.set_current(ROOM, saved({NAME: "$1"}))
    before, count = rows(), store.globals.current_count()
    state.set_current(ROOM, saved({NAME: "$1"}))
    assert rows() == before
    assert store.globals.current_count() == count


def test_members_follow_the_state(store, state, saved, member):
    members = store.rooms.members
    stripped = [{"type": "m.room.name", "content": {"name": "R"}}]
    state.set_current(
        ROOM,
        saved(
            member(A, "join", "$a")
            | member(B, "invite", "$b", unsigned={"invite_room_state": stripped})
            | member("@c:x", "knock", "$c")
            | member("@d:x", "ban", "$d")
            | {NAME: "$not-stored"}
        ),
    )
    assert members.joined_members(ROOM) == [A]
    assert members.change(B, ROOM, "invite").events == [stripped[0]]
    assert members.is_knocked("@c:x", ROOM)
    assert members.change("@d:x", ROOM, "leave").events[0]["content"] == {"membership": "ban"}
    state.set_current(ROOM, saved(member(A, "leave", "$a2") | member(B, "join", "$b2")))
    assert members.joined_members(ROOM) == [B]
    assert members.is_left("@c:x", ROOM)
    state.set_current(ROOM, saved({}))
    assert members.joined_members(ROOM) == []
    assert members.membership(B, ROOM) == "leave"


def test_a_state_that_cannot_be_followed_changes_nothing(state, saved, member, rows):
    state.set_current(ROOM, saved(member(A, "join", "$a")))
    missing, odd = saved({("m.room.member", A): "$nowhere"}), saved(member(A, "maybe", "$odd"))
    before = rows()
    for bad, why in ((missing, "nowhere"), (odd, "unknown membership"), (99_999, "no room state")):
        with pytest.raises(InvalidArgumentError, match=why):
            state.set_current(ROOM, bad)
    with pytest.raises(InvalidArgumentError, match="no room state"):
        state.set_before("$new", 99_999)
    assert rows() == before


def test_the_state_before_an_event(state, saved):
    assert state.before("$1") is None
    first = saved({NAME: "$0"})
    state.set_before("$1", first)
    assert state.before("$1") == first
    assert state.before("$0") is None


def test_forward_extremities_are_replaced_and_never_emptied(store, state, message, rows):
    for n in range(4):
        store.rooms.timeline.append(message(n), f"${n}", ROOM)
    store.rooms.timeline.append(message(0, OTHER), "$other", OTHER)
    store.rooms.timeline.add_outlier(message(9), "$outlier")
    state.set_forward_extremities(ROOM, ["$0", "$1"])
    state.set_forward_extremities(OTHER, ["$other"])
    state.set_forward_extremities(ROOM, {"$1", "$2"})
    assert state.forward_extremities(ROOM) == ["$1", "$2"]
    assert state.forward_extremities(OTHER) == ["$other"]
    before = rows()
    for bad in ([], ["$1", "$outlier"], ["$unknown"], ["$other"], "$1", None, [None]):
        with pytest.raises(InvalidArgumentError):
            state.set_forward_extremities(ROOM, bad)
    assert rows() == before


def test_defect_17_unknown_rooms_have_no_state_at_any_token(store):
    assert store.rooms.state.at("!unknown:x", 5) is None
    assert store.rooms.state_accessor.changes_since("!unknown:x", 0, 5).changed == {}
    assert store.rooms.state_accessor.room_full("!unknown:x") == {}
    assert store.rooms.timeline.page("!unknown:x", None, "b", 5) == ([], None)
    assert store.rooms.timeline.since("!unknown:x", 0, 5, 5).events == []
    assert store.rooms.timeline.last_position("!unknown:x") == 0
    assert store.rooms.sharing.shared_rooms([]) == []
