"""Our own key, which is never lost, and those of others, which are merged in one commit."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore.codec.keypairs import Keypair
from conduitstore.errors import CorruptedError, InvalidArgumentError

FIRST, SECOND = Keypair.from_seed("a", bytes(32)), Keypair.from_seed("b", b"\xff" * 32)


def keys(until, old=None, **current):
    return {
        "server_name": "one.test",
        "verify_keys": {f"ed25519:{key}": {"key": text} for key, text in current.items()},
        "old_verify_keys": {
            f"ed25519:{key}": {"key": text, "expired_ts": ts}
            for key, (text, ts) in (old or {}).items()
        },
        "valid_until_ts": until,
        "signatures": {},
    }


# Our own ----------------------------------------------------------------------------------------


def test_the_key_is_made_once(store):
    assert store.globals.keypair() is None
    assert store.globals.load_keypair(lambda: FIRST) == FIRST
    assert store.globals.load_keypair(lambda: SECOND) == FIRST
    assert store.globals.keypair() == FIRST


def test_of_many_who_make_the_key_one_does(store):
    barrier, found = threading.Barrier(8), []

    def load(number):
        barrier.wait()
        make = Keypair.from_seed(f"k{number}", bytes([number]) * 32)
        found.append(store.globals.load_keypair(lambda: make))

    threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {store.globals.keypair()}


def test_a_key_is_on_the_platter_when_it_is_returned(tmp_path):
    with conduitstore.open(tmp_path / "s", flush_every_ms=None) as store:
        store.globals.load_keypair(lambda: FIRST)
        assert store.db.durable_sequence == store.db.sequence
        store.globals.import_keypair(SECOND, replace=True)
        assert store.db.durable_sequence == store.db.sequence


@pytest.mark.parametrize("damage", [b"", b"a\xffno der", b"\xff" * 50, FIRST.der])
def test_defect_18_an_unreadable_key_is_told_and_stays(store, rows, damage):
    store.db.open_tree("global").insert(b"keypair", damage)
    before = rows()
    for _ in range(2):  # The next start as well.
        for call in (store.globals.keypair, lambda: store.globals.load_keypair(lambda: FIRST)):
            with pytest.raises(CorruptedError, match="key pair"):
                call()
    with pytest.raises(InvalidArgumentError, match="another key"):
        store.globals.import_keypair(FIRST)
    assert rows() == before
    store.globals.import_keypair(FIRST, replace=True)
    assert store.globals.keypair() == FIRST


def test_a_key_is_imported_and_exported(store, rows):
    store.globals.import_keypair(Keypair.from_text(FIRST.to_text()))
    store.globals.import_keypair(FIRST)  # Again is fine.
    before = rows()
    with pytest.raises(InvalidArgumentError, match="another key"):
        store.globals.import_keypair(SECOND)
    with pytest.raises(InvalidArgumentError, match="not a Keypair"):
        store.globals.import_keypair("ed25519 a b", replace=True)
    assert rows() == before
    assert store.globals.keypair().to_text() == FIRST.to_text()


def test_no_key_is_stored_that_was_not_made(store, rows):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        store.globals.load_keypair(lambda: None)
    with pytest.raises(ZeroDivisionError):
        store.globals.load_keypair(lambda: 1 // 0)
    assert rows() == before


def test_the_newest_announcement_shown(store):
    assert store.globals.last_update_check() == 0
    store.globals.set_last_update_check(7)
    assert store.globals.last_update_check() == 7
    assert store.db.open_tree("global").get(b"u") == (7).to_bytes(8)
    with pytest.raises(InvalidArgumentError):
        store.globals.set_last_update_check(-1)


# Those of others --------------------------------------------------------------------------------


def test_a_notary_adds_and_takes_nothing_away(store):
    add = store.server_keys.add_from_trusted_server
    assert store.server_keys.of("one.test") is None
    first = add("one.test", keys(100, a="A"))
    assert store.server_keys.of("one.test") == first == keys(100, a="A")
    merged = add("one.test", keys(50, {"o": ("O", 5)}, a="other", b="B"))
    assert merged == keys(100, {"o": ("O", 5)}, a="A", b="B")
    assert add("one.test", keys(200))["valid_until_ts"] == 200
    assert store.server_keys.of("one.test") == keys(200, {"o": ("O", 5)}, a="A", b="B")


def test_the_origin_replaces_and_what_it_drops_becomes_old(store):
    store.server_keys.add_from_trusted_server("one.test", keys(100, {"o": ("O", 5)}, a="A", b="B"))
    merged = store.server_keys.add_from_origin("one.test", keys(90, b="B2", c="C"))
    assert merged == keys(90, {"o": ("O", 5), "a": ("A", 100)}, b="B2", c="C")
    assert store.server_keys.of("one.test") == merged
    back = store.server_keys.add_from_origin("one.test", keys(300, {"a": ("A", 40)}, c="C"))
    assert back == keys(300, {"o": ("O", 5), "a": ("A", 40), "b": ("B2", 90)}, c="C")


def test_a_notary_that_is_behind_makes_no_retired_key_current(store):
    store.server_keys.add_from_origin("one.test", keys(100, stolen="S"))
    store.server_keys.add_from_origin("one.test", keys(300, new="N"))
    merged = store.server_keys.add_from_trusted_server("one.test", keys(100, stolen="S", more="M"))
    assert merged == keys(300, {"stolen": ("S", 100)}, new="N", more="M")


def test_a_row_that_cannot_be_read_is_fetched_anew(store):
    tree = store.db.open_tree("server_signingkeys")
    for damage in (b"no json", b"[]", b'{"verify_keys": 5}', b'{"verify_keys":{"a":5}}'):
        tree.insert(b"one.test", damage)
        assert store.server_keys.of("one.test") is None
        store.server_keys.add_from_origin("one.test", keys(100, a="A"))
        assert store.server_keys.of("one.test") == keys(100, a="A")
    assert store.server_keys.forget("one.test")
    assert not store.server_keys.forget("one.test")


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        {"verify_keys": {}},
        {"verify_keys": [], "valid_until_ts": 1},
        {"verify_keys": {"a": "key"}, "valid_until_ts": 1},
        {"verify_keys": {}, "old_verify_keys": None, "valid_until_ts": 1},
        {"verify_keys": {}, "valid_until_ts": -1},
        {"verify_keys": {}, "valid_until_ts": "1"},
        {"verify_keys": {"a": {"key": "\ud800"}}, "valid_until_ts": 1},
    ],
)
def test_what_are_no_keys(store, rows, bad):
    before = rows()
    for add in (store.server_keys.add_from_origin, store.server_keys.add_from_trusted_server):
        with pytest.raises(InvalidArgumentError):
            add("one.test", bad)
    assert rows() == before


def test_no_key_is_lost_among_threads(store):
    def add(number):
        for turn in range(10):
            name = f"k{number}_{turn}"
            store.server_keys.add_from_trusted_server("one.test", keys(1, **{name: "K"}))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.server_keys.of("one.test")["verify_keys"]) == 40


published = st.tuples(
    st.booleans(),
    st.integers(0, 9),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(["K", "L"])),
    st.dictionaries(st.sampled_from("abcd"), st.tuples(st.just("O"), st.integers(0, 9))),
)


@given(st.lists(published, max_size=6))
def test_no_key_ever_named_is_forgotten(answers):
    with conduitstore.open(":memory:") as store:
        named = set()
        for is_origin, until, current, old in answers:
            part = store.server_keys
            add = part.add_from_origin if is_origin else part.add_from_trusted_server
            before = part.of("one.test")
            after = add("one.test", keys(until, old, **current))
            named |= {f"ed25519:{key}" for key in current | old}
            assert named == set(after["verify_keys"]) | set(after["old_verify_keys"])
            if is_origin:
                assert after["verify_keys"] == keys(until, **current)["verify_keys"]
                assert after["valid_until_ts"] == until
            elif before is not None:
                assert after["valid_until_ts"] == max(until, before["valid_until_ts"])
                assert before["verify_keys"].items() <= after["verify_keys"].items()
