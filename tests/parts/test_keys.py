"""Device keys, cross-signing keys, signatures and announcements."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError
from conduitstore.parts.keys import public_key_of

A, B, C, ROOM, OTHER = "@a:one.test", "@b:two.test", "@c:one.test", "!r:one.test", "!o:one.test"
PLAIN = "!plain:one.test"
MASTER, SELF, USER = "M" * 43, "S" * 43, "U" * 43
LONG = "D" * 300


def cross(public_key, usage="master", user=A, **fields):
    return {
        "user_id": user,
        "usage": [usage],
        "keys": {f"ed25519:{public_key}": public_key},
    } | fields


def device_keys(device="D", user=A, **fields):
    return {
        "user_id": user,
        "device_id": device,
        "keys": {f"ed25519:{device}": "x"},
        "signatures": {user: {f"ed25519:{device}": "own"}},
    } | fields


def encrypt(store, room):
    event = {
        "content": {},
        "origin_server_ts": 1,
        "room_id": room,
        "sender": A,
        "state_key": "",
        "type": "m.room.encryption",
    }
    store.rooms.append(event, f"$encryption of {room}", room)


@pytest.fixture
def keys(store):
    for user in (A, B):
        store.users.create(user, None)
        store.devices.create(user, "D", f"token of {user}")
    store.rooms.members.mark_joined(A, ROOM)
    store.rooms.members.mark_joined(B, ROOM)
    store.rooms.members.mark_joined(A, OTHER)
    store.rooms.members.mark_joined(A, PLAIN)
    encrypt(store, ROOM)
    encrypt(store, OTHER)
    return store.keys


def all_rows(store, tree):
    return list(store.db.open_tree(tree))


def test_device_keys(store, keys):
    keys.add_device_keys(A, "D", device_keys())
    store.devices.create(A, LONG, "token2")
    keys.add_device_keys(A, LONG, device_keys(LONG))
    assert keys.device_keys(A, "D") == keys.key(A, "D") == device_keys()
    assert keys.device_keys(A, LONG) == device_keys(LONG)
    assert keys.device_keys(B, "D") is None
    asked = [(B, "D"), (A, LONG), (A, "D")]
    assert keys.device_keys_many(asked) == [None, device_keys(LONG), device_keys()]
    keys.add_device_keys(A, "D", device_keys(algorithms=[]))
    assert keys.device_keys(A, "D")["algorithms"] == []
    assert store.db.open_tree("keyid_key").get(b"@a:one.test\xffD") is not None


def test_keys_of_a_device_that_is_gone_do_not_come_back(store, keys, rows):
    keys.add_device_keys(A, "D", device_keys())
    assert store.devices.remove(A, "D")
    assert keys.device_keys(A, "D") is None
    before = rows()
    with pytest.raises(InvalidArgumentError, match="no device"):
        keys.add_device_keys(A, "D", device_keys())
    assert rows() == before


def test_a_device_that_goes_is_announced_if_it_had_keys(store, keys):
    since = store.globals.current_count()
    store.devices.remove(B, "D")
    assert store.key_changes.since(ROOM, since, store.globals.current_count()) == []
    keys.add_device_keys(A, "D", device_keys())
    since = store.globals.current_count()
    store.devices.remove(A, "D")
    assert store.key_changes.since(ROOM, since, store.globals.current_count()) == [A]
    assert not keys.forget_device(A, "D")


def test_cross_signing_keys(store, keys):
    master, self_signing, user_signing = (
        cross(MASTER),
        cross(SELF, "self_signing"),
        cross(USER, "user_signing"),
    )
    assert keys.master_key(A) is keys.self_signing_key(A) is keys.user_signing_key(A) is None
    keys.add_cross_signing_keys(A, master, self_signing, user_signing)
    assert keys.master_key(A) == keys.key(A, MASTER) == master
    assert keys.self_signing_key(A) == self_signing
    assert keys.user_signing_key(A) == user_signing
    assert keys.master_key(B) is None
    pointer = store.db.open_tree("userid_masterkeyid").get(A.encode())
    assert pointer == A.encode() + b"\xff" + MASTER.encode()


def test_a_replaced_key_goes_and_what_is_not_given_stays(store, keys):
    keys.add_cross_signing_keys(A, cross(MASTER), cross(SELF), cross(USER))
    keys.add_cross_signing_keys(A, cross("N" * 43), None, cross("V" * 43))
    assert keys.key(A, MASTER) is None
    assert keys.self_signing_key(A) == cross(SELF)
    assert keys.user_signing_key(A) == cross("V" * 43)
    assert len(all_rows(store, "keyid_key")) == 3
    # Keys that change places are neither lost nor doubled.
    keys.add_cross_signing_keys(A, cross(SELF), cross("N" * 43))
    assert keys.master_key(A) == cross(SELF)
    assert keys.self_signing_key(A) == cross("N" * 43)
    assert len(all_rows(store, "keyid_key")) == 3


def test_all_three_are_looked_at_before_any_is_written(keys, rows):
    keys.add_cross_signing_keys(A, cross(MASTER), cross(SELF), cross(USER))
    before = rows()
    none, two = {"keys": {}}, {"keys": {"ed25519:a": "X" * 43, "ed25519:b": "Y" * 43}}
    short, padded = cross("X" * 42), cross("X" * 43 + "=")
    wrong = [none, two, short, padded, {}, {"keys": [MASTER]}, {"keys": {"a": 5}}, [], "x", 5]
    for bad in [*wrong, cross("X" * 43, signatures=[]), cross("X" * 43, signatures={A: "x"})]:
        for three in ((bad,), (cross("N" * 43), bad), (cross("N" * 43), cross("O" * 43), bad)):
            with pytest.raises(InvalidArgumentError):
                keys.add_cross_signing_keys(A, *three)
    with pytest.raises(InvalidArgumentError):
        keys.add_cross_signing_keys(A, None)
    assert rows() == before


def test_a_users_keys_are_different_keys(keys, rows):
    keys.add_cross_signing_keys(A, cross(MASTER), cross(SELF), cross(USER))
    before = rows()
    for two in ((cross(SELF),), (cross("N" * 43), cross("N" * 43)), (cross(MASTER), cross(USER))):
        with pytest.raises(InvalidArgumentError, match="differ"):
            keys.add_cross_signing_keys(A, *two)
    assert rows() == before


def test_a_device_named_like_a_public_key_is_not_taken_for_it(store, keys):
    names = [MASTER, MASTER + "=", MASTER + "==", MASTER + "=" * 300]
    for number, name in enumerate(names):
        store.devices.create(A, name, f"token {number}")
        keys.add_device_keys(A, name, device_keys(name))
    assert keys.key(A, MASTER) == device_keys(MASTER)
    keys.add_cross_signing_keys(A, cross(MASTER))
    assert keys.key(A, MASTER) == keys.master_key(A) == cross(MASTER)
    assert [keys.device_keys(A, name) for name in names] == [device_keys(name) for name in names]
    for name in names:
        store.devices.remove(A, name)
    assert keys.master_key(A) == cross(MASTER)
    assert len(all_rows(store, "keyid_key")) == 1


def test_signatures_are_seen_by_whom_they_concern(keys):
    keys.add_cross_signing_keys(A, cross(MASTER), cross(SELF, signatures={A: {"k": "own"}}))
    keys.sign(A, MASTER, B, "ed25519:b", "by b")
    keys.sign(A, MASTER, C, "ed25519:c", "by c")
    keys.sign(A, MASTER, A, "ed25519:a", "by a")
    assert keys.master_key(A)["signatures"] == {A: {"ed25519:a": "by a"}}
    seen_by_b = keys.master_key(A, lambda signer: signer == B)
    assert seen_by_b["signatures"] == {A: {"ed25519:a": "by a"}, B: {"ed25519:b": "by b"}}
    seen_by_one = keys.key(A, MASTER, lambda signer: signer.endswith(":one.test"))
    assert seen_by_one["signatures"].keys() == {A, C}
    assert keys.self_signing_key(A, lambda signer: signer == B)["signatures"] == {A: {"k": "own"}}


def test_signing_keys_of_either_kind(keys, rows):
    keys.add_device_keys(A, "D", device_keys())
    keys.sign(A, "D", A, f"ed25519:{SELF}", "crossed")
    keys.sign(A, "D", A, f"ed25519:{SELF}", "again")
    signed = {A: {"ed25519:D": "own", f"ed25519:{SELF}": "again"}}
    assert keys.device_keys(A, "D")["signatures"] == signed
    before = rows()
    for call in (
        lambda: keys.sign(A, "E", A, "k", "s"),
        lambda: keys.sign(A, MASTER, A, "k", "s"),
        lambda: keys.sign(A, "D", A, "k", 5),
        lambda: keys.sign(A, "D", 5, "k", "s"),
        lambda: keys.sign(A, "D", A, None, "s"),
        lambda: keys.sign(A, "D", "\ud800", "k", "s"),
        lambda: keys.sign(A, 5, A, "k", "s"),
        lambda: keys.sign("", "D", A, "k", "s"),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before


def test_no_signature_is_lost_where_two_sign_at_once(keys):
    keys.add_cross_signing_keys(A, cross(MASTER))
    start = threading.Barrier(4)

    def sign(signer):
        start.wait()
        for number in range(5):
            keys.sign(A, MASTER, f"@{signer}:x", f"ed25519:{number}", "s")

    threads = [threading.Thread(target=sign, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    signatures = keys.master_key(A, lambda _: True)["signatures"]
    assert sum(len(signed) for signed in signatures.values()) == 20


def test_a_change_is_announced_with_one_count(store, keys):
    since = store.globals.current_count()
    count = store.key_changes.mark(A)
    assert count == store.globals.current_count() == since + 1
    for where in (A, ROOM, OTHER):
        assert store.key_changes.since(where, since, count) == [A]
        assert store.key_changes.since(where, count, count) == []
        assert store.key_changes.since(where, 0, since) == []
    assert store.key_changes.since(B, 0, count) == store.key_changes.since(PLAIN, 0, count) == []
    later = store.key_changes.mark(B)
    assert store.key_changes.since(ROOM, since, later) == [A, B]
    assert store.key_changes.since(ROOM, count, later) == [B]
    assert store.key_changes.since_many([A, ROOM, OTHER], since, later) == {A, B}
    assert store.key_changes.since_many([A, OTHER], since, later) == {A}
    assert store.key_changes.since_many([], since, later) == set()


def test_every_change_of_keys_is_announced_once(store, keys):
    def told(change):
        since = store.globals.current_count()
        change()
        upto = store.globals.current_count()
        assert upto <= since + 1
        return store.key_changes.since_many([A, ROOM, OTHER], since, upto)

    assert told(lambda: keys.add_device_keys(A, "D", device_keys())) == {A}
    assert told(lambda: keys.add_cross_signing_keys(A, cross(MASTER))) == {A}
    assert told(lambda: keys.add_cross_signing_keys(A, cross(MASTER), notify=False)) == set()
    assert told(lambda: keys.sign(A, "D", B, "k", "s")) == {A}


def test_defect_19_old_announcements_go(store, keys):
    for _ in range(300):  # Their counts hold FF bytes, too.
        store.key_changes.mark(A)
    count = store.key_changes.mark(B)
    assert len(all_rows(store, "keychangeid_userid")) == 5
    assert store.key_changes.since(ROOM, 0, count) == [A, B]


MOVES = st.sampled_from(["change a", "change b", "leave", "join", "gc", "sync"])


@given(st.lists(MOVES, max_size=30))
def test_a_syncing_neighbour_hears_of_every_change(moves):
    """B syncs on snapshots; A changes keys, comes to ROOM and leaves it."""
    with conduitstore.open(":memory:") as store:
        members = store.rooms.members
        members.mark_joined(A, ROOM)
        members.mark_joined(B, ROOM)
        encrypt(store, ROOM)
        since, is_in, owed = store.globals.current_count(), True, set()
        for move in [*moves, "sync"]:
            if move == "sync":
                with store.snapshot() as view:
                    upto = view.globals.current_count()
                    assert view.key_changes.since_many([B, ROOM], since, upto) == owed
                since, owed = upto, set()
            elif move == "gc":
                store.gc(now_ms=0)
            elif move in ("leave", "join"):
                (members.mark_left if move == "leave" else members.mark_joined)(A, ROOM)
                is_in = move == "join"
            else:
                user = A if move == "change a" else B
                store.key_changes.mark(user)
                owed |= {user} if user == B or is_in else set()


@given(st.lists(st.sampled_from(["change a", "change b", "leave", "join", "gc", "token", "read"])))
def test_windows_that_join_miss_nobody_however_late_they_are_read(moves):
    """B reads without a snapshot, up to a token that was the newest some time ago."""
    with conduitstore.open(":memory:") as store:
        members, current_count = store.rooms.members, store.globals.current_count
        members.mark_joined(A, ROOM)
        members.mark_joined(B, ROOM)
        encrypt(store, ROOM)
        since = upto = current_count()
        is_in, owed = True, set()
        for move in [*moves, "read", "token", "read"]:
            if move == "token":
                upto = current_count()
            elif move == "read":
                owed -= store.key_changes.since_many([B, ROOM], since, upto)
                since = upto
            elif move == "gc":
                store.gc(now_ms=0)
            elif move in ("leave", "join"):
                (members.mark_left if move == "leave" else members.mark_joined)(A, ROOM)
                is_in = move == "join"
            else:
                user = A if move == "change a" else B
                store.key_changes.mark(user)
                owed |= {user} if user == B or is_in else set()
        assert owed == set()


def test_the_public_key_of_an_object():
    assert public_key_of(cross(MASTER)) == MASTER
