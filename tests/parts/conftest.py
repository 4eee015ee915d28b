"""Every part's suite runs on the memory engine and on disk alike."""

import pytest

from conduitstore.engine import postgres


@pytest.fixture
def store(open_store):
    with open_store() as store:
        yield store


@pytest.fixture(scope="session")
def message():
    """Makes events of a room, numbered in their body."""

    def make(number=0, room="!r:one.test", **changes):
        return {
            "auth_events": [],
            "content": {"body": f"message {number}"},
            "depth": number,
            "hashes": {"sha256": "x"},
            "origin_server_ts": 1_000 + number,
            "prev_events": [],
            "room_id": room,
            "sender": "@a:one.test",
            "signatures": {},
            "type": "m.room.message",
        } | changes

    return make


@pytest.fixture
def rows(store, request):
    """Everything in the store, to see whether an operation changed anything."""

    def dump():
        with store.db.snapshot() as view:
            return {name: list(view.open_tree(name)) for name in view.tree_names()}

    if isinstance(store.db, postgres.Store):
        return request.getfixturevalue("emptied_schema").rows
    return dump
