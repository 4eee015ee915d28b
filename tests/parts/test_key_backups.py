"""Backups of room keys: versions, etags, exact deletes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import CorruptedError, InvalidArgumentError
from conduitstore.parts.key_backups import is_better

A, AA, ROOM, OTHER = "@a:one.test", "@a:one.tests", "!r:one.test", "!r:one.tests"
ALGORITHM = {
    "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
    "auth_data": {"public_key": "x"},
}
TREES = ["backupid_algorithm", "backupid_etag", "backupid_keystotal", "backupkeyid_backup"]


def data(index=0, **fields):
    return {
        "first_message_index": index,
        "forwarded_count": 0,
        "is_verified": False,
        "session_data": {"ciphertext": "c"},
    } | fields


@pytest.fixture
def backups(store):
    return store.key_backups


def rows_of(store):
    return {name: len(store.db.open_tree(name)) for name in TREES}


def test_a_backup_from_beginning_to_end(store, backups):
    assert backups.latest_version(A) is None
    assert backups.latest(A) is None
    version = backups.create(A, ALGORITHM)
    assert backups.latest(A) == (version, ALGORITHM)
    assert backups.latest(AA) is None
    assert backups.algorithm(A, version) == ALGORITHM
    assert backups.total(A, version) == 0
    etag = backups.etag(A, version)
    backups.update(A, version, {"algorithm": "other"})
    assert backups.algorithm(A, version) == {"algorithm": "other"}
    assert backups.etag(A, version) != etag
    backups.add_keys(A, version, {ROOM: {"s": data()}})
    assert backups.delete(A, version)
    assert not backups.delete(A, version)
    assert backups.latest_version(A) is backups.etag(A, version) is None
    assert backups.algorithm(A, version) is None
    assert rows_of(store) == dict.fromkeys(TREES, 0)


def test_defect_05_versions_are_numbers(store, backups):
    store.transaction(lambda tx: [tx.globals.next_count() for _ in range(97)])
    versions = [backups.create(A, {"n": n}) for n in range(4)]
    assert versions == ["98", "99", "100", "101"]
    assert backups.latest(A) == ("101", {"n": 3})
    backups.delete(A, "101")
    assert backups.latest_version(A) == "100"


def test_defect_05_every_change_changes_the_etag(backups):
    version = backups.create(A, ALGORITHM)
    etags = [backups.etag(A, version)]

    def changed():
        etags.append(backups.etag(A, version))
        return etags[-1] != etags[-2]

    backups.add_keys(A, version, {ROOM: {"s": data(), "t": data()}, OTHER: {"s": data()}})
    assert changed()
    backups.add_keys(A, version, {ROOM: {"s": data()}}, only_better=True)
    backups.add_keys(A, version, {ROOM: {}})
    backups.delete_keys(A, version, "!unknown:x")
    assert not changed()
    backups.delete_keys(A, version, ROOM, "s")
    assert changed()
    backups.delete_keys(A, version, ROOM)
    assert changed()
    backups.delete_keys(A, version)
    assert changed()
    backups.delete_keys(A, version)
    assert not changed()
    assert len(set(etags)) == 5


def test_defect_02_neighbours_are_left_alone(store, backups):
    versions = [backups.create(A, ALGORITHM) for _ in range(12)]
    assert versions[0] == "1"
    for version in versions:
        backups.add_keys(A, version, {ROOM: {"s": data(), "s1": data()}, OTHER: {"s": data()}})
    assert backups.total(A, "1") == 3
    assert backups.delete_keys(A, "1", ROOM, "s") == 1
    assert backups.room_keys(A, "1", ROOM) == {"s1": data()}
    assert backups.delete_keys(A, "1", ROOM) == 1
    assert backups.all_keys(A, "1") == {OTHER: {"s": data()}}
    assert backups.delete_keys(A, "1") == 1
    assert backups.all_keys(A, "1") == {}
    assert backups.total(A, "1") == 0
    backups.delete(A, "1")
    assert [backups.total(A, version) for version in versions[1:]] == [3] * 11
    kept = {ROOM: {"s": data(), "s1": data()}, OTHER: {"s": data()}}
    assert all(backups.all_keys(A, version) == kept for version in versions[1:])


def test_keys_come_back_as_they_were(backups):
    version = backups.create(A, ALGORITHM)
    keys = {ROOM: {"s": data(1), "t/+=": data(2)}, OTHER: {"s": data(3, extra=[None])}}
    assert backups.add_keys(A, version, keys) == 3
    assert backups.all_keys(A, version) == keys
    assert backups.room_keys(A, version, ROOM) == keys[ROOM]
    assert backups.key(A, version, OTHER, "s") == keys[OTHER]["s"]
    assert backups.key(A, version, OTHER, "t/+=") is None
    assert backups.key(AA, version, ROOM, "s") is None
    assert backups.add_keys(A, version, {ROOM: {"s": data(9)}}) == 1
    assert backups.key(A, version, ROOM, "s") == data(9)
    assert backups.total(A, version) == 3


def test_better_keys_win_where_that_is_asked_for(backups):
    version = backups.create(A, ALGORITHM)
    backups.add_keys(A, version, {ROOM: {"s": data(5)}})
    better = {ROOM: {"s": data(6), "t": data(6)}}
    assert backups.add_keys(A, version, better, only_better=True) == 1
    assert backups.room_keys(A, version, ROOM) == {"s": data(5), "t": data(6)}
    assert backups.add_keys(A, version, {ROOM: {"s": data(4)}}, only_better=True) == 1
    assert backups.key(A, version, ROOM, "s") == data(4)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (data(), data(), False),
        (data(9, is_verified=True), data(0), True),
        (data(0), data(9, is_verified=True), False),
        (data(1), data(2), True),
        (data(2), data(1), False),
        (data(1, forwarded_count=1), data(1, forwarded_count=2), True),
        (data(1, forwarded_count=2), data(1, forwarded_count=1), False),
        (data(1, forwarded_count=9), data(2), True),
        ({}, data(), False),
        (data(), {}, True),
        (data("0", is_verified="yes"), data(True), False),
    ],
)
def test_which_key_is_better(new, old, expected):
    assert is_better(new, old) is expected


@pytest.mark.parametrize(
    "bad", [None, [], {ROOM: None}, {ROOM: ["s"]}, {ROOM: {"s": []}}, {ROOM: {"": {}}}, {"": {}}]
)
def test_what_is_no_key(backups, rows, bad):
    version = backups.create(A, ALGORITHM)
    before = rows()
    if bad != {"": {}}:
        with pytest.raises(InvalidArgumentError):
            backups.add_keys(A, version, {OTHER: {"fine": {}}} | bad if bad else bad)
    for call in (
        lambda: backups.add_keys(A, "77", {}),
        lambda: backups.add_keys(A, "", {}),
        lambda: backups.update(A, "77", {}),
        lambda: backups.update(A, version, []),
        lambda: backups.create(A, None),
        lambda: backups.create("", {}),
        lambda: backups.delete_keys(A, version, None, "s"),
        lambda: backups.delete_keys(A, version, "", "s"),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before


def test_versions_that_nobody_gave_out(store, backups):
    for version in ("", "x", "9" * 400, "-1"):
        assert backups.algorithm(A, version) is backups.etag(A, version) is None
        assert backups.all_keys(A, version) == {}
        assert not backups.delete(A, version)
    store.db.open_tree("backupid_algorithm").insert(b"@a:one.test\xffx", b"{}")
    with pytest.raises(CorruptedError, match="no version"):
        backups.latest_version(A)


STEPS = st.tuples(
    st.sampled_from(["add", "better", "session", "room", "all"]),
    st.sampled_from([0, 1]),
    st.sampled_from([ROOM, OTHER]),
    st.sampled_from(["s", "s1"]),
    st.integers(0, 3),
)


@given(st.lists(STEPS, max_size=30))
def test_two_backups_are_two_dictionaries(steps):
    model = [{}, {}]
    with conduitstore.open(":memory:") as store:
        backups = store.key_backups
        versions = [backups.create(A, {}), backups.create(A, {})]
        for step, which, room, session, index in steps:
            version, keys = versions[which], model[which]
            before, etag = dict(keys), backups.etag(A, version)
            if step in ("add", "better"):
                new = {room: {session: data(index)}}
                is_kept = step == "add" or data(index) != keys.get((room, session))
                backups.add_keys(A, version, new, only_better=step == "better")
                old = keys.get((room, session))
                if step == "add" or old is None or index < old["first_message_index"]:
                    keys[room, session] = data(index)
                else:
                    is_kept = False
            else:
                scope = {"session": (room, session), "room": (room,), "all": ()}[step]
                gone = [key for key in keys if key[: len(scope)] == scope]
                assert backups.delete_keys(A, version, *scope) == len(gone)
                is_kept = bool(gone)
                for key in gone:
                    del keys[key]
            assert (backups.etag(A, version) != etag) == is_kept
            assert is_kept or keys == before
            for each, rows in zip(versions, model, strict=True):
                assert backups.total(A, each) == len(rows)
                found = backups.all_keys(A, each)
                assert {(r, s): d for r, of in found.items() for s, d in of.items()} == rows
