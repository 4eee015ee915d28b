"""Unread counters: no increment is lost, and a reset is no other user's, room's or thread's."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError
from conduitstore.parts.rooms.user_counters import RoomUnread, Unread

A, B, ROOM, OTHER = "@a:one.test", "@b:one.test", "!r:one.test", "!r:one.test2"


def test_counting_and_reading(store):
    counters = store.rooms.user_counters
    assert counters.unread(A, ROOM) == RoomUnread()
    assert counters.last_read(A, ROOM) == 0
    counters.increment(ROOM, [A, B], [A])
    counters.increment(ROOM, [A, A])
    counters.increment(ROOM, [A], thread="$t")
    counters.increment(OTHER, [A])
    assert counters.unread(A, ROOM) == RoomUnread(Unread(2, 1), {"$t": Unread(1, 0)})
    assert counters.unread(A, ROOM).total == Unread(3, 1)
    assert counters.unread(B, ROOM).main == Unread(1, 0)
    read = counters.reset(A, ROOM)
    assert counters.unread(A, ROOM) == RoomUnread()
    assert counters.last_read(A, ROOM) == read == store.globals.current_count()
    assert counters.unread(B, ROOM).main == Unread(1, 0)
    assert counters.unread(A, OTHER).main == Unread(1, 0)
    assert counters.last_read(B, ROOM) == counters.last_read(A, OTHER) == 0


def test_threads_are_read_one_by_one(store):
    counters = store.rooms.user_counters
    for thread in ("main", "$t", "$u"):
        counters.increment(ROOM, [A], [A], thread)
    counters.reset(A, ROOM, "$t")
    assert counters.unread(A, ROOM) == RoomUnread(Unread(1, 1), {"$u": Unread(1, 1)})
    counters.reset(A, ROOM, "main")
    assert counters.unread(A, ROOM) == RoomUnread(Unread(), {"$u": Unread(1, 1)})


def test_defect_01_the_last_read_has_a_tree_of_its_own(store):
    """Conduit opens it on the tree of highlights; resetting would leave a row there."""
    counters = store.rooms.user_counters
    counters.increment(ROOM, [A], [A])
    read = counters.reset(A, ROOM)
    assert len(store.db.open_tree("userroomid_highlightcount")) == 0
    key = f"{ROOM}\xff{A}".encode("latin1")
    assert store.db.open_tree("roomuserid_lastnotificationread").get(key) == read.to_bytes(8)
    counters.increment(ROOM, [], [A])
    key = f"{A}\xff{ROOM}".encode("latin1")
    assert list(store.db.open_tree("userroomid_highlightcount")) == [(key, (1).to_bytes(8))]


def test_no_increment_is_lost_between_threads(store):
    start = threading.Barrier(4)

    def count():
        start.wait()
        for _ in range(50):
            store.rooms.user_counters.increment(ROOM, [A, B], [A])

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.rooms.user_counters.unread(A, ROOM).main == Unread(200, 200)
    assert store.rooms.user_counters.unread(B, ROOM).main == Unread(200, 0)


def test_the_number_on_an_apps_icon(store):
    counters = store.rooms.user_counters
    counters.increment(ROOM, [A, B], [A])
    counters.increment(OTHER, [A])
    counters.increment(OTHER, [A, A + "x"], [A], thread="$t")
    assert counters.unread_everywhere(A) == Unread(3, 2)
    assert counters.unread_everywhere(B) == Unread(1, 0)
    counters.reset(A, OTHER)
    assert counters.unread_everywhere(A) == Unread(1, 1)
    assert counters.unread_everywhere("@nobody:x") == Unread()


@pytest.mark.parametrize("users", [A, b"@a:x", None, 5, [[]]])
def test_what_is_no_list_of_users(store, rows, users):
    before = rows()
    for call in (
        lambda: store.rooms.user_counters.increment(ROOM, users),
        lambda: store.rooms.user_counters.increment(ROOM, [B], users),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before


USERS, ROOMS, THREADS = [A, B, A + "x"], [ROOM, OTHER], ["main", "$t", "$tt"]


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["increment", "reset"]),
            st.sampled_from(ROOMS),
            st.lists(st.sampled_from(USERS), min_size=1, unique=True),
            st.sampled_from([*THREADS, None]),
        ),
        max_size=25,
    )
)
def test_counters_against_a_dictionary(steps):
    model = {}
    with conduitstore.open(":memory:") as store:
        counters = store.rooms.user_counters
        for kind, room, users, thread in steps:
            if kind == "increment":
                counters.increment(room, users, users[:1], thread or "main")
                for user in users:
                    place = (user, room, thread or "main")
                    old = model.get(place, Unread())
                    highlighted = 1 if user == users[0] else 0
                    model[place] = Unread(old.notifications + 1, old.highlights + highlighted)
            else:
                counters.reset(users[0], room, thread)
                for gone in [thread] if thread else THREADS:
                    model.pop((users[0], room, gone), None)
        for user in USERS:
            for room in ROOMS:
                found = counters.unread(user, room)
                assert found.main == model.get((user, room, "main"), Unread())
                assert found.threads == {
                    thread: model[user, room, thread]
                    for thread in THREADS[1:]
                    if (user, room, thread) in model
                }
