"""Read receipts and the private marker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError

A, B, ROOM = "@a:one.test", "@b:one.test", "!r:one.test"


def receipt(event, user=A, thread=None):
    detail = {"ts": 1} if thread is None else {"ts": 1, "thread_id": thread}
    return {"type": "m.receipt", "content": {event: {"m.read": {user: detail}}}, "room_id": ROOM}


def test_one_receipt_per_user_and_room(store):
    receipts = store.rooms.receipts
    first = receipts.update(A, ROOM, receipt("$1"))
    other = receipts.update(B, ROOM, receipt("$1", B))
    second = receipts.update(A, ROOM, receipt("$2"))
    found = receipts.since(ROOM, 0, second)
    assert [(r.user, r.count) for r in found] == [(B, other), (A, second)]
    assert found[1].event == {"type": "m.receipt", "content": receipt("$2")["content"]}
    assert receipts.since(ROOM, other, second) == found[1:]
    assert receipts.since(ROOM, first, other) == found[:1]
    assert receipts.since(ROOM, second, second) == []
    assert receipts.since(ROOM, second, first) == []
    assert len(store.db.open_tree("readreceiptid_readreceipt")) == 2


def test_rooms_keep_to_themselves(store):
    for room in (ROOM, ROOM + "x", ROOM[:-1]):
        store.rooms.receipts.update(A, room, receipt("$1"))
    assert len(store.rooms.receipts.since(ROOM, 0, store.globals.current_count())) == 1


def test_counts_with_ff_bytes_are_no_separators(store):
    counts = [
        store.rooms.receipts.update(f"@{n}:x", ROOM, receipt("$1", f"@{n}:x")) for n in range(300)
    ]
    found = store.rooms.receipts.since(ROOM, 0, counts[-1])
    assert [r.count for r in found] == counts
    assert [r.user for r in found] == [f"@{n}:x" for n in range(300)]


def test_a_receipt_is_an_object(store, rows):
    before = rows()
    with pytest.raises(InvalidArgumentError, match="object"):
        store.rooms.receipts.update(A, ROOM, "$1")
    assert rows() == before


def test_the_private_marker(store):
    receipts = store.rooms.receipts
    assert receipts.private_read(A, ROOM) is None
    assert receipts.last_private_read_update(A, ROOM) == 0
    moved = receipts.set_private_read(A, ROOM, 17)
    assert receipts.private_read(A, ROOM) == 17
    assert receipts.last_private_read_update(A, ROOM) == moved == store.globals.current_count()
    assert receipts.private_read(B, ROOM) is None
    assert receipts.since(ROOM, 0, moved) == []


def test_a_receipt_never_goes_back_and_says_so(store, message, rows):
    receipts, timeline = store.rooms.receipts, store.rooms.timeline
    for n in (1, 2):
        timeline.append(message(n), f"${n}", ROOM)
    timeline.prepend_backfilled(message(0), "$0", ROOM)
    first = receipts.update(A, ROOM, receipt("$2"))
    before = rows()
    for older in ("$2", "$1", "$0"):
        assert receipts.update(A, ROOM, receipt(older)) is None
    assert rows() == before
    assert receipts.newest(A, ROOM) == (first, "$2")
    # Nobody here can say where an event is that another server has seen: its word counts.
    unseen = receipts.update(A, ROOM, receipt("$unseen"))
    assert receipts.newest(A, ROOM) == (unseen, "$unseen")
    assert receipts.update(A, ROOM, receipt("$unseen")) is None
    assert receipts.update(A, ROOM, receipt("$1")) > unseen


def test_each_thread_has_a_receipt_of_its_own(store, message):
    receipts = store.rooms.receipts
    for n in (1, 2):
        store.rooms.timeline.append(message(n), f"${n}", ROOM)
    whole = receipts.update(A, ROOM, receipt("$2"))
    main = receipts.update(A, ROOM, receipt("$1", thread="main"))
    thread = receipts.update(A, ROOM, receipt("$1", thread="$root"))
    assert receipts.update(A, ROOM, receipt("$1", thread="main")) is None
    later = receipts.update(A, ROOM, receipt("$2", thread="main"))
    assert [r.count for r in receipts.since(ROOM, 0, later)] == [whole, thread, later]
    assert receipts.newest(A, ROOM) == (whole, "$2")
    assert receipts.newest(A, ROOM, "main") == (later, "$2")
    assert receipts.newest(A, ROOM, "$root") == (thread, "$1")
    assert receipts.newest(A, ROOM, "$other") is None
    assert main < thread


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"$1": {}, "$2": {}},
        {"$1": {"m.read": {}}},
        {"$1": {"m.read": {B: {}}}},
        {"$1": {"m.read": {A: 5}}},
        {"$1": {"m.read.private": {A: {}}}},
        {"$1": {"m.read": {A: {"thread_id": ""}}}},
        {"$1": {"m.read": {A: {"thread_id": 5}}}},
        {"": {"m.read": {A: {}}}},
        {"\ud800": {"m.read": {A: {}}}},
        {"$" * 256: {"m.read": {A: {}}}},
    ],
)
def test_what_is_no_receipt_of_the_user(store, rows, content):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        store.rooms.receipts.update(A, ROOM, {"type": "m.receipt", "content": content})
    assert rows() == before


def test_private_markers_by_thread(store, rows):
    receipts = store.rooms.receipts
    whole = receipts.set_private_read(A, ROOM, 5)
    thread = receipts.set_private_read(A, ROOM, 7, "$root")
    before = rows()
    for read_upto in (5, 4, 0):
        assert receipts.set_private_read(A, ROOM, read_upto) is None
        assert receipts.set_private_read(A, ROOM, read_upto, "$root") is None
    assert rows() == before
    main = receipts.set_private_read(A, ROOM, 1, "main")
    assert receipts.private_read(A, ROOM) == 5
    assert receipts.private_read(A, ROOM, "$root") == 7
    assert receipts.private_read(A, ROOM, "$other") is None
    found = receipts.private_since(A, ROOM, 0, main)
    assert [(m.thread, m.read_upto, m.moved) for m in found] == [
        (None, 5, whole),
        ("$root", 7, thread),
        ("main", 1, main),
    ]
    assert receipts.private_since(A, ROOM, whole, thread) == found[1:2]
    assert receipts.private_since(A, ROOM, main, main) == []
    assert receipts.private_since(B, ROOM, 0, main) == []
    for nothing in ("", 5):
        with pytest.raises(InvalidArgumentError):
            receipts.set_private_read(A, ROOM, 9, nothing)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([A, B]), st.integers(0, 5), st.sampled_from([None, "main", "$t"])
        ),
        max_size=30,
    )
)
def test_receipts_against_a_dictionary(steps):
    """Events 0 to 3 are in the timeline, in that order; 4 and 5 are nowhere."""
    newest, known = {}, range(4)
    with conduitstore.open(":memory:") as store:
        for n in known:
            pdu = {"content": {}, "origin_server_ts": n, "room_id": ROOM, "sender": A, "type": "t"}
            store.rooms.timeline.append(pdu, f"${n}", ROOM)
        for user, event, thread in steps:
            count = store.rooms.receipts.update(user, ROOM, receipt(f"${event}", user, thread))
            _, old = newest.get((user, thread), (0, None))
            refused = old == event or (old in known and event in known and event < old)
            assert (count is None) == refused
            if count is not None:
                newest[user, thread] = (count, event)
        upto = store.globals.current_count()
        for since in range(upto + 1):
            told = [(r.count, r.user) for r in store.rooms.receipts.since(ROOM, since, upto)]
            assert told == sorted((c, user) for (user, _), (c, _) in newest.items() if c > since)
