"""What belongs to accounts beside passwords: profiles, filters, restrictions, ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError
from conduitstore.parts import filters as filters_module
from conduitstore.parts.users import NO_PASSWORD

A, AA, B = "@a:one.test", "@a:one.tests", "@b:one.test"


@pytest.fixture
def parts(store):
    for user in (A, AA, B):
        store.users.create(user, "hash")
    return store


# Accounts ---------------------------------------------------------------------------------------


def test_how_an_account_logs_in(store):
    store.users.create(A, "hash")
    store.users.create(AA, NO_PASSWORD, origin="sso")
    store.users.create(B, None)
    users = (A, AA, B, "@unknown:x")
    assert [store.users.has_password(user) for user in users] == [True, False, False, False]
    assert [store.users.is_active(user) for user in users] == [True, True, False, False]
    assert [store.users.is_deactivated(user) for user in users] == [False, False, True, False]
    assert [store.users.origin(user) for user in users] == [None, "sso", None, None]
    store.users.set_origin(A, "ldap")
    assert store.users.origin(A) == "ldap"
    assert store.users.local() == [A, AA]
    for bad in ("", "x", None, 5):
        with pytest.raises(InvalidArgumentError):
            store.users.set_origin(A, bad)


def test_defect_20_an_unknown_user_is_no_error(store):
    assert not store.users.exists(A)
    assert not store.users.is_deactivated(A)
    assert not store.users.is_active(A)


def test_going_through_all_accounts(parts):
    assert parts.users.page(None, 2) == [A, AA]
    assert parts.users.page(AA, 2) == [B]
    assert parts.users.page(B, 2) == []
    assert parts.users.page(None, 0) == []
    with pytest.raises(InvalidArgumentError):
        parts.users.page(None, -1)


def test_deactivating_ends_everything_that_could_act(parts):
    for device in ("D", "D" * 300):
        parts.devices.create(A, device, f"token {device}")
    parts.devices.create(AA, "D", "other")
    parts.dehydrated_devices.set(A, "DRY", {})
    filter_id, login = parts.filters.create(A, {}), parts.tokens.create_login(A)
    sequence = parts.db.sequence
    parts.users.deactivate(A)
    assert parts.db.sequence == sequence + 1
    assert parts.users.is_deactivated(A)
    assert parts.users.devices(A) == []
    assert parts.devices.find_from_token("token D") is None
    assert parts.dehydrated_devices.get(A) is None
    assert parts.filters.get(A, filter_id) is None
    assert parts.tokens.use_login(login) is None
    assert parts.devices.find_from_token("other") == (AA, "D")
    with pytest.raises(InvalidArgumentError, match="no account"):
        parts.users.deactivate("@unknown:x")


def test_who_is_ignored(parts):
    assert not parts.users.ignores(A, B)
    parts.account_data.update(None, A, "m.ignored_user_list", {"ignored_users": {B: {}}})
    assert parts.users.ignores(A, B)
    assert not parts.users.ignores(A, AA)
    assert not parts.users.ignores(B, A)
    for odd in ({}, {"ignored_users": None}, {"ignored_users": [B]}):
        parts.account_data.update(None, A, "m.ignored_user_list", odd)
        assert not parts.users.ignores(A, B)


def test_users_of_other_servers(store):
    sequence = store.db.sequence
    assert not store.users.is_remote(A)
    store.users.note_remote(A)
    store.users.note_remote(A)
    assert store.db.sequence == sequence + 1
    assert store.users.is_remote(A)
    assert not store.users.exists(A)
    assert store.users.forget_remote(A)
    assert not store.users.forget_remote(A)
    assert not store.users.is_remote(A)


# Profiles ---------------------------------------------------------------------------------------


def test_a_profile_has_fields_of_any_name(parts):
    parts.users.set_displayname(A, "Ann")
    for field, value in {"m.tz": "Europe/Paris", "x": None, "y": {"a": [1]}}.items():
        parts.profiles.set(A, field, value)
    parts.profiles.set(AA, "m.tz", "UTC")
    expected = {"displayname": "Ann", "m.tz": "Europe/Paris", "x": None, "y": {"a": [1]}}
    assert parts.profiles.all(A) == expected
    assert {field: parts.profiles.get(A, field) for field in expected} == expected
    parts.profiles.remove(A, "x")
    parts.profiles.remove(A, "x")
    assert parts.profiles.all(A).keys() == expected.keys() - {"x"}
    parts.profiles.clear(A)
    assert parts.profiles.all(A) == {}
    assert parts.users.displayname(A) is None
    assert parts.profiles.all(AA) == {"m.tz": "UTC"}


def test_names_are_one_field_whichever_way_they_are_set(parts):
    parts.profiles.set(A, "displayname", "Ann")
    parts.profiles.set(A, "avatar_url", "mxc://a/b")
    assert parts.users.displayname(A) == parts.profiles.get(A, "displayname") == "Ann"
    assert parts.users.avatar_url(A) == parts.profiles.get(A, "avatar_url") == "mxc://a/b"
    parts.profiles.remove(A, "displayname")
    parts.profiles.remove(A, "avatar_url")
    assert parts.users.displayname(A) is parts.users.avatar_url(A) is None
    assert len(parts.db.open_tree("useridprofilekey_value")) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("", 1), ("x" * 256, 1), (None, 1), ("displayname", 5), ("avatar_url", None), ("x", {1, 2})],
)
def test_what_is_no_field(parts, rows, field, value):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        parts.profiles.set(A, field, value)
    assert rows() == before


# Filters ----------------------------------------------------------------------------------------


def test_filters(parts):
    first = parts.filters.create(A, {"room": {"timeline": {"limit": 5}}})
    assert parts.filters.get(A, first) == {"room": {"timeline": {"limit": 5}}}
    assert parts.filters.create(A, {"room": {"timeline": {"limit": 5}}}) == first
    other = parts.filters.create(A, {})
    assert other != first
    assert parts.filters.create(AA, {}) == other
    assert parts.filters.get(B, first) is parts.filters.get(A, "unknown") is None
    assert not first.startswith("{")  # Which is how clients tell an id from a filter.
    assert parts.filters.forget_user(A) == 2
    assert parts.filters.get(AA, other) == {}
    with pytest.raises(InvalidArgumentError):
        parts.filters.create(A, [])


def test_no_filter_takes_the_id_of_another(parts, monkeypatch):
    monkeypatch.setattr(filters_module, "ID_LENGTH_MIN", 1)
    ids = {parts.filters.create(A, {"n": n}): n for n in range(300)}
    assert len(ids) == 300
    assert all(parts.filters.get(A, key) == {"n": n} for key, n in ids.items())


# Restrictions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["suspended", "locked"])
def test_suspending_and_locking(parts, kind):
    other = {"suspended": "locked", "locked": "suspended"}[kind]
    restrictions = parts.restrictions
    assert restrictions.get(A, kind) is None
    restrictions.impose(A, kind, B)
    found = restrictions.get(A, kind)
    assert found.by == B
    assert found.when_ms > 1_600_000_000_000
    assert restrictions.get(A, other) is restrictions.get(AA, kind) is None
    assert restrictions.lift(A, kind)
    assert not restrictions.lift(A, kind)
    assert restrictions.get(A, kind) is None


def test_login_and_erasure(parts):
    restrictions = parts.restrictions
    restrictions.disable_login(A)
    assert restrictions.is_login_disabled(A)
    assert not restrictions.is_login_disabled(AA)
    restrictions.enable_login(A)
    assert not restrictions.is_login_disabled(A)
    assert restrictions.erased_at(A) is None
    count = restrictions.erase(A)
    assert count == restrictions.erased_at(A) == parts.globals.current_count()
    parts.globals.next_count()
    assert restrictions.erase(A) == count
    restrictions.unerase(A)
    assert restrictions.erased_at(A) is None


def test_what_cannot_be_restricted(parts, rows):
    before, restrictions, nobody = rows(), parts.restrictions, "@unknown:x"
    for call in (
        lambda: restrictions.impose(nobody, "locked", B),
        lambda: restrictions.impose(A, "asleep", B),
        lambda: restrictions.impose(A, None, B),
        lambda: restrictions.impose(A, "locked", ""),
        lambda: restrictions.impose(A, "locked", None),
        lambda: restrictions.lift(A, ["locked"]),
        lambda: restrictions.get("", "locked"),
        lambda: restrictions.disable_login(nobody),
        lambda: restrictions.erase(nobody),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before


# Dehydrated devices -----------------------------------------------------------------------------


def test_a_dehydrated_device(parts):
    dry = parts.dehydrated_devices
    assert dry.get(A) is None
    assert not dry.remove(A)
    dry.set(A, "DRY", {"algorithm": "m.dehydration.v2"}, "Backup")
    assert dry.get(A) == ("DRY", {"algorithm": "m.dehydration.v2"})
    assert parts.devices.token(A, "DRY") is None
    assert parts.devices.metadata(A, "DRY")["display_name"] == "Backup"
    parts.one_time_keys.add(A, "DRY", {"x:1": {}})
    parts.to_device.queue(B, A, "DRY", "t", {})
    dry.set(A, "DRY2", {})
    assert dry.get(A) == ("DRY2", {})
    assert parts.devices.ids(A) == ["DRY2"]
    assert parts.one_time_keys.claim(A, "DRY", "x") is None
    assert len(parts.db.open_tree("todeviceid_events")) == 0
    dry.set(A, "DRY2", {"again": 1})
    assert dry.get(A) == ("DRY2", {"again": 1})
    parts.devices.remove(A, "DRY2")
    assert dry.get(A) is None


def test_a_device_in_use_is_not_taken_for_a_dehydrated_one(parts, rows):
    parts.devices.create(A, "D", "token")
    parts.dehydrated_devices.set(A, "DRY", {})
    before = rows()
    with pytest.raises(InvalidArgumentError, match="in use"):
        parts.dehydrated_devices.set(A, "D", {})
    for bad in ([], None, {"x": {1}}):
        with pytest.raises(InvalidArgumentError):
            parts.dehydrated_devices.set(A, "DRY2", bad)
    with pytest.raises(InvalidArgumentError):
        parts.dehydrated_devices.set("@unknown:x", "DRY", {})
    assert rows() == before
    parts.devices.remove(A, "D")
    assert parts.dehydrated_devices.get(A) == ("DRY", {})
    assert parts.dehydrated_devices.remove(A)


STEPS = st.tuples(
    st.sampled_from(["set", "remove", "create", "drop"]), st.sampled_from(["D", "E", "F" * 300])
)


@given(st.lists(STEPS, max_size=20))
def test_at_most_one_device_is_dehydrated_and_it_is_a_device(steps):
    dry, used = None, set()
    with conduitstore.open(":memory:") as store:
        store.users.create(A, None)
        for step, device in steps:
            if step == "set" and device not in used:
                store.dehydrated_devices.set(A, device, {"d": device})
                dry = device
            elif step == "remove":
                assert store.dehydrated_devices.remove(A) == (dry is not None)
                dry = None
            elif step == "create" and device != dry:
                store.devices.create(A, device, f"token {device}")
                used.add(device)
            elif step == "drop":
                assert store.devices.remove(A, device) == (device == dry or device in used)
                dry = None if device == dry else dry
                used.discard(device)
            found = store.dehydrated_devices.get(A)
            assert found == (None if dry is None else (dry, {"d": dry}))
            assert set(store.devices.ids(A)) == used | ({dry} - {None})
