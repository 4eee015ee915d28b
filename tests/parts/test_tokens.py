"""Tokens that work for a while, or once; refresh tokens and who has used them before."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError
from conduitstore.parts.refresh_tokens import KnownRefreshToken

A, B = "@a:one.test", "@b:one.test"
LONG = "D" * 300


@pytest.fixture
def clock(monkeypatch):
    """Milliseconds that pass only when told to."""
    now = [1_700_000_000_000]
    monkeypatch.setattr(time, "time_ns", lambda: now[0] * 1_000_000)
    return now


@pytest.fixture
def parts(store):
    for user in (A, B):
        store.users.create(user, "hash")
    for device in ("D", "E", LONG):
        store.devices.create(A, device, f"access {device}")
    return store


# Tokens of a user -------------------------------------------------------------------------------


def test_openid_tokens_expire(parts, clock):
    token = parts.tokens.create_openid(A, 1_000)
    other = parts.tokens.create_openid(A, 1_000)
    assert token != other
    assert len(token) > 30
    clock[0] += 999
    assert parts.tokens.find_openid(token) == parts.tokens.find_openid(other) == A
    clock[0] += 1
    assert parts.tokens.find_openid(token) is None
    assert parts.tokens.find_openid("x" * 400) is None
    assert parts.tokens.forget_expired() == 2
    assert parts.tokens.forget_expired() == 0
    assert len(parts.db.open_tree("openidtoken_expiresatuserid")) == 0


def test_a_value_is_as_conduit_and_the_forks_write_it(parts, clock):
    expires = (clock[0] + 5).to_bytes(8)
    openid, login = parts.tokens.create_openid(A, 5), parts.tokens.create_login(A, 5)
    value = parts.db.open_tree("openidtoken_expiresatuserid").get(openid.encode())
    assert value == expires + A.encode()
    value = parts.db.open_tree("logintoken_expiresatuserid").get(login.encode())
    assert value == expires + b"\xff" + A.encode()


def test_login_tokens_work_once(parts, clock):
    token, late = parts.tokens.create_login(A), parts.tokens.create_login(B, 1_000)
    assert parts.tokens.find_openid(token) is None
    assert parts.tokens.use_login(token) == A
    assert parts.tokens.use_login(token) is None
    clock[0] += 1_000
    assert parts.tokens.use_login(late) is None
    assert parts.tokens.use_login("x" * 400) is None


def test_of_many_who_use_a_login_token_one_gets_in(parts):
    token, start, entered = parts.tokens.create_login(A), threading.Barrier(6), []

    def enter():
        start.wait()
        entered.append(parts.tokens.use_login(token))

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entered, key=str) == [A, None, None, None, None, None]


def test_tokens_need_an_account_and_go_with_it(parts, rows):
    before = rows()
    for create in (parts.tokens.create_openid, parts.tokens.create_login):
        with pytest.raises(InvalidArgumentError, match="no account"):
            create("@c:one.test")
        for bad in (-1, True, None, 1.5, 1 << 64):
            with pytest.raises(InvalidArgumentError):
                create(A, bad)
    assert rows() == before
    for user in (A, B):
        parts.tokens.create_openid(user)
        parts.tokens.create_login(user)
    assert parts.tokens.forget_user(A) == 2
    assert parts.tokens.forget_user(A) == 0
    assert parts.tokens.forget_user(B) == 2


# Access tokens ----------------------------------------------------------------------------------


def test_access_tokens_expire(parts, clock):
    expires_s = clock[0] // 1_000 + 60
    parts.devices.set_token(A, "D", "short", expires_s=expires_s)
    assert parts.devices.find_from_token("short") == (A, "D")
    clock[0] += 60_000
    assert parts.devices.find_from_token("short") is None
    assert parts.devices.find_from_token("short", even_expired=True) == (A, "D")
    parts.devices.set_token(A, "D", "for ever")
    assert parts.devices.find_from_token("for ever") == (A, "D")
    parts.devices.create(A, "D", "again", expires_s=expires_s)
    assert parts.devices.find_from_token("again") is None
    assert parts.devices.find_from_token("for ever", even_expired=True) is None
    parts.devices.remove(A, "D")
    assert len(parts.db.open_tree("userdeviceid_tokenexpires")) == 0


def test_logging_out_without_forgetting_the_device(parts):
    parts.refresh_tokens.set(A, "D", "r1")
    parts.refresh_tokens.spend("r1", "r2")
    parts.devices.remove_tokens(A, "D")
    assert parts.devices.exists(A, "D")
    assert parts.devices.token(A, "D") is None
    assert parts.devices.find_from_token("access D") is None
    assert parts.refresh_tokens.classify("r1") is parts.refresh_tokens.classify("r2") is None


# Refresh tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["D", LONG])
def test_a_refresh_token_is_used_once(parts, clock, device):
    tokens = parts.refresh_tokens
    assert tokens.current(A, device) is None
    tokens.set(A, device, "r1")
    assert tokens.current(A, device) == "r1"
    assert tokens.classify("r1") == KnownRefreshToken(A, device)
    assert tokens.spend("r1", "r2") == KnownRefreshToken(A, device)
    assert tokens.spend("r1", "r3") is None
    assert tokens.spend("unknown", "r3") is None
    assert tokens.current(A, device) == "r2"
    # Whoever comes with it again learns what took its place, until that is used too.
    assert tokens.classify("r1") == KnownRefreshToken(A, device, "r2", clock[0])
    assert tokens.spend("r2", "r3") is not None
    assert tokens.classify("r1") is None
    assert tokens.classify("r2").successor == "r3"
    assert parts.devices.find_from_token("r3") is None


def test_refresh_tokens_are_not_given_out_twice(parts, rows):
    tokens = parts.refresh_tokens
    tokens.set(A, "D", "r1")
    tokens.spend("r1", "r2")
    tokens.set(A, "E", "e1")
    before = rows()
    for call in (
        lambda: tokens.set(A, "E", "r1"),
        lambda: tokens.set(A, "E", "r2"),
        lambda: tokens.spend("r2", "r2"),
        lambda: tokens.spend("r2", "e1"),
        lambda: tokens.set(A, "F", "new"),
        lambda: tokens.set(A, "D", ""),
        lambda: tokens.set(A, "D", "x" * 256),
        lambda: tokens.spend("r2", "x" * 256),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before


def test_refresh_tokens_go_with_the_device_and_with_a_new_login(parts):
    tokens = parts.refresh_tokens
    for device in ("D", "E"):
        tokens.set(A, device, f"{device}1")
        tokens.spend(f"{device}1", f"{device}2")
    parts.devices.remove(A, "D")
    parts.devices.create(A, "E", "anew")
    trees = ["userdeviceid_refresh", "refreshtoken_userdeviceid", "userdeviceid_spentrefresh"]
    for name in [*trees, "spentrefresh_userdeviceid"]:
        assert len(parts.db.open_tree(name)) == 0


def test_of_many_who_spend_a_token_one_does(parts):
    parts.refresh_tokens.set(A, "D", "r")
    start, spent = threading.Barrier(6), []

    def spend(number):
        start.wait()
        if parts.refresh_tokens.spend("r", f"r{number}") is not None:
            spent.append(f"r{number}")

    threads = [threading.Thread(target=spend, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spent == [parts.refresh_tokens.current(A, "D")]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "spend", "forget"]), st.sampled_from("DE"), st.integers()
        ).map(lambda step: (step[0], step[1], f"t{step[2] % 6}"))
    )
)
def test_a_device_has_one_token_and_one_spent(steps):
    current, spent = {}, {}
    with conduitstore.open(":memory:") as store:
        store.users.create(A, None)
        for device in "DE":
            store.devices.create(A, device, f"access {device}")
        tokens = store.refresh_tokens
        for number, (step, device, token) in enumerate(steps):
            new = f"n{number}"
            if step == "set":
                others = {d for d in "DE" if d != device}
                if token in {t for d in others for t in (current.get(d), spent.get(d, [None])[0])}:
                    continue
                tokens.set(A, device, token)
                current[device] = token
                spent.pop(device, None)
            elif step == "forget":
                had = device in current or device in spent
                assert tokens.forget_device(A, device) is had
                current.pop(device, None)
                spent.pop(device, None)
            else:
                owner = next((d for d, t in current.items() if t == token), None)
                assert (tokens.spend(token, new) is not None) == (owner is not None)
                if owner is not None:
                    current[owner], spent[owner] = new, (token, new)
            for each in "DE":
                assert tokens.current(A, each) == current.get(each)
            known = {t: (d, None) for d, t in current.items()}
            known |= {t: (d, successor) for d, (t, successor) in spent.items()}
            for each in {f"t{n}" for n in range(6)} | known.keys():
                found = tokens.classify(each)
                assert (found and (found.device, found.successor)) == known.get(each)
