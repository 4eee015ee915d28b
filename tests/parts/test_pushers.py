"""Pushers: listed past damage, gone with their device and their queue."""

import pytest

from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.types import PduId, PushGateway

A, B = "@a:one.test", "@ab:one.test"
LONG = "D" * 300


@pytest.fixture(autouse=True)
def _devices(store):
    for user in (A, B):
        store.users.create(user, "hash")
        for device in ("D", "E", LONG):
            store.devices.create(user, device, None)


def pusher(pushkey="key", **more):
    return {
        "pushkey": pushkey,
        "kind": "http",
        "app_id": "app",
        "data": {"url": "https://p"},
    } | more


def test_a_pusher_is_set_replaced_and_removed(store):
    pushers = store.pushers
    pushers.set(A, pusher())
    pushers.set(A, pusher(lang="en"))
    pushers.set(B, pusher("other"))
    assert pushers.get(A, "key") == pusher(lang="en")
    assert pushers.all(A) == [pusher(lang="en")]
    assert pushers.pushkeys(A) == ["key"]
    assert pushers.get(A, "other") is None
    assert store.db.open_tree("senderkey_pusher").first()[0] == b"@a:one.test\xffkey"
    assert pushers.remove(A, "key")
    assert not pushers.remove(A, "key")
    assert pushers.all(A) == []
    assert pushers.all(B) == [pusher("other")]


def test_one_bad_row_does_not_hide_the_others(store):
    store.pushers.set(A, pusher("first"))
    store.pushers.set(A, pusher("third"))
    for damage in (b"no json", b"[]", b"\xff", b""):
        store.db.open_tree("senderkey_pusher").insert(b"@a:one.test\xffsecond", damage)
        assert [p["pushkey"] for p in store.pushers.all(A)] == ["first", "third"]
        assert store.pushers.pushkeys(A) == ["first", "second", "third"]
        with pytest.raises(CorruptedError):
            store.pushers.get(A, "second")
    assert store.pushers.remove(A, "second")


def test_pushers_go_with_the_device_that_set_them(store):
    store.pushers.set(A, pusher("one"), "D")
    store.pushers.set(A, pusher("two"), "D")
    store.pushers.set(A, pusher("moved"), "D")
    store.pushers.set(A, pusher("moved"), "E")
    store.pushers.set(A, pusher("loose"), "D")
    store.pushers.set(A, pusher("loose"))
    store.pushers.set(A, pusher("long"), LONG)
    store.pushers.set(B, pusher("one"), "D")  # The same app, with two accounts.
    assert store.pushers.forget_device(A, "D") == ["one", "two"]
    assert store.pushers.pushkeys(A) == ["long", "loose", "moved"]
    assert store.pushers.pushkeys(B) == ["one"]
    assert store.pushers.forget_device(A, LONG) == ["long"]
    assert store.pushers.forget_device(A, "D") == []


def test_what_waits_for_a_pusher_goes_with_it(store):
    store.pushers.set(A, pusher(), "D")
    gateway = PushGateway(A, "key")
    store.sending.queue_pdus([(gateway, PduId(5, 1)), (PushGateway(A, "key2"), PduId(5, 1))])
    sequence = store.db.sequence
    store.pushers.forget_device(A, "D")
    assert store.db.sequence == sequence + 1
    assert store.sending.waiting(gateway) == []
    assert store.sending.destinations() == [PushGateway(A, "key2")]


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "key",
        {},
        pusher(""),
        pusher(None),
        pusher(5),
        pusher("\ud800"),
        pusher("k" * 3_000),
        pusher(data=float("nan")),
        pusher(data={"\ud800": 1}),
    ],
)
def test_what_is_no_pusher(store, rows, bad):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        store.pushers.set(A, bad, "D")
    assert rows() == before


def test_a_pusher_has_an_account_and_if_it_names_one_a_device(store, rows):
    before = rows()
    for user, device in (("@none:one.test", None), ("@none:one.test", "D"), (A, "F"), (B, "")):
        with pytest.raises(InvalidArgumentError):
            store.pushers.set(user, pusher(), device)
    assert rows() == before


def test_a_pushkey_may_be_as_long_as_the_specification_says(store):
    store.pushers.set(A, pusher("k" * 512))
    assert store.pushers.pushkeys(A) == ["k" * 512]
    store.sending.queue_pdus([(PushGateway(A, "k" * 512), PduId(5, 1))])
    assert store.sending.destinations() == [PushGateway(A, "k" * 512)]
