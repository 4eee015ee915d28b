"""An event with all that follows from it: one commit, and no room without a state."""

import threading

import pytest

from conduitstore import InvalidArgumentError

A, B, ROOM = "@a:one.test", "@b:two.test", "!r:one.test"
CREATE, MEMBER_A = ("m.room.create", ""), ("m.room.member", A)


@pytest.fixture
def event(message):
    """Makes events that follow others; with a state key, state events."""

    def make(number, *previous, type="m.room.message", **changes):
        return message(number, type=type, prev_events=list(previous), **changes)

    return make


@pytest.fixture
def create(event):
    return event(0, type="m.room.create", state_key="")


@pytest.fixture
def join(event):
    content = {"membership": "join"}
    return event(1, "$0", type="m.room.member", state_key=A, content=content)


@pytest.fixture
def room(store, create, join):
    """A room that was just made."""
    store.rooms.append(create, "$0", ROOM)
    store.rooms.append(join, "$1", ROOM)
    return store.rooms


def named(store, state):
    return store.rooms.state_accessor.full_ids(state)


def test_the_first_events_of_a_room(store, room):
    state = room.state
    assert named(store, state.before("$0")) == {}
    assert named(store, state.before("$1")) == {CREATE: "$0"}
    assert named(store, state.current(ROOM)) == {CREATE: "$0", MEMBER_A: "$1"}
    assert room.members.joined_members(ROOM) == [A]
    assert state.forward_extremities(ROOM) == ["$1"]


def test_a_message_leaves_the_state_alone(store, room, event):
    before = room.state.current(ROOM)
    position = room.append(event(2, "$1"), "$2", ROOM)
    assert position == room.timeline.last_position(ROOM) == store.globals.current_count()
    assert room.state.current(ROOM) == room.state.before("$2") == before
    assert len(store.db.open_tree("roomcount_shortstatehash")) == 2


def test_the_change_of_state_has_the_events_count(room):
    position = room.timeline.position("$1")
    assert room.state.at(ROOM, position) == room.state.current(ROOM)
    assert room.state.at(ROOM, position - 1) == room.state.before("$1")


def test_forks_and_merges(room, event):
    for number, previous in ((2, ["$1"]), (3, ["$1"]), (4, ["$2", "$3"]), (5, ["$elsewhere"])):
        room.append(event(number, *previous), f"${number}", ROOM)
        expected = {2: ["$2"], 3: ["$2", "$3"], 4: ["$4"], 5: ["$4", "$5"]}[number]
        assert room.state.forward_extremities(ROOM) == expected
    room.append(event(6, ["$4", {"sha256": "x"}], ["$5", {}]), "$6", ROOM)
    assert room.state.forward_extremities(ROOM) == ["$6"]
    room.append(event(7, 5, None, [], [[]]), "$7", ROOM, extremities=["$6", "$7"])
    assert room.state.forward_extremities(ROOM) == ["$6", "$7"]


def test_joining_a_room_that_is_already_old(store, create, join, event):
    """As a server does: the state as outliers, then its own join, then history backwards."""
    rooms = store.rooms
    content = {"membership": "join"}
    ours = event(9, "$8", type="m.room.member", state_key=B, sender=B, content=content)

    def enter(tx):
        tx.rooms.timeline.add_outlier(create, "$0")
        tx.rooms.timeline.add_outlier(join, "$1")
        before = tx.rooms.state_compressor.save({CREATE: "$0", MEMBER_A: "$1"})
        tx.rooms.append(ours, "$9", ROOM, before=before)

    store.transaction(enter)
    assert named(store, rooms.state.before("$9")) == {CREATE: "$0", MEMBER_A: "$1"}
    assert rooms.members.joined_members(ROOM) == [A, B]
    assert rooms.state.forward_extremities(ROOM) == ["$9"]
    state = rooms.state.current(ROOM)
    rooms.append.backfilled(join, "$1", ROOM, before=rooms.state_compressor.save({CREATE: "$0"}))
    assert rooms.state.current(ROOM) == state
    assert named(store, rooms.state.before("$1")) == {CREATE: "$0"}
    assert rooms.timeline.position("$1") < 0


def test_what_the_homeserver_resolved_is_what_counts(store, room, event):
    """A name that lost against another branch: in the timeline, not in the state."""
    lost = event(2, "$0", type="m.room.name", state_key="", content={"name": "lost"})
    before = room.state.before("$1")
    after = room.state.current(ROOM)
    room.append(lost, "$2", ROOM, before=before, after=after)
    assert room.state.current(ROOM) == after
    assert room.state.before("$2") == before
    assert room.state.forward_extremities(ROOM) == ["$1", "$2"]


def test_backfill_into_a_room_of_which_nothing_is_known(store, join):
    store.rooms.append.backfilled(join, "$1", ROOM)
    assert named(store, store.rooms.state.current(ROOM)) == {MEMBER_A: "$1"}
    assert store.rooms.members.joined_members(ROOM) == [A]
    assert store.rooms.state.forward_extremities(ROOM) == ["$1"]


def test_no_room_without_state_wherever_it_dies(store, create, join, rows, monkeypatch):
    """After a failure at any write the room is not there; never is it there without a state."""
    kind = store.db.transaction(type)
    write = kind.write

    def enter(tx):
        tx.rooms.append(create, "$0", ROOM)
        tx.rooms.append(join, "$1", ROOM)

    before = rows()
    for allowed in range(100):
        left = [allowed]

        def fail_late(tx, *args, left=left):
            if not left[0]:
                raise ZeroDivisionError
            left[0] -= 1
            return write(tx, *args)

        with monkeypatch.context() as patch:
            patch.setattr(kind, "write", fail_late)
            try:
                store.transaction(enter)
            except ZeroDivisionError:
                assert rows() == before
            else:
                break
    assert allowed > 30
    assert store.rooms.state.current(ROOM) is not None


def test_threads_that_append_at_once_lose_nothing(store, room, event):
    """Each default is read and replaced in one transaction."""
    start = threading.Barrier(4)

    def race(thread):
        start.wait()
        for number in range(10):
            user = f"@{thread}-{number}:x"
            pdu = event(2, "$1", type="m.room.member", state_key=user)
            store.rooms.append(pdu | {"content": {"membership": "join"}}, f"${user}", ROOM)

    threads = [threading.Thread(target=race, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(named(store, room.state.current(ROOM))) == 42
    assert len(room.state.forward_extremities(ROOM)) == 40
    assert room.members.joined_total(ROOM) == 41


def test_refused_events_leave_nothing(store, room, event, rows):
    before = rows()
    name = event(2, "$1", type="m.room.name", state_key="")
    for call in (
        lambda: room.append(name, "$1", ROOM),
        lambda: room.append(name, "$2", "!other:x"),
        lambda: room.append(name, "$2", ROOM, before=10**6),
        lambda: room.append(name, "$2", ROOM, after=10**6),
        lambda: room.append(name, "$2", ROOM, extremities=[]),
        lambda: room.append(name, "$2", ROOM, extremities=["$3"]),
        lambda: room.append(name | {"state_key": None}, "$2", ROOM),
        lambda: room.append(name | {"type": "m.room.member"}, "$2", ROOM),
        lambda: room.append.backfilled(name, "$2", ROOM, before=-1),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
        assert rows() == before
