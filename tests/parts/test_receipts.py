"""Read receipts and the private marker."""

import pytest

from conduitstore import InvalidArgumentError

A, B, ROOM = "@a:one.test", "@b:one.test", "!r:one.test"


def receipt(event):
    return {"type": "m.receipt", "content": {event: {"m.read": {A: {"ts": 1}}}}, "room_id": ROOM}


def test_one_receipt_per_user_and_room(store):
    receipts = store.rooms.receipts
    first = receipts.update(A, ROOM, receipt("$1"))
    other = receipts.update(B, ROOM, receipt("$1"))
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
    counts = [store.rooms.receipts.update(f"@{n}:x", ROOM, receipt("$1")) for n in range(300)]
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
