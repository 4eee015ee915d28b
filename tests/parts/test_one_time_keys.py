"""One-time keys are handed out once; fallback keys when there is none."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError
from conduitstore.parts.one_time_keys import ONE_TIME_KEYS_MAX, ClaimedKey

A, B = "@a:one.test", "@b:one.test"
CURVE, SIGNED = "curve25519", "signed_curve25519"
LONG = "D" * 300


def named(*names, algorithm=SIGNED):
    return {f"{algorithm}:{name}": {"key": name} for name in names}


@pytest.fixture
def keys(store):
    for user in (A, B):
        store.users.create(user, None)
        for device in ("D", "DD", LONG):
            store.devices.create(user, device, f"token {user} {device}")
    return store.one_time_keys


def recorded(name):
    """Answers of a real homeserver, in a folder beside the repository or above it."""
    place = Path("shared/corpora/third-party/rust-sdk-keys", name)
    for folder in Path(__file__).resolve().parents:
        if (folder / place).exists():
            return json.loads((folder / place).read_text())
    pytest.skip(f"the recorded keys ({place}) are not on this machine")
    return None


def rows_of(store):
    return sum(len(store.db.open_tree(name)) for name in TREES)


TREES = ["onetimekeyid_onetimekeys", "onetimekeyuploads", "userdeviceidalgorithm_fallback"]


def test_keys_come_in_the_order_of_their_upload(store, keys):
    keys.add(A, "D", named("b", "a"))
    keys.add(A, "D", named("0"))
    keys.add(A, "D", {f"{CURVE}:x": "plain"})
    assert keys.counts(A, "D") == {SIGNED: 3, CURVE: 1}
    claimed = [keys.claim(A, "D", SIGNED) for _ in range(3)]
    assert [key.key_id for key in claimed] == [f"{SIGNED}:{name}" for name in "ab0"]
    assert claimed[0] == ClaimedKey(f"{SIGNED}:a", {"key": "a"}, is_fallback=False)
    assert keys.claim(A, "D", SIGNED) is None
    assert keys.claim(A, "D", CURVE).key == "plain"
    assert keys.claim(B, "D", SIGNED) is None
    assert keys.counts(A, "D") == {}
    assert rows_of(store) == 0


def test_the_bytes_of_a_row_are_conduits(store, keys):
    keys.add(A, "D", named("AAAA"))
    row = b'@a:one.test\xffD\xff"signed_curve25519:AAAA"'
    assert store.db.open_tree("onetimekeyid_onetimekeys").get(row) == b'{"key":"AAAA"}'


def test_the_same_id_again_keeps_its_turn(store, keys):
    keys.add(A, "D", named("a"))
    keys.add(A, "D", named("b"))
    keys.add(A, "D", {f"{SIGNED}:a": {"key": "new"}})
    assert keys.counts(A, "D") == {SIGNED: 2}
    assert keys.claim(A, "D", SIGNED).key == {"key": "new"}


def test_defect_02_devices_whose_names_begin_alike_are_counted_apart(keys):
    keys.add(A, "D", named("a"))
    keys.add(A, "DD", named("b", "c"))
    keys.add(A, "D", named("d", algorithm="signed"))
    assert keys.counts(A, "D") == {SIGNED: 1, "signed": 1}
    assert keys.counts(A, "DD") == {SIGNED: 2}
    assert keys.claim(A, "D", "signed").key == {"key": "d"}
    assert keys.claim(A, "D", "signed") is None


def test_defect_12_a_key_is_claimed_once(store, keys):
    """Eight threads claim at once, while a ninth uploads."""
    total, claimers = 60, 4
    keys.add(A, "D", named(*(f"{n:03}" for n in range(total // 2))))
    claimed, lock, start = [], threading.Lock(), threading.Barrier(claimers + 1)
    uploaded = threading.Event()

    def claim():
        start.wait()
        while True:
            is_last = uploaded.is_set()
            key = keys.claim(A, "D", SIGNED)
            with lock:
                claimed.extend([key] if key else [])
            if key is None and is_last:
                return

    threads = [threading.Thread(target=claim) for _ in range(claimers)]
    for thread in threads:
        thread.start()
    start.wait()
    for n in range(total // 2, total):
        keys.add(A, "D", named(f"{n:03}"))
    uploaded.set()
    for thread in threads:
        thread.join()
    assert sorted(key.key_id for key in claimed) == [f"{SIGNED}:{n:03}" for n in range(total)]
    assert rows_of(store) == 0


def test_defect_12_a_device_has_a_bounded_number_of_keys(store, keys):
    keys.add(A, "D", named("first"))
    keys.add(A, "D", named("x", algorithm=CURVE))
    keys.add(A, "D", named(*(f"{n:03}" for n in range(ONE_TIME_KEYS_MAX + 5))))
    assert keys.counts(A, "D") == {SIGNED: ONE_TIME_KEYS_MAX, CURVE: 1}
    assert keys.claim(A, "D", SIGNED).key_id == f"{SIGNED}:005"
    assert keys.prune(A, "D", 10) == ONE_TIME_KEYS_MAX - 1 - 10
    assert keys.prune(A, "D", 10) == 0
    assert keys.counts(A, "D") == {SIGNED: 10, CURVE: 1}
    assert rows_of(store) == 22
    for bad in (-1, None, True, "1"):
        with pytest.raises(InvalidArgumentError):
            keys.prune(A, "D", bad)


def test_defect_12_keys_go_with_the_device(store, keys):
    for device in ("D", "DD", LONG):
        keys.add(A, device, named("a", "b"))
        keys.add_fallback(A, device, f"{SIGNED}:f", {})
    assert keys.claim(A, LONG, SIGNED).key_id == f"{SIGNED}:a"
    store.devices.remove(A, "D")
    assert keys.counts(A, "D") == {}
    assert keys.claim(A, "D", SIGNED) is None
    assert keys.counts(A, "DD") == {SIGNED: 2}
    store.devices.remove(A, LONG)
    store.devices.remove(A, "DD")
    assert rows_of(store) == 0
    with pytest.raises(InvalidArgumentError, match="no device"):
        keys.add(A, "D", named("a"))
    with pytest.raises(InvalidArgumentError, match="no device"):
        keys.add_fallback(A, "D", f"{SIGNED}:a", {})


def test_updates_are_told_where_something_changed(store, keys):
    assert keys.last_update(A) == 0
    keys.add(A, "D", named("a", "b"))
    first = keys.last_update(A)
    assert first == store.globals.current_count() == 1
    assert keys.last_update(B) == 0
    keys.add(A, "D", {})
    assert keys.last_update(A) == first
    keys.claim(A, "D", SIGNED)
    assert keys.last_update(A) == first + 1
    keys.claim(A, "D", CURVE)
    assert keys.last_update(A) == store.globals.current_count() == first + 1


def test_claiming_many_is_one_commit(store, keys):
    for user in (A, B):
        keys.add(user, "D", named("a", "b"))
    before, count = store.db.sequence, store.globals.current_count()
    wanted = [(A, "D", SIGNED), (B, "D", SIGNED), (A, "D", SIGNED), (A, "D", SIGNED), (B, "E", "x")]
    claimed = keys.claim_many(wanted)
    assert [key and key.key["key"] for key in claimed] == ["a", "a", "b", None, None]
    assert store.db.sequence == before + 1
    assert keys.last_update(A) == keys.last_update(B) == count + 1
    assert keys.claim_many([]) == []


def test_fallback_keys(keys):
    assert keys.unused_fallback_algorithms(A, "D") == []
    keys.add_fallback(A, "D", f"{SIGNED}:f", {"key": "f"})
    keys.add_fallback(A, "D", f"{CURVE}:g", "g")
    keys.add(A, "D", named("a"))
    assert keys.unused_fallback_algorithms(A, "D") == [CURVE, SIGNED]
    assert not keys.claim(A, "D", SIGNED).is_fallback
    fallback = ClaimedKey(f"{SIGNED}:f", {"key": "f"}, is_fallback=True)
    updated = keys.last_update(A)
    assert keys.claim_many([(A, "D", SIGNED)] * 2) == [fallback, fallback]
    assert keys.unused_fallback_algorithms(A, "D") == [CURVE]
    assert keys.last_update(A) == updated + 1
    assert keys.claim(A, "D", SIGNED) == fallback
    assert keys.last_update(A) == updated + 1
    keys.add_fallback(A, "D", f"{SIGNED}:f", {"key": "f"})
    assert keys.unused_fallback_algorithms(A, "D") == [CURVE]
    keys.add_fallback(A, "D", f"{SIGNED}:h", {"key": "h"})
    assert keys.unused_fallback_algorithms(A, "D") == [CURVE, SIGNED]
    assert keys.claim(A, "D", SIGNED).key_id == f"{SIGNED}:h"


@pytest.mark.parametrize(
    "bad",
    [
        {"": {}},
        {"noname": {}},
        {":x": {}},
        {"x:": {}},
        {"a:\ud800": {}},
        {"a:" + "x" * 300: {}},
        {"a" * 250 + ":x\n\n\n\n\n": {}},
        {5: {}},
        {"a:x": None},
        {"a:x": [1]},
        {"a:x": {"y": float("nan")}},
        [("a:x", {})],
        None,
    ],
)
def test_what_is_no_key(keys, rows, bad):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        keys.add(A, "D", bad)
    if isinstance(bad, dict):
        ((key_id, key),) = bad.items()
        with pytest.raises(InvalidArgumentError):
            keys.add_fallback(A, "D", key_id, key)
        with pytest.raises(InvalidArgumentError):
            keys.add(A, "D", {"a:fine": {}} | bad)
    assert rows() == before


def test_names_that_json_writes_differently(store, keys):
    names = ['"', "\\", "é", "a:b", "\x00", "\x7f"]
    keys.add(A, "D", named(*names))
    claimed = [keys.claim(A, "D", SIGNED).key["key"] for _ in names]
    assert claimed == sorted(names)
    assert rows_of(store) == 0


UPLOADS = st.tuples(
    st.sampled_from(["D", "DD"]),
    st.sampled_from(["x", "xy"]),
    st.lists(st.sampled_from("abcdef"), max_size=4, unique=True),
)
CLAIMS = st.tuples(st.sampled_from(["D", "DD"]), st.sampled_from(["x", "xy"]))


@given(st.lists(UPLOADS | CLAIMS | st.sampled_from(["D", "DD"]), max_size=30))
def test_queues_of_keys(steps):
    """Uploads, claims and removed devices, beside dictionaries that keep their order."""
    model = {}
    with conduitstore.open(":memory:") as store:
        store.users.create(A, None)
        for device in ("D", "DD"):
            store.devices.create(A, device, f"token {device}")
        for step in steps:
            if isinstance(step, str):
                store.one_time_keys.forget_device(A, step)
                model = {place: queue for place, queue in model.items() if place[0] != step}
            elif len(step) == 3:
                device, algorithm, names = step
                store.one_time_keys.add(A, device, named(*names, algorithm=algorithm))
                queue = model.setdefault((device, algorithm), [])
                queue += sorted(set(names) - set(queue))
            else:
                queue = model.get(step, [])
                found = store.one_time_keys.claim(A, *step)
                expected = f"{step[1]}:{queue.pop(0)}" if queue else None
                assert (found and found.key_id) == expected
            for device in ("D", "DD"):
                counts = {a: len(q) for (d, a), q in model.items() if d == device and q}
                assert store.one_time_keys.counts(A, device) == counts


def test_recorded_keys_are_claimed_as_they_were_uploaded(store):
    """Every key that a real server handed out is stored here and handed out again."""
    answer = recorded("keys_claim.json")["one_time_keys"]
    wanted, expected = [], []
    for user, devices in answer.items():
        store.users.create(user, None)
        for device, keys in devices.items():
            store.devices.create(user, device, f"{user} {device}")
            store.one_time_keys.add(user, device, keys)
            ((key_id, key),) = keys.items()
            wanted.append((user, device, key_id.partition(":")[0]))
            expected.append(ClaimedKey(key_id, key, is_fallback=False))
    assert len(expected) == 163
    assert store.one_time_keys.claim_many(wanted) == expected
    assert store.one_time_keys.claim_many(wanted) == [None] * 163


@pytest.mark.parametrize(
    ("name", "devices_total"), [("keys_query.json", 150), ("keys_query_2000_members.json", None)]
)
def test_recorded_keys_are_stored_whole(store, name, devices_total):
    answer = recorded(name)
    asked = [(user, device) for user, keys in answer["device_keys"].items() for device in keys]
    assert devices_total in (None, len(asked))

    def upload(tx):
        for user in {user for user, _ in asked}:
            tx.users.create(user, None)
        for user, device in asked:
            tx.devices.create(user, device, f"{user} {device}")
            tx.keys.add_device_keys(user, device, answer["device_keys"][user][device])
        for user, master in answer["master_keys"].items():
            others = [answer[f"{role}_keys"].get(user) for role in ("self_signing", "user_signing")]
            tx.keys.add_cross_signing_keys(user, master, *others)

    store.transaction(upload)
    with store.snapshot() as view:
        stored = view.keys.device_keys_many(asked)
        assert stored == [answer["device_keys"][user][device] for user, device in asked]
        for user, master in answer["master_keys"].items():
            assert view.keys.master_key(user, lambda _: True) == master
            assert view.keys.self_signing_key(user) == answer["self_signing_keys"].get(user)
            assert view.keys.user_signing_key(user) == answer["user_signing_keys"].get(user)
