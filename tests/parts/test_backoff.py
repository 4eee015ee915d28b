"""Servers that fail are left alone for longer and longer, also over a restart."""

import threading

import pytest

from conduitstore.errors import InvalidArgumentError

DAY_MS = 24 * 60 * 60 * 1000


def test_failures_add_up_until_one_success(store):
    backoff = store.backoff
    assert backoff.failures("one.test") is None
    waits = [backoff.record_failure("one.test", 1_000).retry_ms - 1_000 for _ in range(4)]
    assert waits == [30_000, 120_000, 270_000, 480_000]
    assert backoff.failures("one.test").total == 4
    assert backoff.failures("two.test") is None
    backoff.record_success("one.test")
    assert backoff.failures("one.test") is None
    assert backoff.record_failure("one.test", 2_000).total == 1


def test_nobody_is_left_alone_for_more_than_a_day(store):
    for _ in range(60):
        failures = store.backoff.record_failure("one.test", 1_000)
    assert failures.retry_ms == 1_000 + DAY_MS


def test_success_of_a_server_that_never_failed_writes_nothing(store):
    sequence = store.db.sequence
    store.backoff.record_success("one.test")
    assert store.db.sequence == sequence


def test_old_failures_are_forgotten_and_so_is_damage(store):
    store.backoff.record_failure("one.test", 1_000)
    store.backoff.record_failure("two.test", 2_000)
    store.db.open_tree("servername_backoff").insert(b"three.test", b"damaged")
    assert store.backoff.failures("three.test") is None
    assert store.backoff.forget_before(2_000) == 2
    assert store.backoff.failures("two.test").total == 1


def test_no_failure_is_lost_among_threads(store):
    threads = [
        threading.Thread(target=lambda: store.backoff.record_failure("one.test", 5))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.backoff.failures("one.test").total == 20


@pytest.mark.parametrize("bad", [-1, 1 << 64, True, "5", None])
def test_what_is_no_time(store, rows, bad):
    before = rows()
    for call in (
        lambda: store.backoff.record_failure("one.test", bad),
        lambda: store.backoff.forget_before(bad),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before
