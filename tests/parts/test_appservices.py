"""Registrations of application services: one that cannot be read stops none of the others."""

import pytest

from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.types import Appservice

YAML = "id: bridge\nurl: https://bridge.test\nas_token: é\n"


def test_a_registration_is_kept_as_text(store):
    store.appservices.register("bridge", "old")
    store.appservices.register("bridge", YAML)
    assert store.appservices.get("bridge") == YAML
    assert store.appservices.get("other") is None
    assert store.appservices.ids() == ["bridge"]
    assert list(store.db.open_tree("id_appserviceregistrations")) == [(b"bridge", YAML.encode())]


def test_one_unreadable_registration_never_fails_the_rest(store):
    store.appservices.register("first", YAML)
    store.db.open_tree("id_appserviceregistrations").insert(b"second", b"\xff\xfe")
    store.appservices.register("third", YAML)
    assert store.appservices.all() == [("first", YAML), ("second", None), ("third", YAML)]
    assert store.appservices.ids() == ["first", "second", "third"]
    with pytest.raises(CorruptedError):
        store.appservices.get("second")
    assert store.appservices.unregister("second")


def test_what_waits_for_it_goes_with_it(store):
    store.appservices.register("bridge", YAML)
    store.sending.queue_edus([(Appservice("bridge"), {}), (Appservice("bridge2"), {})])
    sequence = store.db.sequence
    assert store.appservices.unregister("bridge")
    assert store.db.sequence == sequence + 1
    assert store.sending.destinations() == [Appservice("bridge2")]
    assert not store.appservices.unregister("bridge")


@pytest.mark.parametrize("bad", [("", "x"), ("\ud800", "x"), (5, "x"), ("a", 5), ("a", "\ud800")])
def test_what_is_no_registration(store, rows, bad):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        store.appservices.register(*bad)
    assert rows() == before
