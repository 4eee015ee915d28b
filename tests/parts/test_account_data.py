"""Account data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError

A, ROOM = "@a:one.test", "!r:one.test"


@pytest.mark.parametrize("room", [None, ROOM])
def test_the_latest_content_counts(store, room):
    data = store.account_data
    assert data.get(room, A, "m.tag") is None
    first = data.update(room, A, "m.tag", {"n": 1})
    data.update(room, A, "m.direct", {"n": 2})
    third = data.update(room, A, "m.tag", {"n": 3})
    assert data.get(room, A, "m.tag") == {"n": 3}
    assert data.get(room, A, "m.direct") == {"n": 2}
    changes = data.changes_since(room, A, 0, third)
    assert [(event["type"], event["content"]["n"]) for _, event in changes] == [
        ("m.direct", 2),
        ("m.tag", 3),
    ]
    assert data.changes_since(room, A, first, third) == changes
    assert data.changes_since(room, A, third, third) == []
    assert [count for count, _ in data.changes_since(room, A, 2, third)] == [third]


def test_rooms_and_users_keep_to_themselves(store):
    data = store.account_data
    keys = [(None, A), (None, "@a:one.tests"), (ROOM, A), (ROOM + "x", A), (ROOM, "@b:one.test")]
    for n, (room, user) in enumerate(keys):
        data.update(room, user, "m.tag", {"n": n})
    upto = store.globals.current_count()
    for n, (room, user) in enumerate(keys):
        assert [event["content"] for _, event in data.changes_since(room, user, 0, upto)] == [
            {"n": n}
        ]


def test_one_row_per_type(store):
    for n in range(3):
        store.account_data.update(ROOM, A, "m.tag", {"n": n})
    assert len(store.db.open_tree("roomuserdataid_accountdata")) == 1
    assert len(store.db.open_tree("roomusertype_roomuserdataid")) == 1


def test_types_of_any_length(store):
    long = "org.example." + "x" * 5_000
    store.account_data.update(None, A, long, {"n": 1})
    store.account_data.update(None, A, long + "x", {"n": 2})
    upto = store.globals.current_count()
    assert store.account_data.get(None, A, long) == {"n": 1}
    changes = store.account_data.changes_since(None, A, 0, upto)
    assert [event["type"] for _, event in changes] == [long, long + "x"]


@pytest.mark.parametrize("content", [None, [], "text"])
def test_defect_22_bad_content_draws_no_count(store, content):
    with pytest.raises(InvalidArgumentError, match="object"):
        store.account_data.update(None, A, "m.tag", content)
    assert store.globals.next_count() == 1


@pytest.mark.parametrize("room", [None, ROOM])
def test_what_is_deleted_is_told_as_empty(store, room):
    data = store.account_data
    assert data.delete(room, A, "m.tag") is None
    data.update(room, A, "m.tag", {"n": 1})
    since = data.update(room, A, "m.direct", {"n": 2})
    count = data.delete(room, A, "m.tag")
    assert data.get(room, A, "m.tag") == {}
    assert data.changes_since(room, A, since, count) == [(count, {"type": "m.tag", "content": {}})]
    assert data.delete(room, A, "m.tag") is None
    assert data.last_count(room, A) == count == store.globals.current_count()


def test_when_something_last_changed(store):
    data = store.account_data
    assert data.last_count(None, A) is None
    first = data.update(None, A, "x", {})
    data.update(ROOM, A, "x", {})
    data.update(None, "@a:one.tests", "x", {})
    assert data.last_count(None, A) == first
    assert data.last_count("!r:one.tests", A) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "!a", "!a!", "!b", "!\U0010ffff"]),
            st.sampled_from(["@a:x", "@a:xx", "@b:x"]),
            st.sampled_from(["t", "u"]),
        )
    ),
    st.sampled_from(["@a:x", "@a:xx", "@b:x", "@c:x"]),
)
def test_erasing_a_user_leaves_the_others(written, erased):
    with conduitstore.open(":memory:") as store:
        for room, user, type in written:
            store.account_data.update(room, user, type, {"n": 1})
        gone = {row for row in written if row[1] == erased}
        assert store.account_data.erase_user(erased) == len(gone)
        for row in written:
            room, user, type = row
            expected = None if row in gone else {"n": 1}
            assert store.account_data.get(room, user, type) == expected
        kept = set(written) - gone
        assert len(store.db.open_tree("roomuserdataid_accountdata")) == len(kept)
