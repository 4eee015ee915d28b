"""Outgoing queues: typed destinations, nothing lost over a restart, nothing sent twice."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import conduitstore
from conduitstore.codec.keys import U64_MAX
from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.schema import TREES
from conduitstore.types import Appservice, FederationServer, PduId, PushGateway

KEY = TREES["servernameevent_data"].key
BRIDGE = Appservice("bridge")
PHONE = PushGateway("@a:one.test", "pushkey")
ONE, TWO = FederationServer("one.test"), FederationServer("two.test")
EDU = {"edu_type": "m.typing", "content": {}}


def pdus(*destinations, position=1):
    return [(destination, PduId(5, position)) for destination in destinations]


# Keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("destination", "item", "key"),
    [
        (BRIDGE, 255, b"+bridge\xff" + (255).to_bytes(8)),
        (PHONE, PduId(5, 42), b"$@a:one.test\xffpushkey\xff" + bytes(7) + b"\5" + bytes(7) + b"*"),
        (ONE, PduId(5, -7), b"one.test\xff" + bytes(7) + b"\5" + bytes(8) + b"\xff" * 7 + b"\xf8"),
        (ONE, 0xFF00FF, b"one.test\xff\0\0\0\0\0\xff\0\xff"),
        (PHONE, U64_MAX, b"$@a:one.test\xffpushkey\xff" + b"\xff" * 8),
    ],
)
def test_keys_are_conduits_byte_for_byte(destination, item, key):
    assert KEY.pack(destination, item) == key
    assert KEY.unpack(key) == (destination, item)


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
destinations = (
    names.map(Appservice)
    | st.builds(PushGateway, names, names)
    | names.filter(lambda name: name[0] not in "+$").map(FederationServer)
)
numbers = st.integers(0, 300) | st.integers(0, U64_MAX)
positions = st.integers(-300, 300) | st.integers(-U64_MAX, U64_MAX)
items = numbers | st.builds(PduId, numbers, positions)


@given(destinations, items)
def test_keys_round_trip_whatever_bytes_the_tail_has(destination, item):
    assert KEY.unpack(KEY.pack(destination, item)) == (destination, item)


@pytest.mark.parametrize(
    "bad",
    [
        FederationServer("+one.test"),
        FederationServer("$one.test"),
        FederationServer(""),
        FederationServer("\ud800"),
        FederationServer(b"one.test"),
        FederationServer("o" * 256),
        Appservice(""),
        Appservice(None),
        PushGateway("@a:one.test", ""),
        PushGateway("", "pushkey"),
        PushGateway("@a:one.test", 5),
        PushGateway("@a:one.test", "p" * 3_000),
        "one.test",
        None,
        ("one.test",),
    ],
)
def test_what_is_no_destination_is_refused_and_nothing_kept(store, rows, bad):
    before = rows()
    for call in (
        lambda: store.sending.queue_pdus(pdus(ONE, bad)),
        lambda: store.sending.queue_edus([(ONE, EDU), (bad, EDU)]),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before


@pytest.mark.parametrize(
    "bad", [5, None, (5, 1), b"12345678", "5", PduId(5, 1 << 64), PduId(-1, 1)]
)
def test_what_is_no_pdu_id_is_refused(store, rows, bad):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        store.sending.queue_pdus([(ONE, bad)])
    assert rows() == before


@pytest.mark.parametrize("bad", [None, [], "text", {"a": float("nan")}, {"a": "\ud800"}])
def test_what_is_no_edu_is_refused(store, rows, bad):
    before = rows()
    for call in (
        lambda: store.sending.queue_edus([(ONE, EDU), (ONE, bad)]),
        lambda: store.sending.select_edus("one.test", [EDU, bad], 0, 5),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before


# Life of a row ----------------------------------------------------------------------------------


def test_a_row_waits_is_active_and_is_gone(store):
    queued = store.sending.queue_pdus(pdus(BRIDGE, PHONE, ONE))
    assert [item.destination for item in queued] == [BRIDGE, PHONE, ONE]
    edu = store.sending.queue_edus([(ONE, EDU)])[0]
    assert edu.edu == EDU
    waiting = store.sending.waiting(ONE)
    assert waiting == [edu, queued[2]]  # A count sorts before the PduId of room 5 here.
    assert store.sending.waiting(ONE, limit=1) == [edu]
    assert store.sending.mark_active(waiting) == waiting
    assert store.sending.waiting(ONE) == []
    assert store.sending.active(ONE) == waiting
    assert store.sending.all_active() == waiting
    assert store.sending.mark_active(waiting) == []
    assert store.sending.forget_active([edu]) == 1
    assert store.sending.forget_active([edu]) == 0
    assert store.sending.forget_all_active(ONE) == 1
    assert store.sending.active(ONE) == []
    assert store.sending.destinations() == [PHONE, BRIDGE]


def test_an_event_being_sent_is_not_queued_again(store):
    store.sending.queue_pdus(pdus(ONE))
    store.sending.queue_pdus(pdus(ONE))
    assert len(store.sending.waiting(ONE)) == 1
    store.sending.mark_active(store.sending.waiting(ONE))
    store.sending.queue_pdus(pdus(ONE, TWO))
    assert store.sending.waiting(ONE) == []
    assert len(store.sending.waiting(TWO)) == 1


def test_a_queue_that_was_forgotten_does_not_come_back_as_active(store):
    waiting = store.sending.queue_pdus(pdus(PHONE))
    assert store.sending.forget_all(PHONE) == 1
    assert store.sending.mark_active(waiting) == []
    assert store.sending.all_active() == []


def test_destinations_whose_names_begin_alike_are_apart(store):
    longer = FederationServer("one.test.example")
    store.sending.queue_pdus(pdus(ONE, longer, PushGateway("@a:one.test", "push"), PHONE))
    assert store.sending.forget_all(ONE) == 1
    assert len(store.sending.waiting(longer)) == 1
    assert store.sending.forget_all(PushGateway("@a:one.test", "push")) == 1
    assert len(store.sending.waiting(PHONE)) == 1


def test_destinations_are_found_in_steps_not_in_scans(store):
    for position in range(1, 50):
        store.sending.queue_pdus(pdus(BRIDGE, PHONE, ONE, TWO, position=position))
    assert store.sending.destinations() == [PHONE, BRIDGE, ONE, TWO]


# EDUs -------------------------------------------------------------------------------------------


def test_defect_15_selected_edus_are_active_in_the_commit_that_moves_the_count(store, tmp_path):
    sequence = store.db.sequence
    selected = store.sending.select_edus("one.test", [EDU, EDU], 0, 7)
    assert store.db.sequence == sequence + 1
    assert store.sending.latest_edu_count("one.test") == 7
    assert store.sending.active(ONE) == selected
    assert [item.edu for item in selected] == [EDU, EDU]
    assert selected[0].item < selected[1].item <= store.globals.current_count()


def test_defect_15_a_failure_in_between_leaves_neither(store, rows, monkeypatch):
    kind = store.db.transaction(type)
    write, before = kind.write, rows()
    for allowed in range(6):
        left = [allowed]

        def fail_late(tx, *args, left=left):
            if not left[0]:
                raise ZeroDivisionError
            left[0] -= 1
            return write(tx, *args)

        monkeypatch.setattr(kind, "write", fail_late)
        try:
            store.sending.select_edus("one.test", [EDU, EDU], 0, 7)
        except ZeroDivisionError:
            monkeypatch.setattr(kind, "write", write)
            assert rows() == before
        else:
            break
    assert 0 < allowed < 5 + 1
    assert len(store.sending.all_active()) == 2


def test_defect_15_what_was_selected_is_there_after_the_process_died(tmp_path):
    with conduitstore.open(tmp_path / "s") as store:
        store.sending.select_edus("one.test", [EDU], 0, 7)
    with conduitstore.open(tmp_path / "s") as store:
        assert [item.edu for item in store.sending.all_active()] == [EDU]
        assert store.sending.latest_edu_count("one.test") == 7


def test_of_two_who_select_the_same_edus_one_wins(store):
    barrier, won = threading.Barrier(8), []

    def select():
        barrier.wait()
        won.append(store.sending.select_edus("one.test", [EDU], 0, 7))

    threads = [threading.Thread(target=select) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(items is not None for items in won) == 1
    assert len(store.sending.all_active()) == 1


def test_an_edu_count_never_goes_back(store):
    store.sending.select_edus("one.test", [], 0, 7)
    with pytest.raises(InvalidArgumentError):
        store.sending.select_edus("one.test", [], 7, 6)
    assert store.sending.select_edus("one.test", [], 0, 9) is None
    assert store.sending.latest_edu_count("one.test") == 7
    assert store.sending.latest_edu_count("two.test") == 0


def test_of_many_who_activate_the_same_rows_each_row_has_one(store):
    for position in range(1, 41):
        store.sending.queue_pdus(pdus(ONE, position=position))
    waiting, barrier, won = store.sending.waiting(ONE), threading.Barrier(6), []

    def activate():
        barrier.wait()
        for item in waiting:
            won.extend(store.sending.mark_active([item]))

    threads = [threading.Thread(target=activate) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item.item for item in won) == [item.item for item in waiting]


# Damage -----------------------------------------------------------------------------------------


def test_a_damaged_row_holds_up_nobody(store):
    queue = store.db.open_tree("servernameevent_data")
    queue.insert(KEY.pack(ONE, 1), b"no json")
    queue.insert(KEY.pack(ONE, 2), b"")  # A count without its EDU.
    queue.insert(b"one.test\xff123", b"")
    queue.insert(b"\xff", b"")
    store.sending.queue_pdus(pdus(ONE, TWO))
    assert [item.item for item in store.sending.waiting(ONE)] == [PduId(5, 1)]
    assert [item.item for item in store.sending.waiting(ONE, limit=1)] == [PduId(5, 1)]
    assert store.sending.destinations() == [ONE, TWO]
    store.sending.forget_all(ONE)
    assert [key for key, _ in queue] == [KEY.pack(TWO, PduId(5, 1)), b"\xff"]
    with pytest.raises(CorruptedError):
        KEY.unpack(b"one.test\xff123")


# Any order of operations ------------------------------------------------------------------------

everywhere = st.sampled_from([BRIDGE, PHONE, ONE, TWO])
places = st.integers(1, 6)


class Queues(RuleBasedStateMachine):
    """Against two dictionaries; EDUs are numbered by their content."""

    def __init__(self):
        super().__init__()
        self.store = conduitstore.open(":memory:")
        self.waiting, self.active, self.edus = {}, {}, 0

    @rule(destination=everywhere, place=places)
    def queue_pdu(self, destination, place):
        self.store.sending.queue_pdus(pdus(destination, position=place))
        key = destination, PduId(5, place)
        if key not in self.active:
            self.waiting[key] = None

    @rule(destination=everywhere)
    def queue_edu(self, destination):
        self.edus += 1
        item = self.store.sending.queue_edus([(destination, {"n": self.edus})])[0]
        self.waiting[destination, item.item] = {"n": self.edus}

    @rule(destination=everywhere, limit=st.integers(0, 3))
    def activate(self, destination, limit):
        moved = self.store.sending.mark_active(self.store.sending.waiting(destination, limit=limit))
        assert len(moved) == min(limit, sum(d == destination for d, _ in self.waiting))
        for item in moved:
            self.active[destination, item.item] = self.waiting.pop((destination, item.item))

    @rule(total=st.integers(0, 3))
    def select(self, total):
        edus = [{"n": self.edus + number} for number in range(total)]
        since, upto = (
            self.store.sending.latest_edu_count("one.test"),
            self.store.globals.next_count(),
        )
        for item in self.store.sending.select_edus("one.test", edus, since, upto):
            self.active[ONE, item.item] = item.edu
        assert self.store.sending.latest_edu_count("one.test") == upto

    @rule(destination=everywhere)
    def answered(self, destination):
        total = self.store.sending.forget_all_active(destination)
        gone = [key for key in self.active if key[0] == destination]
        assert total == len(gone)
        self.active = {key: edu for key, edu in self.active.items() if key not in gone}

    @rule(destination=everywhere)
    def forget(self, destination):
        self.store.sending.forget_all(destination)
        self.active = {k: edu for k, edu in self.active.items() if k[0] != destination}
        self.waiting = {k: edu for k, edu in self.waiting.items() if k[0] != destination}

    @invariant()
    def the_store_has_what_the_model_has(self):
        sending = self.store.sending
        active = {(item.destination, item.item): item.edu for item in sending.all_active()}
        waiting = {
            (item.destination, item.item): item.edu
            for destination in (BRIDGE, PHONE, ONE, TWO)
            for item in sending.waiting(destination)
        }
        assert active == self.active
        assert waiting == self.waiting
        assert not active.keys() & waiting.keys()
        assert set(sending.destinations()) == {destination for destination, _ in waiting}

    def teardown(self):
        self.store.close()


TestQueues = Queues.TestCase
