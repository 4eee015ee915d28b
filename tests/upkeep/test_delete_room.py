"""Nothing of a deleted room is left in any tree, and nothing else is gone."""

from unittest.mock import ANY

import pytest
from lived import OTHER, ROOM, WHOLE, A, live

import conduitstore
from conduitstore.consistency import check
from conduitstore.schema import TREES
from conduitstore.upkeep import GcOptions, batches, delete_room, rooms

ROOMS = [ROOM, OTHER, WHOLE]
# What is a user's own and stays: keys of backups, and which of our own trees they are counted in.
USERS_OWN = {"backupkeyid_backup"}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    for module in (batches, rooms):
        monkeypatch.setattr(module, "BATCH_ROWS", 3)


@pytest.fixture
def store(open_store):
    with open_store() as store:
        store.transaction(live)
        yield store


def contents(store):
    with store.snapshot() as view:
        return {name: dict(iter(view.keyspace.open_tree(name))) for name in TREES}


def traces(store, room, number):
    """Rows with the room's id as a field of the key, or its id or number anywhere."""
    for name, rows in contents(store).items():
        if name in USERS_OWN:
            continue
        for key, value in rows.items():
            fields = [*key.split(b"\xff"), *value.split(b"\xff")]
            if room.encode() in fields or b'"%b"' % room.encode() in value or number in key + value:
                yield name, key, value


@pytest.mark.parametrize("room", ROOMS)
def test_no_trace_is_left_and_the_rest_is_whole(store, room):
    before = contents(store)
    number = before["roomid_shortroomid"][room.encode()]
    assert {name for name, _, _ in traces(store, room, number)} > {"pduid_pdu", "shortroomid_room"}
    removed = delete_room(store.db, room)
    after = contents(store)
    assert list(traces(store, room, number)) == []
    with store.snapshot() as view:
        assert list(check(view.keyspace)) == []
    for name, rows in before.items():
        assert after[name].items() <= rows.items()
        assert len(rows) - len(after[name]) == removed[name], name
    assert removed["pduid_pdu"] > 0


@pytest.mark.parametrize("room", ROOMS)
def test_events_and_states_of_the_room_are_gone(store, room):
    delete_room(store.db, room)
    after = contents(store)
    own = {ROOM: b"$!r:one.test@", OTHER: b"$!r:one.test2@", WHOLE: b"$w"}[room]
    for name in ("eventid_pduid", "eventid_outlierpdu", "eventid_shorteventid"):
        assert not [key for key in after[name] if key.startswith(own)]
    states = store.rooms.state_compressor
    before_every_room = states.number_of([])
    collected = {one.tree: one.removed for one in store.gc(GcOptions(young_counts=0))}
    is_gone = before_every_room is not None and not states.exists(before_every_room)
    assert collected["shortstatehash_statediff"] == is_gone


def test_all_rooms_one_after_the_other(store):
    for room in ROOMS:
        delete_room(store.db, room)
    after = contents(store)
    assert {name for name, tree in TREES.items() if tree.room_scoped and after[name]} <= {
        "roomuserdataid_accountdata",  # Of no room.
        "roomusertype_roomuserdataid",
        "keychangeid_userid",  # By user.
    }
    assert store.account_data.get(None, A, "m.direct") == {}
    with store.snapshot() as view:
        assert list(check(view.keyspace)) == []


@pytest.mark.parametrize("commits", [1, 2, 5, 10, 20, 40, 60])
def test_a_run_that_died_is_finished_by_the_next(commits):
    def lived():
        store = conduitstore.open(":memory:")
        store.transaction(live)
        return store

    with lived() as whole, lived() as store:
        delete_room(whole.db, WHOLE)
        transaction, left = store.db.transaction, commits

        def dying(fn, **options):
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return transaction(fn, **options)

        store.db.transaction = dying
        with pytest.raises(KeyboardInterrupt):
            delete_room(store.db, WHOLE)
        store.db.transaction = transaction
        delete_room(store.db, WHOLE)
        # When they were last seen, and when tokens were spent.
        clocks = {"userdeviceid_metadata": ANY, "spentrefresh_userdeviceid": ANY}
        assert contents(store) == contents(whole) | clocks


def test_a_room_that_is_not_there_is_nothing(store):
    before = contents(store)
    assert delete_room(store.db, "!none:x") == {}
    assert contents(store) == before
