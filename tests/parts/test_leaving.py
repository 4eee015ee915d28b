"""Events by what names them, and what goes along with one that leaves."""

import pytest

import conduitstore

ROOM = "!r:one.test"


def event(body="", **more):
    return {
        "content": {"body": body},
        "origin_server_ts": 5,
        "prev_events": [],
        "room_id": ROOM,
        "sender": "@a:x",
        "type": "m.room.message",
    } | more


def test_defect_06_references_have_a_separator(store):
    metadata = store.rooms.pdu_metadata
    store.rooms.timeline.append(event(prev_events=["$a", ["$b", {}], 5]), "$1", ROOM)
    assert metadata.is_referenced(ROOM, "$a")
    assert metadata.is_referenced(ROOM, "$b")
    assert not metadata.is_referenced(ROOM, "$1")
    assert not metadata.is_referenced(ROOM + "$", "a")
    key = f"{ROOM}\xff$a".encode("latin1")
    assert store.db.open_tree("referencedevents").get(key) == (1).to_bytes(8)


def test_what_a_soft_failed_event_names_is_referenced_until_it_goes(store):
    timeline, metadata = store.rooms.timeline, store.rooms.pdu_metadata
    timeline.append(event(), "$1", ROOM)
    timeline.append(event(prev_events=["$1"]), "$2", ROOM)
    for _ in range(2):
        metadata.mark_referenced(ROOM, ["$1", "$2"])
    assert metadata.is_referenced(ROOM, "$2")
    assert timeline.remove("$2")
    assert not metadata.is_referenced(ROOM, "$2")
    assert metadata.is_referenced(ROOM, "$1")  # Not an end of history, though nothing follows.
    assert timeline.remove("$1")
    assert len(store.db.open_tree("referencedevents")) == 0


def test_an_end_of_history_stays_and_a_message_takes_its_number_along(store, rows):
    timeline, short = store.rooms.timeline, store.rooms.short
    store.rooms.append(event(type="m.room.create", state_key=""), "$create", ROOM)
    for n, previous in ((1, "$create"), (2, "$1")):
        store.rooms.append(event(prev_events=[previous]), f"${n}", ROOM)
    store.rooms.auth_chain.remember("$1")
    before = rows()
    with pytest.raises(conduitstore.InvalidArgumentError, match="forward extremity"):
        timeline.remove("$2")
    assert rows() == before
    number = short.event("$1")
    assert timeline.remove("$1")
    assert timeline.remove("$create")
    assert short.event("$1") is short.event_id(number) is None
    assert short.event("$create") is not None  # States name it.
    assert len(store.db.open_tree("shorteventid_authchain")) == 0
    store.rooms.timeline.prepend_backfilled(event(), "$1", ROOM)
    assert short.event("$1") > number


def test_an_outlier_is_no_timeline_event(store):
    timeline = store.rooms.timeline
    timeline.add_outlier(event("tea"), "$1")
    assert timeline.exists("$1")
    assert timeline.outlier("$1").event_id == "$1"
    assert timeline.pdu_id("$1") is None
    assert store.rooms.search.find(ROOM, "tea", 9).positions == []
    assert timeline.remove("$1") is False
    timeline.append(event("tea"), "$1", ROOM)
    assert timeline.outlier("$1") is None
    assert timeline.at(timeline.pdu_id("$1")).event_id == "$1"
    assert not timeline.exists("$2")
