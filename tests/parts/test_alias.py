"""Aliases: what stands for a room, and what the room says of it, never part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError

A, B, ROOM, OTHER = "@a:one.test", "@b:one.test", "!r:one.test", "!r:one.test2"
TEA, TEE = "#tea:one.test", "#tee:one.test"


def test_setting_and_finding(store):
    alias = store.rooms.alias
    alias.set(TEE, ROOM, A)
    alias.set(TEA, ROOM, B)
    assert alias.resolve(TEA) == alias.resolve(TEE) == ROOM
    assert (alias.creator(TEA), alias.creator(TEE)) == (B, A)
    assert alias.of_room(ROOM) == [TEE, TEA]
    assert alias.of_room(OTHER) == []
    assert alias.all() == [(TEE, ROOM), (TEA, ROOM)]
    assert alias.resolve("#x:y") is alias.creator("#x:y") is None


def test_the_rows_are_conduits(store):
    store.rooms.alias.set(TEA, ROOM, A)
    count = store.globals.current_count().to_bytes(8)
    assert list(store.db.open_tree("alias_roomid")) == [(b"tea", ROOM.encode())]
    assert list(store.db.open_tree("alias_userid")) == [(b"tea", A.encode())]
    listing = ROOM.encode() + b"\xff" + count
    assert list(store.db.open_tree("aliasid_alias")) == [(listing, TEA.encode())]


def test_defect_04_one_of_two_aliases_goes_alone(store, rows):
    alias = store.rooms.alias
    alias.set(TEE, ROOM, A)
    alias.set(TEA, ROOM, A)
    assert alias.remove(TEE) is True
    assert alias.resolve(TEE) is alias.creator(TEE) is None
    assert alias.of_room(ROOM) == [TEA]
    assert alias.resolve(TEA) == ROOM
    before = rows()
    assert alias.remove(TEE) is False
    assert rows() == before


def test_defect_04_an_alias_that_moves_leaves_no_listing(store):
    alias = store.rooms.alias
    alias.set(TEE, ROOM, A)
    alias.set(TEA, ROOM, A)
    alias.set(TEE, OTHER, B)
    assert alias.resolve(TEE) == OTHER
    assert alias.creator(TEE) == B
    assert alias.of_room(ROOM) == [TEA]
    assert alias.of_room(OTHER) == [TEE]


def test_setting_again_is_no_second_listing(store):
    store.rooms.alias.set(TEA, ROOM, A)
    store.rooms.alias.set(TEA, ROOM, B)
    assert store.rooms.alias.of_room(ROOM) == [TEA]
    assert store.rooms.alias.creator(TEA) == B


@pytest.mark.parametrize("bad", ["", "tea", "#tea", "#:one.test", "#tea:", "@tea:x", "#" * 256, 5])
def test_what_is_no_alias(store, rows, bad):
    before = rows()
    for call in (
        lambda: store.rooms.alias.set(bad, ROOM, A),
        lambda: store.rooms.alias.remove(bad),
        lambda: store.rooms.alias.resolve(bad),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([TEA, TEE, "#te:x"]), st.sampled_from([ROOM, OTHER, None])),
        max_size=25,
    )
)
def test_aliases_against_a_dictionary(steps):
    model = {}  # In the order of listing.
    with conduitstore.open(":memory:") as store:
        alias = store.rooms.alias
        for name, room in steps:
            if room is None:
                assert alias.remove(name) == (model.pop(name, None) is not None)
            else:
                alias.set(name, room, A)
                if model.get(name) != room:
                    model.pop(name, None)
                    model[name] = room
        for name in (TEA, TEE, "#te:x"):
            assert alias.resolve(name) == model.get(name)
        for room in (ROOM, OTHER):
            assert alias.of_room(room) == [name for name, at in model.items() if at == room]
