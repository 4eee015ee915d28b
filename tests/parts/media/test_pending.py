"""Media ids given out before their content: used once, by their user, in time."""

import threading

import pytest

from conduitstore.errors import InvalidArgumentError
from conduitstore.types import Mxc

A, B = "@a:one.test", "@ab:one.test"
ONE, TWO = Mxc("one.test", "one"), Mxc("one.test", "two")


def test_a_reservation_is_used_once_by_its_user_in_time(store):
    pending = store.media.pending
    pending.reserve(ONE, A, 1_000)
    assert pending.get(ONE) == (1_000, A)
    assert not pending.take(ONE, B, 500)
    assert not pending.take(ONE, A, 1_000)
    assert not pending.take(TWO, A, 500)
    assert pending.take(ONE, A, 999)
    assert not pending.take(ONE, A, 999)
    assert pending.get(ONE) is None


def test_the_rows_are_tuwunels(store):
    store.media.pending.reserve(ONE, A, 0xFF00FF)
    assert list(store.db.open_tree("mediaid_pending")) == [
        (b"mxc://one.test/one", b"\0\0\0\0\0\xff\0\xff\xff@a:one.test")
    ]


def test_a_reservation_is_not_taken_over(store, rows):
    store.media.pending.reserve(ONE, A, 1_000)
    before = rows()
    with pytest.raises(InvalidArgumentError, match="reserved already"):
        store.media.pending.reserve(ONE, B, 2_000)
    assert rows() == before


def test_how_many_somebody_has_leaves_out_what_is_over(store):
    for number, expires_ms in enumerate((10, 20, 30)):
        store.media.pending.reserve(Mxc("one.test", str(number)), A, expires_ms)
    store.media.pending.reserve(ONE, B, 30)
    assert [store.media.pending.total(A, now) for now in (0, 10, 29, 30)] == [3, 2, 1, 0]
    assert store.media.pending.total(B, 0) == 1


def test_what_is_over_is_forgotten_and_nothing_stays(store):
    media = [Mxc("one.test", str(number)) for number in range(5)]
    for number, mxc in enumerate(media):
        store.media.pending.reserve(mxc, A, 100 + number)
    assert store.media.pending.forget_expired(99) == 0
    assert store.media.pending.forget_expired(103, limit=2) == 2
    assert store.media.pending.forget_expired(103) == 2
    assert store.media.pending.get(media[3]) is None
    assert store.media.pending.take(media[4], A, 103)
    for tree in ("mediaid_pending", "userid_pending", "expiresms_mediaid"):
        assert len(store.db.open_tree(tree)) == 0


def test_of_many_who_take_the_same_one_gets_it(store):
    store.media.pending.reserve(ONE, A, 1_000)
    barrier, took = threading.Barrier(8), []

    def take():
        barrier.wait()
        took.append(store.media.pending.take(ONE, A, 0))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(took) == [False] * 7 + [True]


def test_what_is_no_reservation(store, rows):
    pending = store.media.pending
    before = rows()
    for call in (
        lambda: pending.reserve("mxc://one.test/one", A, 5),
        lambda: pending.reserve(Mxc("one/test", "x"), A, 5),
        lambda: pending.reserve(ONE, "", 5),
        lambda: pending.reserve(ONE, "\ud800", 5),
        lambda: pending.reserve(ONE, A, -1),
        lambda: pending.reserve(Mxc("one.test", "x" * 3_000), A, 5),
        lambda: pending.total(A, None),
        lambda: pending.forget_expired(True),
        lambda: pending.forget_expired(5, limit=-1),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before
