"""Presence: one row a user, told once per change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import CorruptedError, InvalidArgumentError
from conduitstore.parts.presence import Presence

A, B = "@a:one.test", "@b:one.test"


def test_one_row_per_user(store):
    first = store.presence.update(A, Presence("online", currently_active=True, last_active_ts=7))
    other = store.presence.update(B, Presence("unavailable", last_active_ts=9, status_msg="tea"))
    second = store.presence.update(A, Presence("offline", last_active_ts=8))
    found = store.presence.since(0, second)
    assert [(c.user, c.count, c.presence.state) for c in found] == [
        (B, other, "unavailable"),
        (A, second, "offline"),
    ]
    assert store.presence.get(A) == found[1]
    assert store.presence.since(other, second) == found[1:]
    assert store.presence.since(first, other) == found[:1]
    assert store.presence.since(second, second) == store.presence.since(second, 0) == []
    assert store.presence.get("@c:x") is None
    assert len(store.db.open_tree("presenceid_presence")) == 2


def test_the_rows_are_the_forks(store):
    count = store.presence.update(A, Presence("online", last_active_ts=7))
    key = count.to_bytes(8) + A.encode()
    assert list(store.db.open_tree("presenceid_presence")) == [
        (
            key,
            b'{"state":"online","currently_active":false,"last_active_ts":7,"status_msg":null}',
        )
    ]
    assert store.db.open_tree("userid_presenceid").get(A.encode()) == count.to_bytes(8)


def test_signs_of_life(store):
    assert store.presence.last_update(A) is None
    store.presence.ping(A, 50)
    store.presence.ping(A, 40)
    assert store.presence.last_update(A) == 50
    store.presence.update(A, Presence("online", last_active_ts=60))
    assert store.presence.last_update(A) == 60


def test_what_others_are_told():
    away = Presence("unavailable", last_active_ts=70, status_msg="tea")
    assert away.content(100) == {
        "presence": "unavailable",
        "currently_active": False,
        "last_active_ago": 30,
        "status_msg": "tea",
    }
    assert away.content(50)["last_active_ago"] == 0
    assert Presence("online", currently_active=True, last_active_ts=70).content(100) == {
        "presence": "online",
        "currently_active": True,
    }


def test_forgetting(store, rows):
    empty = rows()
    del empty["global"]
    store.presence.update(A, Presence("online"))
    store.presence.update(B, Presence("offline"))
    assert store.presence.remove(A) is True
    assert store.presence.remove(A) is False
    assert store.presence.get(A) is store.presence.last_update(A) is None
    assert store.presence.get(B) is not None
    store.presence.forget_all()
    left = {name: found for name, found in rows().items() if found}
    del left["global"]
    assert left == {name: found for name, found in empty.items() if found}


def test_nobody_is_online_after_a_restart(store):
    store.presence.update(A, Presence("online", currently_active=True, status_msg="tea"))
    before = store.presence.update(B, Presence("offline", last_active_ts=3))
    assert store.presence.set_all_offline() == 1
    (changed,) = store.presence.since(before, store.globals.current_count())
    assert changed.user == A
    assert changed.presence == Presence("offline", status_msg="tea")
    assert store.presence.set_all_offline() == 0


@pytest.mark.parametrize(
    "presence",
    [
        Presence("away"),
        Presence(None),
        Presence([]),
        Presence("online", currently_active=1),
        Presence("online", last_active_ts=-1),
        Presence("online", status_msg=5),
        Presence("online", status_msg="\ud800"),
        {"state": "online"},
        None,
    ],
)
def test_what_is_no_presence(store, rows, presence):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        store.presence.update(A, presence)
    assert rows() == before


@pytest.mark.parametrize(
    "damage", [b"[]", b"\xff", b'{"state":5}', b'{"state":"online","last_active_ts":"x"}']
)
def test_damaged_rows_are_named(store, damage):
    store.presence.update(A, Presence("online"))
    tree = store.db.open_tree("presenceid_presence")
    tree.insert(next(tree.keys()), damage)
    for read in (lambda: store.presence.get(A), lambda: store.presence.since(0, 9)):
        with pytest.raises(CorruptedError, match="presenceid_presence"):
            read()


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([A, B, "@\x00:x"]),
            st.sampled_from(["online", "offline", "unavailable", None]),
        ),
        max_size=25,
    )
)
def test_presence_against_a_dictionary(steps):
    newest = {}
    with conduitstore.open(":memory:") as store:
        for user, state in steps:
            if state is None:
                assert store.presence.remove(user) == (newest.pop(user, None) is not None)
            else:
                newest[user] = (store.presence.update(user, Presence(state)), state)
        upto = store.globals.current_count()
        for since in range(upto + 1):
            told = [(c.count, c.user, c.presence.state) for c in store.presence.since(since, upto)]
            assert told == sorted((c, user, s) for user, (c, s) in newest.items() if c > since)
