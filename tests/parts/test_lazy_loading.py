"""Lazily loaded members: told once where the answer arrived, again where it did not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError

A, B, C, ROOM, OTHER = "@a:x", "@b:x", "@c:x", "!r:x", "!r:xx"


def witness(store, members, since, token, room=ROOM, device="D"):
    return store.rooms.lazy_loading.witness(A, device, room, members, since=since, token=token)


def test_each_member_once(store):
    assert witness(store, [B, A, B], 0, 5) == [B, A]
    assert witness(store, [A, B, C], 5, 9) == [C]
    assert witness(store, [A, B, C], 9, 12) == []
    assert witness(store, [A], 9, 12, room=OTHER) == [A]
    assert witness(store, [A], 9, 12, device="D2") == [A]


def test_a_lost_answer_is_told_again(store):
    witness(store, [A], 0, 5)
    assert witness(store, [B], 5, 9) == [B]
    assert not store.rooms.lazy_loading.was_sent(A, "D", ROOM, B, 5)
    assert witness(store, [C], 5, 11) == [C]  # The answer with B never came.
    assert witness(store, [A, B, C], 11, 12) == [B]
    assert store.rooms.lazy_loading.was_sent(A, "D", ROOM, B, 12)
    assert witness(store, [A, B, C], 0, 13) == [A, B, C]  # As a device that has lost everything.


def test_a_reset_is_one_rooms(store):
    for room in (ROOM, OTHER):
        witness(store, [A, B], 0, 5, room=room)
    assert store.rooms.lazy_loading.reset(A, "D", ROOM) == 2
    assert witness(store, [A, B], 5, 6) == [A, B]
    assert witness(store, [A, B], 5, 6, room=OTHER) == []


def test_a_device_that_is_gone_leaves_nothing(store):
    for device in ("D", "D2"):
        for room in (ROOM, OTHER):
            witness(store, [A, B], 0, 5, room=room, device=device)
    assert store.rooms.lazy_loading.forget_device(A, "D") == 4
    assert witness(store, [A], 5, 6, device="D2") == []
    assert store.rooms.lazy_loading.forget_device(A, "D2") == 4
    for tree in ("lazyloadedids", "userdeviceroomid_lazyloadcount"):
        assert len(store.db.open_tree(tree)) == 0


@pytest.mark.parametrize("members", [A, None, 5, [None], [5], [""]])
def test_what_is_no_list_of_members(store, rows, members):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        witness(store, members, 0, 5)
    assert rows() == before


@given(
    syncs=st.lists(
        st.tuples(st.sets(st.sampled_from([A, B, C]), min_size=1), st.booleans()), max_size=25
    )
)
def test_a_client_knows_every_member_it_is_shown(syncs):
    """Each sync shows some members; answers get lost at random, and the client asks again."""
    known, since, told = set(), 0, {}
    with conduitstore.open(":memory:") as store:
        for token, (shown, arrives) in enumerate(syncs, start=1):
            new = witness(store, sorted(shown), since, token)
            assert shown <= known | set(new)
            if arrives:
                assert not known & set(new)  # Nothing that it knows is told again.
                known |= set(new)
                since = token
                told |= dict.fromkeys(new, token)
        for member in (A, B, C):
            sent = store.rooms.lazy_loading.was_sent(A, "D", ROOM, member, since)
            assert sent == (member in told)
