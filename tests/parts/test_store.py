"""Parts together: one commit or none, one instant, and off the event loop."""

import asyncio
import gc
import threading

import pytest

import conduitstore
from conduitstore import ClosedError, CorruptedError, InvalidArgumentError
from conduitstore.schema import TREES

A, B, ROOM = "@a:one.test", "@b:one.test", "!r:one.test"


def write_everywhere(parts, message):
    """One operation of every part that writes; gives the last count drawn."""
    parts.users.create(A, "hash")
    parts.users.set_displayname(A, "Änne")
    parts.devices.create(A, "D", "token")
    parts.rooms.timeline.append(message(1), "$1", ROOM)
    parts.rooms.timeline.prepend_backfilled(message(0), "$0", ROOM)
    parts.rooms.timeline.add_outlier(message(2), "$2")
    parts.rooms.members.mark_invited(B, ROOM)
    parts.rooms.members.mark_joined(A, ROOM)
    receipt = {"type": "m.receipt", "content": {"$1": {"m.read": {A: {"ts": 1}}}}}
    parts.rooms.receipts.update(A, ROOM, receipt)
    parts.rooms.receipts.set_private_read(A, ROOM, 1)
    parts.rooms.short.get_or_create_state_key("m.room.name", "")
    parts.account_data.update(ROOM, A, "m.tag", {})
    return parts.to_device.queue(B, A, "D", "t", {})


def test_many_operations_are_one_commit(store, message):
    before = store.db.sequence
    count = store.transaction(lambda tx: write_everywhere(tx, message))
    assert store.db.sequence == before + 1
    assert store.globals.current_count() == count
    assert store.devices.find_from_token("token") == (A, "D")
    assert store.rooms.timeline.get("$0").position < 0


def test_an_exception_takes_all_of_it_back(store, message, rows):
    before = rows()

    def fail(tx):
        write_everywhere(tx, message)
        raise RuntimeError("after everything")

    with pytest.raises(RuntimeError, match="after everything"):
        store.transaction(fail)
    assert rows() == before
    assert store.globals.current_count() == 0
    store.transaction(lambda tx: write_everywhere(tx, message))


def test_a_failed_operation_takes_only_itself_back(store, message):
    def survive(tx):
        tx.users.create(A, "hash")
        with pytest.raises(InvalidArgumentError):
            tx.to_device.queue_many(B, "t", {A: {"D1": {}, "D2": "no object"}})
        with pytest.raises(InvalidArgumentError):
            tx.rooms.timeline.append(message(1), "$1", "!other:x")
        with pytest.raises(InvalidArgumentError):
            tx.devices.create(B, "D", "token")
        tx.to_device.queue(B, A, "D1", "t", {"n": 1})

    store.transaction(survive)
    upto = store.globals.current_count()
    events = store.to_device.events_since(A, "D1", 0, upto)
    assert [event["content"] for _, event in events] == [{"n": 1}]
    assert store.rooms.short.room(ROOM) is None


def test_transactions_nest(store):
    def outer(tx):
        tx.users.create(A, "hash")

        def inner(nested):
            nested.users.create(B, "hash")
            raise RuntimeError

        with pytest.raises(RuntimeError):
            tx.transaction(inner)
        assert not tx.users.exists(B)
        tx.transaction(lambda nested: nested.users.create("@c:x", None))

    store.transaction(outer)
    assert store.users.all() == [A, "@c:x"]


def test_a_transaction_sees_its_own_writes_and_nobody_else_does(store, message):
    def look(tx):
        write_everywhere(tx, message)
        assert tx.devices.ids(A) == tx.users.devices(A) == ["D"]
        assert len(tx.rooms.timeline.page(ROOM, None, "b", 9)[0]) == 2
        assert tx.account_data.get(ROOM, A, "m.tag") == {}
        others = threading.Thread(target=lambda: seen.append(store.users.all()))
        others.start()
        others.join()

    seen = []
    store.transaction(look)
    assert seen == [[]]


def test_the_stores_own_parts_are_refused_inside_a_transaction(store):
    with pytest.raises(InvalidArgumentError):
        store.transaction(lambda _tx: store.users.exists(A))


def test_a_view_is_one_instant_and_read_only(store, message):
    store.transaction(lambda tx: write_everywhere(tx, message))
    with store.snapshot() as view:
        count, sequence = view.globals.current_count(), view.sequence
        store.rooms.timeline.append(message(3), "$3", ROOM)
        store.rooms.members.mark_joined(B, ROOM)
        assert view.rooms.timeline.get("$3") is None
        assert view.rooms.members.joined_members(ROOM) == [A]
        assert view.globals.current_count() == count < store.globals.current_count()
        assert view.sequence == sequence < store.db.sequence
        for write in (
            lambda: view.users.create(B, None),
            lambda: view.users.set_displayname(A, "x"),
            view.globals.next_count,
            lambda: view.transaction(lambda tx: tx.users.create(B, None)),
        ):
            with pytest.raises(InvalidArgumentError):
                write()
    with pytest.raises(ClosedError):
        view.users.exists(A)


def test_off_the_event_loop(store):
    async def main():
        loop_thread = threading.get_ident()

        def send(tx):
            assert threading.get_ident() != loop_thread
            tx.users.create(A, "hash")
            return tx.to_device.queue(B, A, "D", "t", {})

        count = await store.run(send, durability="commit")
        assert await store.read(lambda view: view.globals.current_count()) == count
        assert await store.read(lambda view: view.users.devices(A)) == []
        with pytest.raises(InvalidArgumentError):
            await store.read(lambda view: view.users.create(B, None))
        with pytest.raises(InvalidArgumentError):
            await store.run(lambda tx: tx.users.create(A, None))

    asyncio.run(main())


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda parts: parts.users.set_password(A, "other"),
        lambda parts: parts.devices.set_token(A, "D", "token2"),
        lambda parts: parts.devices.remove(A, "D"),
        lambda parts: parts.devices.create(A, "D", "token2"),  # Which retires the first token.
        lambda parts: parts.users.create(B, "hash"),
    ],
)
def test_what_must_not_come_back_is_durable_on_return(tmp_path, change, inside):
    with conduitstore.open(tmp_path / "store", flush_every_ms=None) as store:
        store.users.create(A, "hash")
        store.devices.create(A, "D", "token")
        store.to_device.queue(B, A, "D", "t", {})
        store.users.create("@remote:two.test", None)
        assert store.db.durable_sequence < store.db.sequence
        if inside:
            store.transaction(change)
        else:
            change(store)
        assert store.db.durable_sequence == store.db.sequence


def test_damaged_rows_are_named_by_their_tree(store, message):
    store.transaction(lambda tx: write_everywhere(tx, message))
    reads = {
        "pduid_pdu": lambda: store.rooms.timeline.page(ROOM, None, "b", 9),
        "userdeviceid_metadata": lambda: store.devices.ids(A),
        "roomuserdataid_accountdata": lambda: store.account_data.get(ROOM, A, "m.tag"),
        "readreceiptid_readreceipt": lambda: store.rooms.receipts.since(ROOM, 0, 99),
        "todeviceid_events": lambda: store.to_device.events_since(A, "D", 0, 99),
        "roomid_joinedcount": lambda: store.rooms.members.joined_total(ROOM),
        "userid_displayname": lambda: store.users.displayname(A),
    }
    for name, read in reads.items():
        read()
        for damage in (b"\xff", b"[]"):
            tree = store.db.open_tree(name)
            tree.insert(next(tree.keys()), damage)
            if name == "userid_displayname" and damage == b"[]":
                continue  # Which is a fine name.
            with pytest.raises(CorruptedError) as caught:
                read()
            assert caught.value.file == name


def test_finished_operations_wait_for_no_garbage_collector(message):
    with conduitstore.open(":memory:") as store:
        write_everywhere(store, message)
        while gc.collect():  # What finalizers leave is garbage, too.
            pass
        gc.disable()
        found = []
        try:
            for number in range(7, 10):
                store.transaction(lambda tx: tx.to_device.queue(B, A, "D", "t", {}))
                store.devices.set_token(A, "D", f"token{number}")
                store.rooms.members.mark_left(A, ROOM)
                store.rooms.timeline.append(message(number), f"${number}", ROOM)
                with store.snapshot() as view:
                    view.users.devices(A)
                    view.rooms.timeline.page(ROOM, None, "b", 9)
                found.append(gc.collect())
        finally:
            gc.enable()
        assert min(found) == 0, "other threads may have left some, but not each time"


def test_every_tree_of_the_schema_is_there_and_no_other_is_made(store, message):
    store.transaction(lambda tx: write_everywhere(tx, message))
    names = {name for name in store.db.tree_names() if not name.startswith("__")}
    assert names == TREES.keys()


def test_closing_twice_is_fine_and_ends_everything(store):
    store.flush()
    store.close()
    store.close()
    with pytest.raises(ClosedError):
        store.users.exists(A)
    with pytest.raises(ClosedError):
        store.users.create(A, None)


def test_what_was_committed_is_there_after_reopening(tmp_path, message):
    path = tmp_path / "store"
    with conduitstore.open(path) as store:
        store.transaction(lambda tx: write_everywhere(tx, message))
        before, checksum = store.globals.current_count(), store.db.checksum()
    with conduitstore.open(path) as store:
        assert store.db.checksum() == checksum
        assert store.devices.find_from_token("token") == (A, "D")
        assert store.globals.current_count() >= before
        assert store.globals.next_count() > before
