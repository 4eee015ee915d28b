"""Everything derived from a timeline, against what its events say: after any life of a room."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import conduitstore
from conduitstore.codec.mentions import relation_in, text_in
from conduitstore.codec.words import words
from conduitstore.upkeep import delete_room

ROOM, OTHER = "!r:one.test", "!r:one.test2"
USERS = ["@a:x", "@b:x"]
EVENTS = [f"${n}" for n in range(6)]
RELATIONS = ["m.thread", "m.replace", "m.reference", "m.annotation"]


def event(body="", to=None, rel_type="m.thread", sender=USERS[0], room=ROOM, ts=5, **more):
    content = {"body": body}
    if to is not None:
        content["m.relates_to"] = {"rel_type": rel_type, "event_id": to}
    return {
        "content": content,
        "origin_server_ts": ts,
        "prev_events": [],
        "room_id": room,
        "sender": sender,
        "type": "m.room.message",
    } | more


def redacted(pdu):
    return pdu | {"content": {}}


def timeline_of(store, room=ROOM):
    return store.rooms.timeline.page(room, None, "f", 1_000)[0]


def assert_derived_trees_follow(store):
    """Each derived tree, from nothing but the events."""
    rooms = store.rooms
    for room in (ROOM, OTHER):
        events = timeline_of(store, room)
        here = {e.event_id: e for e in events}
        for word in ("tea", "milk", "sugar"):
            having = [e.position for e in events if word in words(text_in(e.pdu))]
            assert rooms.search.find(room, word, 99).positions == having[::-1]
        times = sorted((max(e.pdu["origin_server_ts"], 0), e.position) for e in events)
        assert rooms.timestamps.before(room, 1 << 62, 999) == times
        for root in EVENTS:
            related = [
                e.event_id
                for e in events
                if root in here and (r := relation_in(e.pdu)) is not None and r.to == root
            ]
            if root in here or not related:
                found, _ = rooms.pdu_metadata.relations(root, None, "f", 99)
                in_room = [e.event_id for e in found if e.event_id in here]
                assert in_room == related
            if root in here:
                assert_thread_follows(store, room, here[root], here)
    everything = [e for room in (ROOM, OTHER) for e in timeline_of(store, room)]
    placed = {e.event_id for e in everything}
    relations = [relation_in(e.pdu) for e in everything]
    waiting = [r for r in relations if r is not None and r.to not in placed]
    assert len(store.db.open_tree("eventid_relatingpduid")) == len(waiting)
    assert_references_follow(store)


def assert_references_follow(store):
    """How many events of the timeline name each; 0 only of one that is itself still here."""
    found = {}
    for key, value in store.db.open_tree("referencedevents"):
        room, event_id = key.decode("latin1").split("\xff")
        found[room, event_id] = int.from_bytes(value)
        here = {e.event_id for e in timeline_of(store, room)}
        assert found[room, event_id] or event_id in here
    named = Counter(
        (room, previous)
        for room in (ROOM, OTHER)
        for e in timeline_of(store, room)
        for previous in e.pdu["prev_events"]
        if isinstance(previous, str)
    )
    assert {key: total for key, total in found.items() if total} == named


def assert_thread_follows(store, room, root, here):
    threads = store.rooms.threads
    replies = [
        e
        for e in here.values()
        if (r := relation_in(e.pdu)) is not None and r == ("m.thread", root.event_id)
    ]
    summary = root.pdu.get("unsigned", {}).get("m.relations", {}).get("m.thread")
    listed = {e.event_id for e in threads.page(room, None, 99, by="root")[0]}
    active = {e.event_id for e in threads.page(room, None, 99)[0]}
    assert (root.event_id in listed) == (root.event_id in active) == bool(replies)
    if not replies:
        assert summary is None
        return
    latest = max(replies, key=lambda e: e.position)
    assert summary["count"] == len(replies)
    assert summary["latest_event"]["event_id"] == latest.event_id
    assert summary["latest_event"]["content"] == latest.pdu["content"]
    writers = {root.pdu["sender"], *(e.pdu["sender"] for e in replies)}
    pdu_id = store.rooms.timeline.pdu_id(root.event_id)
    assert set(threads.participants(pdu_id)) == writers
    assert threads.participants(pdu_id)[0] == root.pdu["sender"]
    assert threads.took_part(root.event_id, latest.pdu["sender"])


STEPS = st.tuples(
    st.sampled_from(["append", "backfill", "redact", "edit", "remove"]),
    st.sampled_from(EVENTS),
    st.sampled_from([None, *EVENTS]),
    st.sampled_from(RELATIONS),
    st.sampled_from(USERS),
    st.sampled_from([ROOM, ROOM, ROOM, OTHER]),
    st.sampled_from(["", "tea", "Tea with MILK", "sugar, tea!"]),
    st.lists(st.sampled_from(EVENTS), unique=True, max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
def test_derived_trees_follow_the_timeline(steps):
    with conduitstore.open(":memory:") as store:
        timeline = store.rooms.timeline
        for kind, event_id, to, rel_type, sender, room, body, previous in steps:
            found = timeline.get(event_id)
            if kind in ("append", "backfill"):
                if found is None:
                    place = timeline.append if kind == "append" else timeline.prepend_backfilled
                    pdu = event(body, to, rel_type, sender, room, prev_events=previous)
                    place(pdu, event_id, room)
            elif kind == "remove":
                assert timeline.remove(event_id) == (found is not None)
            elif found is not None:
                bare = {k: v for k, v in found.pdu.items() if k != "unsigned"}
                content = bare["content"] | {"body": body}
                new = redacted(bare) if kind == "redact" else bare | {"content": content}
                timeline.replace(new, event_id)
        assert_derived_trees_follow(store)
        for event_id in EVENTS:
            timeline.remove(event_id)
        for tree in (
            *("tokenids", "roomid_tscount_pducount", "tofrom_relation", "relatesto_typed"),
            *("eventid_relatingpduid", "threadid_userids", "threadactivityid_rootid"),
            *("threadrootid_latestcount", "pduid_pdu", "eventid_pduid", "referencedevents"),
        ):
            assert len(store.db.open_tree(tree)) == 0, tree


# Search -----------------------------------------------------------------------------------------
def test_all_words_newest_first_and_by_pages(store):
    timeline, search = store.rooms.timeline, store.rooms.search
    bodies = ["tea", "milk tea", "milk", "TEA, with milk", "tea"]
    places = [timeline.append(event(b), f"${n}", ROOM) for n, b in enumerate(bodies)]
    old = timeline.prepend_backfilled(event("milk and tea"), "$old", ROOM)
    timeline.append(event("tea milk", room=OTHER), "$other", OTHER)
    assert search.find(ROOM, "Milk tea", 9).positions == [places[3], places[1], old]
    assert search.find(ROOM, "tea milk sugar", 9).positions == []
    first = search.find(ROOM, "tea milk", 2)
    assert (first.positions, first.words) == ([places[3], places[1]], ["tea", "milk"])
    assert search.find(ROOM, "tea milk", 2, first.next_batch).positions == [old]
    assert search.find(ROOM, "tea milk", 2, str(old)).positions == []
    assert search.find(ROOM, "?!", 9) == conduitstore.parts.rooms.search.Found([], [])


def test_defect_17_unknown_rooms_have_nothing_to_find(store):
    assert store.rooms.search.find("!unknown:x", "tea", 9).positions == []
    assert store.rooms.threads.page("!unknown:x", None, 9) == ([], None)
    assert store.rooms.pdu_metadata.relations("$unknown", None, "b", 9) == ([], None)
    assert store.rooms.timestamps.nearest("!unknown:x", 5, "f") is None
    assert store.rooms.timeline.neighbour("!unknown:x", 5, "f") is None
    assert store.rooms.retention.purge("!unknown:x", 1 << 60).total == 0


def test_the_search_row_is_conduits(store):
    position = store.rooms.timeline.append(event("hi"), "$1", ROOM)
    short_room = store.rooms.short.room(ROOM).to_bytes(8)
    row = short_room + b"hi\xff" + short_room + position.to_bytes(8)
    assert list(store.db.open_tree("tokenids")) == [(row, b"")]


# Relations --------------------------------------------------------------------------------------
def test_relations_by_page_and_kind(store):
    timeline, relations = store.rooms.timeline, store.rooms.pdu_metadata.relations
    timeline.append(event("root"), "$root", ROOM)
    for n in range(5):
        kind = "m.annotation" if n % 2 else "m.thread"
        timeline.append(event(to="$root", rel_type=kind), f"${n}", ROOM)

    def ids(page):
        return [e.event_id for e in page[0]]

    first = relations("$root", None, "b", 2)
    assert ids(first) == ["$4", "$3"]
    assert ids(relations("$root", first[1], "b", 9)) == ["$2", "$1", "$0"]
    assert ids(relations("$root", None, "f", 9, rel_type="m.annotation")) == ["$1", "$3"]
    assert ids(relations("$root", None, "f", 9, type="m.other")) == []
    assert relations("$root", None, "b", 5)[1] is None


def test_defect_07_backfilled_relations_and_threads(store):
    timeline = store.rooms.timeline
    timeline.append(event(to="$root"), "$late", ROOM)  # Before its root is here.
    root = timeline.prepend_backfilled(event(), "$root", ROOM)
    timeline.prepend_backfilled(event(to="$root"), "$early", ROOM)
    found, _ = store.rooms.pdu_metadata.relations("$root", None, "b", 9)
    assert [e.event_id for e in found] == ["$late", "$early"]
    found, _ = store.rooms.pdu_metadata.relations("$root", str(root), "b", 9)
    assert [e.event_id for e in found] == ["$early"]
    for order in ("root", "activity"):
        roots, _ = store.rooms.threads.page(ROOM, None, 9, by=order)
        assert [e.event_id for e in roots] == ["$root"]
    assert [e.event_id for e in store.rooms.threads.page(ROOM, "0", 9, by="root")[0]] == ["$root"]
    assert store.rooms.threads.participants(timeline.pdu_id("$root")) != []
    assert_derived_trees_follow(store)


def test_defect_08_walks_from_zero(store):
    """Conduit computes Normal(0) - 1 and underflows."""
    timeline = store.rooms.timeline
    timeline.append(event(), "$root", ROOM)
    timeline.append(event(to="$root"), "$1", ROOM)
    assert store.rooms.pdu_metadata.relations("$root", "0", "b", 9) == ([], None)
    assert len(store.rooms.pdu_metadata.relations("$root", "0", "f", 9)[0]) == 1
    assert store.rooms.threads.page(ROOM, "0", 9) == ([], None)
    assert timeline.neighbour(ROOM, 0, "b") is None
    assert timeline.neighbour(ROOM, 0, "f") == timeline.position("$root")
    assert timeline.page(ROOM, "0", "b", 9) == ([], None)
    timeline.prepend_backfilled(event(), "$before", ROOM)
    assert [e.event_id for e in timeline.page(ROOM, "0", "b", 9)[0]] == ["$before"]
    assert [e.event_id for e in timeline.page(ROOM, "0", "f", 9)[0]] == ["$root", "$1"]
    assert store.rooms.search.find(ROOM, "x", 9, "0").positions == []


def test_a_relation_stays_in_its_room(store):
    store.rooms.timeline.append(event(), "$root", ROOM)
    store.rooms.timeline.append(event(to="$root", room=OTHER), "$1", OTHER)
    store.rooms.timeline.append(event(to="$later", room=OTHER), "$2", OTHER)
    store.rooms.timeline.append(event(), "$later", ROOM)
    for root in ("$root", "$later"):
        assert store.rooms.pdu_metadata.relations(root, None, "f", 9) == ([], None)


def test_edits_and_references(store):
    timeline, metadata = store.rooms.timeline, store.rooms.pdu_metadata
    timeline.append(event("tea"), "$root", ROOM)
    edits = [("$new", USERS[0], 20), ("$old", USERS[0], 10), ("$foreign", USERS[1], 30)]
    for event_id, sender, ts in edits:
        pdu = event("* tea", "$root", "m.replace", sender, ts=ts)
        timeline.append(pdu, event_id, ROOM)
    assert metadata.replacement("$root") == "$new"  # By time, and by who wrote it.
    timeline.replace(redacted(event(ts=20)), "$new")
    assert metadata.replacement("$root") == "$old"
    for n in range(3):
        timeline.append(event(to="$root", rel_type="m.reference", ts=50 - n), f"$r{n}", ROOM)
    assert metadata.references("$root") == ["$r0", "$r1", "$r2"]
    assert metadata.references("$root", 1) == ["$r0"]
    assert metadata.replacement("$r0") is metadata.replacement("$nowhere") is None


@pytest.mark.parametrize(
    "relates_to",
    [
        *(None, 5, [], {}, {"rel_type": "m.thread"}, {"event_id": "$root"}),
        *({"rel_type": 5, "event_id": "$root"}, {"rel_type": "m.thread", "event_id": ["$root"]}),
        *({"rel_type": "m.thread", "event_id": ""}, {"rel_type": "m.thread", "event_id": "$bad"}),
        *({"rel_type": "m.thread", "event_id": "$" * 256},),
        *({"rel_type": "m.thread", "event_id": "é" * 200},),
    ],
)
def test_what_is_no_relation(store, relates_to):
    store.rooms.timeline.append(event(), "$root", ROOM)
    pdu = event() | {"content": {"m.relates_to": relates_to, "body": 5}, "prev_events": "$x"}
    store.rooms.timeline.append(pdu, "$bad", ROOM)
    for tree in ("tofrom_relation", "eventid_relatingpduid", "threadid_userids", "tokenids"):
        assert len(store.db.open_tree(tree)) == 0


# Threads ----------------------------------------------------------------------------------------
def test_threads_in_both_orders_and_by_participant(store):
    timeline, threads = store.rooms.timeline, store.rooms.threads
    for n in range(3):
        timeline.append(event(), f"$root{n}", ROOM)
    for root, sender in (("$root2", USERS[0]), ("$root0", USERS[1]), ("$root1", USERS[0])):
        timeline.append(event(to=root, sender=sender), f"$to{root}", ROOM)

    def walk(**how):
        roots, token = [], None
        while True:
            page, token = threads.page(ROOM, token, 1, **how)
            roots += [e.event_id for e in page]
            if token is None:
                return roots

    assert walk() == ["$root1", "$root0", "$root2"]
    assert walk(by="root") == ["$root2", "$root1", "$root0"]
    assert walk(participant=USERS[1]) == ["$root0"]
    assert threads.took_part("$root0", USERS[0])
    assert not threads.took_part("$root1", USERS[1])


def test_a_forged_summary_counts_for_nothing(store):
    forged = {"m.relations": {"m.thread": {"count": 99, "latest_event": {}}}}
    store.rooms.timeline.append(event(unsigned=forged), "$root", ROOM)
    store.rooms.timeline.append(event(to="$root"), "$1", ROOM)
    assert_thread_follows(
        store, ROOM, store.rooms.timeline.get("$root"), {e.event_id: e for e in timeline_of(store)}
    )


# Times, retention, originals --------------------------------------------------------------------
def test_the_event_near_a_time(store):
    timeline, nearest = store.rooms.timeline, store.rooms.timestamps.nearest
    places = [timeline.append(event(ts=ts), f"${ts}", ROOM) for ts in (10, 30, 20)]
    same = timeline.append(event(ts=20), "$same", ROOM)
    before_1970 = timeline.append(event(ts=-5), "$-5", ROOM)
    assert nearest(ROOM, 15, "f") == nearest(ROOM, 20, "f") == places[2]
    assert nearest(ROOM, 20, "b") == nearest(ROOM, 29, "b") == same
    assert nearest(ROOM, 31, "f") is None
    assert nearest(ROOM, 31, "b") == places[1]
    assert nearest(ROOM, 5, "b") == nearest(ROOM, -9, "f") == before_1970
    for bad in (1.5, None, "5", 1 << 64):
        with pytest.raises(conduitstore.InvalidArgumentError):
            nearest(ROOM, bad, "f")


def test_retention_keeps_what_the_room_needs(store):
    create = event(type="m.room.create", state_key="", ts=1)
    store.rooms.append(create, "$create", ROOM)
    for n in range(1, 8):
        to = "$1" if n > 1 else None
        previous = [f"${n - 1}"] if n > 1 else ["$create"]
        pdu = event(f"tea {n}", to, ts=n, prev_events=previous)
        store.rooms.append(pdu, f"${n}", ROOM)
    total, start, batches = 0, None, 0
    while True:
        purged = store.rooms.retention.purge(ROOM, 100, limit=3, start=start)
        total, start, batches = total + purged.total, purged.next, batches + 1
        assert_derived_trees_follow(store)
        if start is None:
            break
    assert total == 6
    assert batches == 3
    assert [e.event_id for e in timeline_of(store)] == ["$create", "$7"]
    assert store.rooms.state.forward_extremities(ROOM) == ["$7"]
    assert store.rooms.timeline.get("$3") is None
    assert store.rooms.state.before("$3") is None
    assert store.rooms.search.find(ROOM, "tea", 9).positions == [timeline_of(store)[1].position]
    assert store.rooms.retention.purge(ROOM, 100).total == 0


def test_a_redaction_leaves_no_word_and_keeps_the_original_if_asked(store):
    timeline, originals = store.rooms.timeline, store.rooms.originals
    for n in (1, 2, 3):
        timeline.append(event(f"secret {n}"), f"${n}", ROOM)
    for n, seconds in ((1, 100), (2, 200)):
        timeline.replace(redacted(event()), f"${n}", keep_original_s=seconds)
    timeline.replace(redacted(event()), "$1", keep_original_s=300)
    timeline.replace(redacted(event()), "$3")
    assert store.rooms.search.find(ROOM, "secret", 9).positions == []
    assert originals.get("$1")["content"] == {"body": "secret 1"}
    assert originals.get("$3") is None
    assert originals.forget_until(99) == 0
    assert originals.forget_until(100) == 1
    assert originals.get("$1") is None
    timeline.remove("$2")
    assert originals.get("$2") is None
    originals.forget_until(500)
    assert len(store.db.open_tree("timeredacted_eventid")) == 0


def test_a_room_that_is_deleted_takes_its_relations_and_names_along(store):
    for room in (ROOM, OTHER):
        store.rooms.append(event("tea", room=room), f"${room}", room)
        store.rooms.append(event("tea", f"${room}", room=room), f"$reply{room}", room)
        store.rooms.append(event(to="$unknown", room=room), f"$waiting{room}", room)
        store.rooms.alias.set(f"#{len(room)}:one.test", room, USERS[0])
    trees = (
        *("tokenids", "roomid_tscount_pducount", "tofrom_relation", "eventid_relatingpduid"),
        *("threadid_userids", "threadactivityid_rootid", "threadrootid_latestcount"),
        *("alias_roomid", "alias_userid", "aliasid_alias"),
    )
    before = {name: len(store.db.open_tree(name)) for name in trees}
    delete_room(store.db, ROOM)
    assert {name: len(store.db.open_tree(name)) for name in trees} == {
        name: total // 2 for name, total in before.items()
    }
    assert_derived_trees_follow(store)
    assert store.rooms.alias.of_room(OTHER) == [f"#{len(OTHER)}:one.test"]
