"""Devices and tokens."""

import pytest

from conduitstore import InvalidArgumentError
from conduitstore.codec.keys import fold
from conduitstore.parts.presence import Presence
from conduitstore.schema import TREES
from conduitstore.types import Mxc

A, B = "@a:one.test", "@b:one.test"
LONG = "D" * 300


@pytest.fixture
def devices(store):
    store.users.create(A, "hash")
    store.users.create("@a:one.tests", "hash")
    return store.devices


def test_creating_a_device(store, devices):
    assert devices.list_version(A) is None
    devices.create(A, "D1", "token1", "Phone", "10.0.0.1")
    metadata = devices.metadata(A, "D1")
    assert metadata.pop("last_seen_ts") > 1_600_000_000_000
    assert metadata == {"device_id": "D1", "display_name": "Phone", "last_seen_ip": "10.0.0.1"}
    assert devices.find_from_token("token1") == (A, "D1")
    assert devices.token(A, "D1") == "token1"
    assert devices.list_version(A) == 1
    assert devices.exists(A, "D1")
    assert not devices.exists(A, "D2")
    devices.create("@a:one.tests", "D9", "token9")
    devices.create(A, "D2", "token2")
    assert devices.ids(A) == store.users.devices(A) == ["D1", "D2"]
    assert devices.list_version(A) == 2
    with store.snapshot() as view:
        assert view.users.devices(A) == ["D1", "D2"]


def test_a_device_needs_an_account(devices, rows):
    before = rows()
    with pytest.raises(InvalidArgumentError, match="no account"):
        devices.create(B, "D1", "token1")
    assert rows() == before


def test_a_device_that_logs_in_again_has_one_token(devices):
    devices.create(A, "D1", "token1")
    devices.create(A, "D1", "token2")
    assert devices.find_from_token("token1") is None
    assert devices.find_from_token("token2") == (A, "D1")
    devices.create(A, "D1", "token2")
    assert devices.find_from_token("token2") == (A, "D1")


def test_replacing_a_token_retires_the_old_one(devices):
    devices.create(A, "D1", "token1")
    devices.set_token(A, "D1", "token2")
    assert devices.find_from_token("token1") is None
    assert devices.find_from_token("token2") == (A, "D1")
    devices.set_token(A, "D1", "token2")
    assert devices.find_from_token("token2") == (A, "D1")


def test_a_token_is_never_taken_from_another_device(devices, rows):
    devices.create(A, "D1", "token1")
    devices.create(A, "D2", "token2")
    before = rows()
    for attempt in (devices.set_token, devices.create):
        with pytest.raises(InvalidArgumentError, match="another device"):
            attempt(A, "D2", "token1")
        assert rows() == before


def test_a_token_needs_a_device(devices):
    with pytest.raises(InvalidArgumentError, match="no device"):
        devices.set_token(A, "D1", "token1")


def test_removing_a_device_leaves_nothing_of_it(store, devices):
    devices.create(A, "D", "token1")
    devices.create(A, "D1", "token2")
    for device in ("D", "D1"):
        store.to_device.queue(B, A, device, "t", {})
    assert devices.remove(A, "D")
    assert devices.find_from_token("token1") is None
    assert devices.token(A, "D") is None
    assert devices.metadata(A, "D") is None
    assert devices.ids(A) == ["D1"]
    assert devices.list_version(A) == 3
    upto = store.globals.current_count()
    assert store.to_device.events_since(A, "D", 0, upto) == []
    assert len(store.to_device.events_since(A, "D1", 0, upto)) == 1
    assert not devices.remove(A, "D")
    assert devices.list_version(A) == 3


def test_metadata(devices):
    devices.create(A, "D1", "token1", "Phone")
    devices.update_metadata(A, "D1", {"display_name": "Tablet"})
    assert devices.metadata(A, "D1") == {"device_id": "D1", "display_name": "Tablet"}
    assert devices.list_version(A) == 2
    with pytest.raises(InvalidArgumentError, match="no device"):
        devices.update_metadata(A, "D2", {})
    with pytest.raises(InvalidArgumentError, match="object"):
        devices.update_metadata(A, "D1", None)


def test_last_seen_does_not_bring_a_device_back(devices):
    devices.create(A, "D1", "token1")
    devices.set_last_seen({(A, "D1"): 5, (A, "gone"): 6})
    assert devices.metadata(A, "D1")["last_seen_ts"] == 5
    assert devices.ids(A) == ["D1"]


def test_device_ids_of_any_length_come_back_whole(devices):
    devices.create(A, LONG, "token1")
    devices.create(A, LONG + "x", "token2")
    assert sorted(devices.ids(A)) == [LONG, LONG + "x"]
    assert devices.find_from_token("token1") == (A, LONG)
    assert devices.find_from_token("t" * 3_000) is None
    assert devices.remove(A, LONG)
    assert devices.ids(A) == [LONG + "x"]


def fill(store, device, user=A):
    """A row in every tree that has devices in its keys or values."""
    store.devices.create(user, device, f"token of {device}", expires_s=1 << 40)
    store.to_device.queue(B, user, device, "t", {})
    store.keys.add_device_keys(user, device, {"device_id": device})
    store.one_time_keys.add(user, device, {"x:1": {}})
    store.one_time_keys.add_fallback(user, device, "x:2", {})
    store.refresh_tokens.set(user, device, f"1 {device:.9}")
    store.refresh_tokens.spend(f"1 {device:.9}", f"2 {device:.9}")
    store.rooms.lazy_loading.witness(user, device, "!r:one.test", [B], since=0, token=1)
    store.pushers.set(user, {"pushkey": f"key of {device}"}, device)
    store.transaction_ids.record(user, device, "m1", "$event", 5)
    store.uiaa.update_session(user, device, "s", {}, 5)
    store.uiaa.set_request(user, device, "s", {})


def naming_devices():
    """The trees with devices in their keys or values, by the schema."""
    shapes = {name: (tree.key, tree.value_shape) for name, tree in TREES.items()}
    fields = {
        name: {field for shape in both if shape is not None for field in shape.fields}
        for name, both in shapes.items()
    }
    # Those whose shape does not say it; what is here is looked for, too.
    hidden = {"keyid_key", "senderkey_pusher", "senderkey_deviceid"}
    return {name for name in TREES if "device" in fields[name]} | hidden


@pytest.mark.parametrize("names", [("GONE", "STAYS"), ("G" * 300, "S" * 300)])
def test_no_row_of_any_tree_names_a_device_that_is_gone(store, devices, rows, names):
    gone, stays = names
    for device in names:
        fill(store, device)

    def naming(device):
        wanted = fold(device).encode(), device.encode()
        return {
            (name, key, value)
            for name, tree in rows().items()
            for key, value in tree
            if any(text in key + value for text in wanted)
        }

    kept = naming(stays)
    assert {name for name, _, _ in naming(gone)} == naming_devices()
    assert devices.remove(A, gone)
    assert naming(gone) == set()
    assert naming(stays) == kept
    assert store.uiaa.request(A, gone, "s") is None


def test_a_device_that_is_a_device_has_an_id(devices, rows):
    before = rows()
    for bad in ("", None, 5):
        with pytest.raises(InvalidArgumentError):
            devices.create(A, bad, "token")
    assert rows() == before


# What of a user stays when the account is deactivated, and why.
STAYS = {
    "others see it": (
        "userid_displayname userid_avatarurl userid_blurhash useridprofilekey_value keyid_key "
        "userid_masterkeyid userid_selfsigningkeyid userid_usersigningkeyid keychangeid_userid "
        "roomuserid_joined userroomid_joined roomuserid_leftcount roomuserid_invitecount "
        "roomuserid_knockcount userroomid_leftstate userroomid_invitestate userroomid_knockstate "
        "roomuseroncejoinedids readreceiptid_readreceipt roomuserthreadid_readreceiptid"
    ),
    "it is the account, or decided by an admin": (
        "userid_password userid_origin userid_suspended userid_locked userid_logindisabled "
        "userid_erased userid_devicelistversion userid_lastonetimekeyupdate remoteuserid_remoteuser"
    ),
    "it goes with account_data.erase_user": (
        "roomuserdataid_accountdata roomusertype_roomuserdataid"
    ),
    "it goes with key_backups.delete": (
        "backupid_algorithm backupid_etag backupid_keystotal backupkeyid_backup"
    ),
    "it goes with the room": (
        "roomuserid_privateread roomuserid_lastprivatereadupdate roomuserthreadid_privateread "
        "userroomid_notificationcount userroomid_highlightcount userroomthreadid_notificationcount "
        "userroomthreadid_highlightcount roomuserid_lastnotificationread"
    ),
}


def test_what_only_a_login_is_good_for_goes_with_the_account(store, devices, rows):
    """Every tree of users is emptied, or has its reason not to be."""
    leaver = "@leaver:one.test"
    store.users.create(leaver, "hash")
    fill(store, "GONE", leaver)
    store.dehydrated_devices.set(leaver, "DRY", {})
    store.tokens.create_openid(leaver)
    store.tokens.create_login(leaver)
    store.filters.create(leaver, {})
    store.pushers.set(leaver, {"pushkey": "of no device"})
    store.transaction_ids.record(leaver, None, "m1", "$event", 5)
    store.uiaa.update_session(leaver, "", "s", {}, 5)
    store.media.pending.reserve(Mxc("one.test", "1"), leaver, 5)
    store.presence.update(leaver, Presence("online"))

    def naming():
        return {
            name
            for name, tree in rows().items()
            for key, value in tree
            if leaver.encode() in key + value
        }

    before = naming()
    by_user = {
        name
        for name, tree in TREES.items()
        if "user" in tree.key.fields or (tree.value_shape and "user" in tree.value_shape.fields)
    }
    stays = {name for names in STAYS.values() for name in names.split()}
    assert by_user - stays <= before
    store.users.deactivate(leaver)
    assert naming() <= stays
