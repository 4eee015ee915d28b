"""Timelines: appending, backfilling, paging and what a sync asks."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError
from conduitstore.codec.values import pack_canonical_json

ROOM, OTHER = "!r:one.test", "!r:one.test2"


@pytest.fixture
def timeline(store):
    return store.rooms.timeline


def bodies(events):
    return [event.pdu["content"]["body"] for event in events]


def test_an_event_is_found_by_id_and_place(store, timeline, message):
    position = timeline.append(message(1), "$1", ROOM)
    found = timeline.get("$1")
    assert found.position == timeline.position("$1") == timeline.last_position(ROOM) == position
    assert found.event_id == "$1"
    assert found.pdu == {**message(1), "event_id": "$1"}
    assert position == store.globals.current_count()
    assert timeline.get("$2") is None
    assert timeline.position("$2") is None
    assert timeline.last_position(OTHER) == 0


def test_many_are_found_by_place(timeline, message):
    places = [timeline.append(message(n), f"${n}", ROOM) for n in range(3)]
    other = timeline.append(message(room=OTHER), "$other", OTHER)
    asked = [places[2], other, -places[0], places[0]]
    found = timeline.at_many(ROOM, iter(asked))
    assert [event and event.event_id for event in found] == ["$2", None, None, "$0"]
    assert timeline.at_many("!unknown:one.test", asked) == [None] * 4
    assert timeline.at_many("!r:one.test", []) == []


def test_the_rows_are_conduits(store, timeline, message):
    position = timeline.append(message(1), "$1", ROOM)
    short_room = store.rooms.short.room(ROOM)
    pdu_id = short_room.to_bytes(8) + position.to_bytes(8)
    assert store.db.open_tree("eventid_pduid").get(b"$1") == pdu_id
    stored = pack_canonical_json({**message(1), "event_id": "$1"})
    assert store.db.open_tree("pduid_pdu").get(pdu_id) == stored
    assert store.rooms.short.event("$1") is not None


def test_a_duplicate_is_refused_and_changes_nothing(timeline, message, rows):
    timeline.append(message(1), "$1", ROOM)
    before = rows()
    for place in (timeline.append, timeline.prepend_backfilled):
        with pytest.raises(InvalidArgumentError, match="already"):
            place(message(2), "$1", ROOM)
    with pytest.raises(InvalidArgumentError, match="already"):
        timeline.add_outlier(message(2), "$1")
    assert rows() == before


@pytest.mark.parametrize(
    "changes", [{"content": None}, {"room_id": OTHER}, {"event_id": "$2"}, {"sender": "@" * 256}]
)
def test_what_is_no_event_of_the_room_is_refused(timeline, message, rows, changes):
    before = rows()
    for place in (timeline.append, timeline.prepend_backfilled):
        with pytest.raises(InvalidArgumentError):
            place(message(1) | changes, "$1", ROOM)
    assert rows() == before


def test_a_version_12_create_event_has_no_room_id(timeline, message):
    create = message(1, type="m.room.create", state_key="", content={"room_version": "12"})
    del create["room_id"]
    timeline.append(create, "$room", "!room")
    assert timeline.page("!room", None, "b", 5)[0][0].pdu == {**create, "event_id": "$room"}


def test_outliers_give_way_to_the_timeline(store, timeline, message):
    timeline.add_outlier(message(1), "$1")
    timeline.add_outlier(message(2), "$1")
    timeline.add_outlier(message(3), "$3")
    assert timeline.get("$1").position is None
    assert bodies([timeline.get("$1")]) == ["message 2"]
    assert timeline.page(ROOM, None, "b", 5) == ([], None)
    timeline.append(message(2), "$1", ROOM)
    timeline.prepend_backfilled(message(3), "$3", ROOM)
    assert timeline.get("$1").position > 0
    assert timeline.get("$3").position < 0
    assert len(store.db.open_tree("eventid_outlierpdu")) == 0


def test_replacing_keeps_the_place(timeline, message):
    position = timeline.append(message(1), "$1", ROOM)
    timeline.replace(message(1, content={"body": "redacted"}), "$1")
    assert timeline.get("$1").position == position
    assert bodies(timeline.page(ROOM, None, "f", 5)[0]) == ["redacted"]
    timeline.add_outlier(message(2), "$2")
    for absent in ("$2", "$3"):
        with pytest.raises(InvalidArgumentError, match="no timeline"):
            timeline.replace(message(2), absent)


def test_backfill_comes_before_everything(timeline, message):
    timeline.append(message(3), "$3", ROOM)
    timeline.append(message(4), "$4", ROOM)
    timeline.prepend_backfilled(message(2), "$2", ROOM)
    timeline.prepend_backfilled(message(1), "$1", ROOM)
    timeline.append(message(5), "$5", ROOM)
    expected = [f"message {n}" for n in (1, 2, 3, 4, 5)]
    assert bodies(timeline.page(ROOM, None, "f", 9)[0]) == expected
    assert bodies(timeline.page(ROOM, None, "b", 9)[0]) == expected[::-1]
    assert timeline.last_position(ROOM) == timeline.position("$5")
    # Conduit's Normal(0), the token of an empty room, lies between the two kinds.
    assert bodies(timeline.page(ROOM, "0", "b", 9)[0]) == ["message 2", "message 1"]
    assert bodies(timeline.page(ROOM, "0", "f", 9)[0]) == expected[2:]


def test_a_room_with_backfill_only(timeline, message):
    position = timeline.prepend_backfilled(message(1), "$1", ROOM)
    assert timeline.last_position(ROOM) == position < 0
    assert bodies(timeline.page(ROOM, "0", "b", 9)[0]) == ["message 1"]
    assert timeline.page(ROOM, "0", "f", 9) == ([], None)


def test_bad_pages(timeline):
    for start in ("", "x", "1.5", "s42"):
        with pytest.raises(InvalidArgumentError, match="token"):
            timeline.page(ROOM, start, "b", 5)
    with pytest.raises(InvalidArgumentError, match="direction"):
        timeline.page(ROOM, None, "backwards", 5)
    for limit in (0, -1, None, 1.5):
        with pytest.raises(InvalidArgumentError):
            timeline.page(ROOM, None, "b", limit)
        with pytest.raises(InvalidArgumentError):
            timeline.since(ROOM, 0, 5, limit)


def test_since_gives_the_newest_and_says_when_there_are_more(store, timeline, message):
    places = [timeline.append(message(n), f"${n}", ROOM) for n in range(5)]
    timeline.append(message(9, room=OTHER), "$other", OTHER)
    timeline.prepend_backfilled(message(8), "$8", ROOM)
    upto = store.globals.current_count()
    found = timeline.since(ROOM, places[0], upto, 3)
    assert bodies(found.events) == ["message 2", "message 3", "message 4"]
    assert found.limited
    assert found.events[0].position == places[2]
    older, _ = timeline.page(ROOM, str(places[2]), "b", 2)
    assert bodies(older) == ["message 1", "message 0"]
    found = timeline.since(ROOM, places[1], upto, 3)
    assert bodies(found.events) == ["message 2", "message 3", "message 4"]
    assert not found.limited
    assert bodies(timeline.since(ROOM, places[0], places[2], 5).events) == [
        "message 1",
        "message 2",
    ]
    for since, until in ((upto, upto), (upto, 0)):
        nothing = timeline.since(ROOM, since, until, 5)
        assert nothing.events == []
        assert not nothing.limited
    assert timeline.since("!unknown:x", 0, upto, 5).events == []


@given(
    kinds=st.lists(st.sampled_from(["append", "prepend", "elsewhere"]), max_size=25),
    start=st.none() | st.integers(-40, 90),
    direction=st.sampled_from("bf"),
    limit=st.integers(1, 8),
)
def test_paging_is_walking_a_list(kinds, start, direction, limit):
    model = []
    with conduitstore.open(":memory:") as store:
        timeline = store.rooms.timeline
        for n, kind in enumerate(kinds):
            room = OTHER if kind == "elsewhere" else ROOM
            pdu = {
                "content": {},
                "origin_server_ts": n,
                "room_id": room,
                "sender": "@a:x",
                "type": "t",
            }
            place = timeline.prepend_backfilled if kind == "prepend" else timeline.append
            position = place(pdu, f"${n}", room)
            if kind == "append":
                model.append((position, f"${n}"))
            elif kind == "prepend":
                model.insert(0, (position, f"${n}"))
        expected = model if direction == "f" else model[::-1]
        if start is not None:
            expected = [e for e in expected if (e[0] > start if direction == "f" else e[0] < start)]
        token = None if start is None else str(start)
        walked, pages = [], 0
        while True:
            events, token = timeline.page(ROOM, token, direction, limit)
            walked += [(event.position, event.event_id) for event in events]
            pages += 1
            if token is None:
                break
            assert len(events) == limit
        assert walked == expected
        assert pages == max(1, -(-len(expected) // limit))


def test_a_syncing_reader_misses_no_event(store, message):
    writers_total, each = 3, 30
    start = threading.Barrier(writers_total + 1)

    def write(writer):
        start.wait()
        for n in range(each):
            store.rooms.timeline.append(message(n), f"${writer}-{n}", ROOM)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers_total)]
    for thread in threads:
        thread.start()
    start.wait()
    seen, since, last_round = [], 0, False
    while not last_round:
        last_round = not any(thread.is_alive() for thread in threads)
        with store.snapshot() as view:
            upto = view.globals.current_count()
            found = view.rooms.timeline.since(ROOM, since, upto, 1_000)
            seen += [event.event_id for event in found.events]
            since = upto
    for thread in threads:
        thread.join()
    assert len(seen) == len(set(seen)) == writers_total * each
    walked, _ = store.rooms.timeline.page(ROOM, None, "f", 1_000)
    assert seen == [event.event_id for event in walked]


def test_an_event_as_somebody_sees_it(store, message):
    pdu = message(unsigned={"transaction_id": "t", "prev_content": {}}, origin_server_ts=1_000)
    store.rooms.timeline.append(pdu, "$1", ROOM)
    event = store.rooms.timeline.get("$1")
    own = event.seen_by("@a:one.test", 1_250)
    assert own["unsigned"] == {"transaction_id": "t", "prev_content": {}, "age": 250}
    assert event.seen_by("@b:one.test", 900)["unsigned"] == {"prev_content": {}, "age": 0}
    assert event.pdu["unsigned"] == pdu["unsigned"]  # What is stored is nobody's view.
    store.rooms.timeline.append(message(), "$2", ROOM)
    assert store.rooms.timeline.get("$2").seen_by("@b:one.test", 1_000)["unsigned"] == {"age": 0}
