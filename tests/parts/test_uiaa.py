"""Interactive authentication: sessions end, and no request comes near a disk."""

import threading

import pytest

import conduitstore
from conduitstore.errors import InvalidArgumentError
from conduitstore.parts.uiaa import LIFETIME_MS, REQUESTS_MAX, PendingRequests

A, B = "@a:one.test", "@ab:one.test"
INFO = {"flows": [{"stages": ["m.login.password"]}], "completed": [], "params": {}, "session": "s"}
PASSWORD = "correct horse battery staple"
REQUEST = {"auth": {"password": PASSWORD}}


def test_a_session_goes_on_and_ends(store):
    uiaa = store.uiaa
    assert uiaa.session(A, "D", "s", 5) is None
    uiaa.update_session(A, "D", "s", INFO, 5)
    assert uiaa.session(A, "D", "s", 5) == INFO
    further = INFO | {"completed": ["m.login.password"]}
    uiaa.update_session(A, "D", "s", further, 6)
    assert uiaa.session(A, "D", "s", 7) == further
    assert uiaa.session(A, "D", "t", 7) is None
    assert uiaa.session(A, "DE", "s", 7) is None
    uiaa.set_request(A, "D", "s", REQUEST)
    uiaa.update_session(A, "D", "s", None, 8)
    assert uiaa.session(A, "D", "s", 8) is None
    assert uiaa.request(A, "D", "s") is None
    assert len(store.db.open_tree("expiresms_uiaasession")) == 0


def test_a_session_lives_a_day_from_its_beginning(store):
    store.uiaa.update_session(A, "", "s", INFO, 1_000)
    store.uiaa.update_session(A, "", "s", INFO | {"completed": ["x"]}, 5_000)
    last = 1_000 + LIFETIME_MS - 1
    assert store.uiaa.session(A, "", "s", last) is not None
    assert store.uiaa.session(A, "", "s", last + 1) is None
    store.uiaa.update_session(A, "", "s", INFO, last + 1)  # One of that name begins anew.
    assert store.uiaa.session(A, "", "s", last + LIFETIME_MS) is not None


def test_what_is_over_is_forgotten_with_its_request(store):
    for number in range(4):
        store.uiaa.update_session(A, "D", str(number), INFO, number)
        store.uiaa.set_request(A, "D", str(number), {"n": number})
    assert store.uiaa.forget_expired(LIFETIME_MS - 1) == 0
    assert store.uiaa.forget_expired(LIFETIME_MS + 1, limit=1) == 1
    assert store.uiaa.forget_expired(LIFETIME_MS + 1) == 1
    assert [store.uiaa.request(A, "D", str(n)) for n in range(4)] == [
        None,
        None,
        {"n": 2},
        {"n": 3},
    ]
    assert len(store.db.open_tree("userdevicesessionid_uiaainfo")) == 2
    assert store.uiaa.forget_device(A, "D") == 2
    assert store.uiaa.request(A, "D", "3") is None
    assert len(store.db.open_tree("expiresms_uiaasession")) == 0


def test_a_request_is_seen_everywhere_and_by_nobody_else(store):
    store.uiaa.set_request(A, "D", "s", REQUEST)
    assert store.uiaa.request(A, "D", "s") == REQUEST
    assert store.transaction(lambda tx: tx.uiaa.request(A, "D", "s")) == REQUEST
    with store.snapshot() as view:
        assert view.uiaa.request(A, "D", "s") == REQUEST
    assert store.uiaa.request(B, "D", "s") is None
    with conduitstore.open(":memory:") as other:
        assert other.uiaa.request(A, "D", "s") is None


def test_a_password_never_gets_to_the_disk(tmp_path):
    with conduitstore.open(tmp_path / "s", compression_level=0) as store:
        store.uiaa.update_session(A, "D", "s", INFO, 5)
        store.uiaa.set_request(A, "D", "s", REQUEST)
        store.db.flush()
    found = b"".join(path.read_bytes() for path in (tmp_path / "s").iterdir() if path.is_file())
    assert b"m.login.password" in found
    assert PASSWORD.encode() not in found
    with conduitstore.open(tmp_path / "s") as store:
        assert store.uiaa.session(A, "D", "s", 6) == INFO
        assert store.uiaa.request(A, "D", "s") is None


def test_requests_do_not_fill_the_memory():
    requests = PendingRequests()
    for number in range(REQUESTS_MAX + 5):
        requests.set(b"%d" % number, {"n": number})
    assert requests.get(b"4") is None
    assert requests.get(b"5") == {"n": 5}
    requests.forget([b"5", b"nothing"])
    assert requests.get(b"5") is None


@pytest.mark.parametrize(
    "damage", [b"", b"no json", b"[]", b"{}", b'{"conduitstore.expires_ms":"x"}']
)
def test_a_session_that_cannot_be_read_begins_again(store, damage):
    store.db.open_tree("userdevicesessionid_uiaainfo").insert(b"@a:one.test\xffD\xffs", damage)
    assert store.uiaa.session(A, "D", "s", 5) is None
    store.uiaa.update_session(A, "D", "s", INFO, 5)
    assert store.uiaa.session(A, "D", "s", 5) == INFO


def test_sessions_of_many_threads(store):
    def live(number):
        for turn in range(20):
            store.uiaa.update_session(A, "D", f"{number}", INFO | {"n": turn}, turn)
            store.uiaa.set_request(A, "D", f"{number}", {"n": turn})

    threads = [threading.Thread(target=live, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.db.open_tree("expiresms_uiaasession")) == 4
    assert store.uiaa.session(A, "D", "3", 20)["n"] == 19


def test_what_is_no_session(store, rows):
    before = rows()
    uiaa = store.uiaa
    for call in (
        lambda: uiaa.update_session("", "D", "s", INFO, 5),
        lambda: uiaa.update_session(A, 5, "s", INFO, 5),
        lambda: uiaa.update_session(A, "D", "\ud800", INFO, 5),
        lambda: uiaa.update_session(A, "D", "s", [], 5),
        lambda: uiaa.update_session(A, "D", "s", {"a": float("nan")}, 5),
        lambda: uiaa.update_session(A, "D", "s", INFO, -1),
        lambda: uiaa.session(A, "D", "s", None),
        lambda: uiaa.set_request(A, "D", "s", "password"),
        lambda: uiaa.set_request("", "D", "s", {}),
        lambda: uiaa.forget_expired("now"),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before
