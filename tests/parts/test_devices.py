"""Devices and tokens."""

import pytest

from conduitstore import InvalidArgumentError

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


def test_no_row_of_any_tree_names_a_device_that_is_gone(store, devices, rows):
    """Whatever a part keeps for a device is made here; what is added later belongs in here too."""
    for device in ("GONE", "STAYS"):
        devices.create(A, device, f"token of {device}", expires_s=1 << 40)
        store.to_device.queue(B, A, device, "t", {})
        store.keys.add_device_keys(A, device, {"device_id": device})
        store.one_time_keys.add(A, device, {"x:1": {}})
        store.one_time_keys.add_fallback(A, device, "x:2", {})
        store.refresh_tokens.set(A, device, f"1 {device}")
        store.refresh_tokens.spend(f"1 {device}", f"2 {device}")
        store.rooms.lazy_loading.witness(A, device, "!r:one.test", [B], since=0, token=1)

    def naming(device):
        return {
            (name, key, value)
            for name, tree in rows().items()
            for key, value in tree
            if device in key + value
        }

    stays = naming(b"STAYS")
    assert len({name for name, _, _ in naming(b"GONE")}) == 15
    assert devices.remove(A, "GONE")
    assert naming(b"GONE") == set()
    assert naming(b"STAYS") == stays
