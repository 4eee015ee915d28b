"""Accounts and profiles."""

import pytest

from conduitstore import InvalidArgumentError

A, B = "@a:one.test", "@b:one.test"


def test_an_account_from_creation_to_deactivation(store):
    assert not store.users.exists(A)
    assert store.users.password_hash(A) is None
    assert not store.users.is_deactivated(A)
    store.users.create(A, "hash")
    assert store.users.exists(A)
    assert store.users.password_hash(A) == "hash"
    assert not store.users.is_deactivated(A)
    store.users.set_password(A, "other")
    assert store.users.password_hash(A) == "other"
    store.users.set_password(A, None)
    assert store.users.exists(A)
    assert store.users.password_hash(A) == ""
    assert store.users.is_deactivated(A)


def test_creating_twice_changes_nothing(store):
    store.users.create(A, "hash")
    with pytest.raises(InvalidArgumentError, match="exists"):
        store.users.create(A, "other")
    assert store.users.password_hash(A) == "hash"


def test_a_password_needs_an_account(store):
    with pytest.raises(InvalidArgumentError, match="no account"):
        store.users.set_password(A, "hash")
    assert not store.users.exists(A)


def test_listing_accounts(store):
    store.users.create(B, None)
    store.users.create(A, "hash")
    assert store.users.all() == [A, B]
    assert store.users.local() == [A]
    assert store.users.total() == 2


@pytest.mark.parametrize("field", ["displayname", "avatar_url", "blurhash"])
def test_profile_fields(store, field):
    get, put = getattr(store.users, field), getattr(store.users, f"set_{field}")
    assert get(A) is None
    put(A, "Änne ☕")
    put(B, "")
    assert get(A) == "Änne ☕"
    assert get(B) == ""
    put(A, None)
    put(A, None)
    assert get(A) is None


@pytest.mark.parametrize("user", ["", "@" + "a" * 255, "@\ud800:x", 5])
def test_bad_ids_are_refused(store, user, rows):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        store.users.create(user, None)
    assert rows() == before
