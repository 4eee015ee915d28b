"""A request that comes twice is done once and answered twice."""

import threading

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import conduitstore
from conduitstore.errors import InvalidArgumentError

A, B = "@a:one.test", "@ab:one.test"


def test_the_first_answer_stays(store):
    ids = store.transaction_ids
    assert ids.response(A, "D", "m1") is None
    assert ids.record(A, "D", "m1", "$event", 5) is None
    assert ids.record(A, "D", "m1", "$other", 6) == "$event"
    assert ids.response(A, "D", "m1") == "$event"
    assert list(store.db.open_tree("userdevicetxnid_response")) == [
        (b"@a:one.test\xffD\xffm1", b"$event")
    ]


def test_an_empty_answer_is_one(store):
    assert store.transaction_ids.record(A, "D", "m1", "", 5) is None
    assert store.transaction_ids.response(A, "D", "m1") == ""
    assert store.transaction_ids.record(A, "D", "m1", "$event", 6) == ""


def test_requests_of_others_are_others(store):
    ids = store.transaction_ids
    for user, device in ((A, "D"), (A, "DE"), (A, None), (B, "D")):
        assert ids.record(user, device, "m1", f"${user}{device}", 5) is None
    assert ids.response(A, None, "m1") == f"${A}None"
    assert b"@a:one.test\xff\xffm1" in store.db.open_tree("userdevicetxnid_response")
    long = "m" * 5_000
    assert ids.record(A, "D", long, "$long", 5) is None
    assert ids.record(A, "D", long, "$again", 5) == "$long"


def test_defect_21_of_many_equal_requests_one_is_done(store, message):
    store.transaction(lambda tx: tx.rooms.timeline.append(message(0), "$0", "!r:one.test"))
    barrier, answers = threading.Barrier(8), []

    def send(number):
        def once(tx):
            earlier = tx.transaction_ids.record(A, "D", "m1", f"${number}", 5)
            if earlier is None:
                tx.rooms.timeline.append(message(number), f"${number}", "!r:one.test")
            return earlier or f"${number}"

        barrier.wait()
        answers.append(store.transaction(once))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1
    events, _ = store.rooms.timeline.page("!r:one.test", None, "f", 20)
    assert [event.event_id for event in events] == ["$0", answers[0]]


def test_a_request_that_failed_is_not_answered(store):
    def fail(tx):
        tx.transaction_ids.record(A, "D", "m1", "$event", 5)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.transaction(fail)
    assert store.transaction_ids.record(A, "D", "m1", "$second", 6) is None


def test_answers_go_by_time(store):
    for number in range(5):
        store.transaction_ids.record(A, "D", str(number), f"${number}", number)
    assert store.transaction_ids.forget_before(0) == 0
    assert store.transaction_ids.forget_before(4, limit=1) == 1
    assert store.transaction_ids.forget_before(4) == 3
    assert store.transaction_ids.response(A, "D", "3") is None
    assert store.transaction_ids.response(A, "D", "4") == "$4"
    assert len(store.db.open_tree("userdevicetxnid_recordedms")) == 1


def test_a_new_device_of_an_old_id_is_asked_anew(store):
    store.transaction_ids.record(A, "D", "m1", "$old", 5)
    store.transaction_ids.record(A, "DE", "m1", "$kept", 5)
    store.transaction_ids.record(A, None, "m1", "$none", 5)
    assert store.transaction_ids.forget_device(A, "D") == 1
    assert store.transaction_ids.record(A, "D", "m1", "$new", 6) is None
    assert store.transaction_ids.response(A, "DE", "m1") == "$kept"
    assert store.transaction_ids.response(A, None, "m1") == "$none"
    assert store.transaction_ids.forget_before(6) == 2  # The new device's answer is not as old.
    assert store.transaction_ids.response(A, "D", "m1") == "$new"
    store.transaction_ids.record(B, "D", "m1", "$other", 6)
    assert store.transaction_ids.forget_user(A) == 1
    for tree in ("userdevicetxnid_response", "userdevicetxnid_recordedms"):
        assert len(store.db.open_tree(tree)) == 1


@pytest.mark.parametrize(
    "bad",
    [
        ("", "D", "m", "", 5),
        (A, "", "m", "", 5),
        (A, 5, "m", "", 5),
        (A, "D", None, "", 5),
        (A, "D", "\ud800", "", 5),
        (A, "D", "m", None, 5),
        (A, "D", "m", "\ud800", 5),
        (A, "D", "m", "", -1),
        (A, "D", "m", "", True),
    ],
)
def test_what_is_no_request(store, rows, bad):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        store.transaction_ids.record(*bad)
    assert rows() == before


requests = st.tuples(
    st.sampled_from([A, B]), st.sampled_from([None, "D", "DE"]), st.sampled_from(["", "1", "2"])
)


class Requests(RuleBasedStateMachine):
    """Against a dictionary from request to answer; time goes forward."""

    def __init__(self):
        super().__init__()
        self.store = conduitstore.open(":memory:")
        self.answers, self.now = {}, 0

    @rule(request=requests, answer=st.sampled_from(["", "$1", "$2"]))
    def record(self, request, answer):
        self.now += 1
        got = self.store.transaction_ids.record(*request, answer, self.now)
        assert got == (self.answers[request][0] if request in self.answers else None)
        self.answers.setdefault(request, (answer, self.now))

    @rule(age=st.integers(0, 20))
    def forget(self, age):
        before = max(0, self.now - age)
        total = self.store.transaction_ids.forget_before(before)
        kept = {r: found for r, found in self.answers.items() if found[1] >= before}
        assert total == len(self.answers) - len(kept)
        self.answers = kept

    @invariant()
    def answers_are_those_of_the_model(self):
        for request in [
            (u, d, t) for u in (A, B) for d in (None, "D", "DE") for t in ("", "1", "2")
        ]:
            expected = self.answers[request][0] if request in self.answers else None
            assert self.store.transaction_ids.response(*request) == expected
        by_time = self.store.db.open_tree("userdevicetxnid_recordedms")
        assert len(by_time) == len(self.answers)

    def teardown(self):
        self.store.close()


TestRequests = Requests.TestCase
