"""The state section: what a client needs before the timeline, all of it and little more."""

import pytest
from scenes import OTHER, ROOM, A, B, C, Device, ids


def told(answer, room=ROOM):
    return sorted(ids(answer.joined[room].state))


def test_what_the_timeline_left_out_is_told_and_what_it_has_is_not(store, scene):
    client = Device(store, A, timeline_limit=2)
    joins = scene.join(A, B)
    name = scene.state(A, "m.room.name", {"name": "one"})
    topic = scene.state(A, "m.room.topic", {"topic": "tea"})
    said = scene.say(B)
    answer = client.sync()
    assert ids(answer.joined[ROOM].timeline.events) == [topic, said]
    assert told(answer) == sorted([*joins, name])
    renamed = scene.state(A, "m.room.name", {"name": "two"})
    scene.say(B)
    again = scene.state(A, "m.room.topic", {"topic": "coffee"})
    answer = client.sync()
    assert told(answer) == [renamed]
    assert ids(answer.joined[ROOM].timeline.events)[1] == again
    assert not client.sync()


def test_what_the_timeline_changes_is_told_as_it_was_before(store, scene):
    client = Device(store, A, timeline_limit=1)
    scene.join(A)
    client.sync()
    unseen = scene.state(A, "m.room.name", {"name": "two"})
    scene.state(A, "m.room.name", {"name": "three"})
    last = scene.state(A, "m.room.name", {"name": "four"})
    answer = client.ask(timeline_limit=2)
    assert told(answer) == [unseen]
    assert told(client.sync(state_after=True)) == [last]


def test_a_state_resolved_in_the_middle_of_the_timeline_is_told(store, scene):
    """An event of the state that is in no timeline has no other way to the client."""
    client = Device(store, A)
    scene.join(A)
    client.sync()
    scene.say(A)
    topic = scene.outlier(ROOM, B, "m.room.topic", {"topic": "from elsewhere"}, "")
    states, state = store.rooms.state_compressor, store.rooms.state
    state.set_current(ROOM, states.change(state.current(ROOM), {("m.room.topic", ""): topic}))
    scene.say(A)
    assert told(client.sync()) == [topic]
    assert not client.sync()


def test_the_whole_state_if_asked_for(store, scene):
    client = Device(store, A)
    joins = scene.join(A, B)
    client.sync()
    assert not client.ask()
    assert told(client.sync(full_state=True)) == sorted(joins)
    assert client.ask(full_state=True).joined[ROOM].timeline.events == []


def test_a_room_come_back_to_is_told_whole(store, scene):
    client = Device(store, A)
    scene.join(A, B)
    client.sync()
    scene.member(A, "leave")
    client.sync()
    name = scene.state(B, "m.room.name", {"name": "one"})
    back = scene.member(A, "join")
    answer = client.sync(timeline_limit=1)
    assert answer.joined[ROOM].is_new
    assert name in told(answer)
    assert ids(answer.joined[ROOM].timeline.events) == [back]
    assert answer.joined[ROOM].timeline.limited


def test_a_new_room_is_limited_where_older_events_are_here(store, scene):
    scene.join(A)
    assert not Device(store, A).ask().joined[ROOM].timeline.limited
    pdu = scene.pdu(ROOM, B, "m.room.message", {})
    store.rooms.append.backfilled(pdu, "$old", ROOM)
    assert Device(store, A).ask().joined[ROOM].timeline.limited


# Lazily loaded members --------------------------------------------------------------------------


@pytest.fixture
def lazy(store):
    return Device(store, A, lazy_members=True, timeline_limit=2)


def members_told(answer, room=ROOM):
    state = answer.joined[room].state
    return sorted(e.pdu["state_key"] for e in state if e.pdu["type"] == "m.room.member")


def named(scene, room=ROOM):
    """Whose first timeline shows nobody but A."""
    scene.join(A, B, C, room=room)
    scene.state(A, "m.room.name", {"name": "one"}, room)
    scene.state(A, "m.room.topic", {"topic": "tea"}, room)


def test_members_come_with_what_they_say_and_once(scene, lazy):
    named(scene)
    scene.say(B)
    answer = lazy.sync()
    assert members_told(answer) == [A, B]  # A wrote the topic, which is shown.
    scene.say(B)
    assert members_told(lazy.sync()) == []
    scene.say(C)
    assert members_told(lazy.sync()) == [C]
    scene.say(C)
    assert members_told(lazy.ask(redundant_members=True)) == [C]
    assert members_told(lazy.sync()) == []


def test_members_of_an_answer_that_was_lost_come_again(scene, lazy):
    named(scene)
    lazy.sync()
    scene.say(C)
    assert members_told(lazy.ask()) == [C]
    assert members_told(lazy.ask()) == [C]
    scene.say(B)
    assert members_told(lazy.sync()) == [B, C]
    scene.say(C)
    assert members_told(lazy.sync()) == []


def test_the_later_of_two_answers_at_once_does_not_vouch_for_the_earlier(store, scene, lazy):
    """The earlier answer is noted last, and it is the later one that arrives."""
    named(scene)
    lazy.sync()
    scene.say(C)
    with store.snapshot() as early:
        scene.say(B)
        scene.say(B)
        late = lazy.ask()
        lazy.store = _SnapshotFirst(store, early)
        assert members_told(lazy.ask()) == [C]
    lazy.store = store
    assert members_told(late) == [B]  # Its timeline has two events only.
    lazy.since = late.next_batch
    scene.say(C)
    assert members_told(lazy.sync()) == [C]


class _SnapshotFirst:
    def __init__(self, store, view):
        self.transaction = store.transaction
        self.snapshot = lambda: _Kept(view)


class _Kept:
    def __init__(self, view):
        self.view = view

    def __enter__(self):
        return self.view

    def __exit__(self, *exc):
        pass


def test_members_that_changed_in_a_gap_are_told(scene, lazy):
    named(scene)
    lazy.sync()
    scene.member(B, "join", displayname="Bea")
    scene.say(A)
    scene.say(A)
    assert members_told(lazy.sync()) == [B]


def test_a_sender_whose_join_is_shown_first_needs_no_member(scene, lazy):
    scene.join(A)
    scene.state(A, "m.room.name", {"name": "one"})
    lazy.sync()
    scene.join(B)
    scene.say(B)
    assert members_told(lazy.sync()) == []
    scene.say(B)
    assert members_told(lazy.sync()) == []


def test_a_room_come_back_to_has_its_members_told_anew(scene, lazy):
    named(scene)
    scene.say(B)
    lazy.sync()
    scene.member(A, "leave")
    lazy.sync()
    scene.member(A, "join")
    scene.say(B)
    answer = lazy.sync()
    assert B in members_told(answer)


def test_rooms_and_devices_are_told_apart(store, scene, lazy):
    for room in (ROOM, OTHER):
        named(scene, room)
    other = Device(store, A, "E", lazy_members=True, timeline_limit=2)
    lazy.sync()
    other.sync()
    scene.say(B)
    assert members_told(lazy.sync()) == [B]
    scene.say(B, OTHER)
    answer = lazy.sync()
    assert members_told(answer, OTHER) == [B]
    assert ROOM not in answer.joined
    answer = other.sync()
    assert (members_told(answer), members_told(answer, OTHER)) == ([B], [B])


# Rooms left -------------------------------------------------------------------------------------


def test_a_left_room_is_told_up_to_the_leaving(store, scene):
    client = Device(store, A)
    scene.join(A, B)
    client.sync()
    said = scene.say(B)
    left = scene.member(A, "leave", sender=B)
    scene.say(B)
    store.account_data.update(ROOM, A, "m.tag", {"tags": {}})
    answer = client.sync()
    assert ROOM not in answer.joined
    assert ids(answer.left[ROOM].timeline.events) == [said, left]
    assert answer.left[ROOM].state == []
    assert [data["type"] for _, data in answer.left[ROOM].account_data] == ["m.tag"]
    assert not client.sync()


def test_a_room_joined_and_left_meanwhile_is_told_whole(store, scene):
    client = Device(store, A)
    joined = scene.join(B)
    client.sync()
    scene.say(B)
    scene.join(A)
    left = scene.member(A, "leave")
    answer = client.sync(timeline_limit=2)
    assert ids(answer.left[ROOM].timeline.events)[-1] == left
    assert ids(answer.left[ROOM].state) == joined


@pytest.mark.parametrize("invited", [True, False])
def test_one_who_never_was_in_a_room_sees_nothing_of_it(store, scene, invited):
    client = Device(store, A)
    scene.join(B)
    if invited:
        scene.member(A, "invite", sender=B)
    else:
        scene.member(A, "knock")
    client.sync()
    scene.say(B)
    refused = scene.member(A, "leave")
    answer = client.sync()
    assert ids(answer.left[ROOM].timeline.events) == [refused]
    assert answer.left[ROOM].state == []


def test_rooms_left_long_ago_if_asked_for(store, scene):
    scene.join(A)
    left = scene.member(A, "leave")
    assert Device(store, A).ask().left == {}
    answer = Device(store, A).ask(include_left=True)
    assert ids(answer.left[ROOM].timeline.events)[-1] == left


@pytest.mark.parametrize("then", ["invite", "knock"])
def test_a_stay_that_ended_before_an_invite_is_told_to_its_end(store, scene, then):
    client = Device(store, A)
    scene.join(A, B)
    client.sync()
    said = scene.say(B)
    left = scene.member(A, "leave")
    scene.say(B)
    scene.member(A, then, sender=B if then == "invite" else A)
    answer = client.sync()
    assert [change.room for change in answer.invited + answer.knocked] == [ROOM]
    assert ids(answer.left[ROOM].timeline.events) == [said, left]
    assert not client.sync()


def test_a_stay_that_ended_before_a_refusal_is_told_too(store, scene):
    client = Device(store, A)
    scene.join(A, B)
    client.sync()
    said = scene.say(B)
    left = scene.member(A, "leave")
    invited = scene.member(A, "invite", sender=B)
    refused = scene.member(A, "leave")
    answer = client.sync()
    assert ids(answer.left[ROOM].timeline.events) == [said, left, invited, refused]
