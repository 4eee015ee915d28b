"""Auth chains: told whole or with what is missing, remembered only whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError

ROOM = "!r:one.test"


@pytest.fixture
def put(store, message):
    """Stores an event that rests on others."""

    def add(number, *auth):
        store.rooms.timeline.add_outlier(message(number, auth_events=list(auth)), f"${number}")

    return add


@pytest.fixture
def chains(store):
    return store.rooms.auth_chain


def test_a_chain_is_everything_below(chains, put):
    put(0)
    put(1, "$0")
    put(2, "$1", "$0")
    put(3, "$1", ["$0", {"sha256": "x"}], 5, [], "", "x" * 300)
    assert chains.of(["$0"]) == (set(), set())
    assert chains.of(["$2"]) == chains.of(["$2", "$3"]) == ({"$0", "$1"}, set())
    assert chains.of([]) == (set(), set())


def test_what_is_missing_is_told_and_nothing_kept(store, chains, put):
    put(1, "$0")
    put(2, "$1")
    for event in ("$2", "$unknown"):
        assert chains.remember(event).missing
    assert chains.of(["$2"]) == ({"$0", "$1"}, {"$0"})
    assert len(store.db.open_tree("shorteventid_authchain")) == 0
    put(0)
    assert chains.remember("$2") == ({"$0", "$1"}, set())
    assert len(store.db.open_tree("shorteventid_authchain")) == 1


def test_what_is_remembered_is_not_walked_again(store, chains, put):
    for number in range(5):
        put(number, *([f"${number - 1}"] if number else []))
    put(5, "$4")
    expected = chains.remember("$4").events
    store.db.open_tree("eventid_outlierpdu").remove(b"$1")
    assert chains.of(["$4"]) == (expected, set())
    assert chains.of(["$5"]) == (expected | {"$4"}, set())
    # A purged room leaves rows of no use: they count as not remembered.
    store.db.open_tree("shorteventid_eventid").clear()
    assert chains.of(["$4"]).missing == {"$1"}


def test_trimming_forgets_the_oldest_first(store, chains, put):
    put(0)
    for number in range(1, 5):
        put(number, "$0")
        chains.remember(f"${number}")
    tree = store.db.open_tree("shorteventid_authchain")
    kept = [key for key, _ in tree][2:]
    assert chains.trim(32) == 2
    assert [key for key, _ in tree] == kept
    assert chains.trim(32) == 0
    assert chains.trim(0) == 2
    assert chains.of(["$3"]) == ({"$0"}, set())
    with pytest.raises(InvalidArgumentError):
        chains.trim(-1)


@given(
    st.lists(st.sets(st.integers(0, 11), max_size=3), max_size=12),
    st.lists(st.integers(0, 11), max_size=8),
)
def test_remembering_never_changes_the_answer(graph, remembered):
    with conduitstore.open(":memory:") as store:
        for number, auth in enumerate(graph):
            pdu = {
                "type": "t", "sender": "@a:x", "room_id": ROOM, "content": {},
                "origin_server_ts": 1, "auth_events": [f"${n}" for n in auth if n < number],
            }  # fmt: skip
            store.rooms.timeline.add_outlier(pdu, f"${number}")
        chains = store.rooms.auth_chain
        events = [f"${number}" for number in range(12)]
        before = [chains.of([event]) for event in events]
        for number in remembered:
            chains.remember(f"${number}")
        assert [chains.of([event]) for event in events] == before
        assert chains.of(events[:6]).events == set().union(*(c.events for c in before[:6]))
