"""Directory and metadata: which rooms are shown, known, disabled and banned."""

import pytest

from conduitstore import InvalidArgumentError

A, ROOM, OTHER = "@a:one.test", "!r:one.test", "!r:one.test2"


def test_the_directory(store):
    directory = store.rooms.directory
    assert not directory.is_public(ROOM)
    for room in (OTHER, ROOM, "!a:x"):
        directory.set_public(room)
    assert directory.is_public(ROOM)
    assert directory.public_rooms() == ["!a:x", ROOM, OTHER]
    assert directory.public_rooms(2) == ["!a:x", ROOM]
    assert directory.public_rooms(2, ROOM) == [OTHER]
    assert directory.public_rooms(2, OTHER) == []
    assert directory.set_not_public(ROOM) is True
    assert directory.set_not_public(ROOM) is False
    assert not directory.is_public(ROOM)
    assert directory.is_public(OTHER)
    with pytest.raises(InvalidArgumentError):
        directory.public_rooms(0)


def test_a_room_exists_when_there_is_an_event_of_it(store, message):
    metadata = store.rooms.metadata
    assert not metadata.exists(ROOM)
    store.rooms.short.get_or_create_room(ROOM)
    assert not metadata.exists(ROOM)
    assert metadata.all() == [ROOM]
    store.rooms.timeline.prepend_backfilled(message(0), "$0", ROOM)
    assert metadata.exists(ROOM)
    store.rooms.short.get_or_create_room("!a:x")
    assert metadata.all() == ["!a:x", ROOM]


def test_disabled_rooms(store):
    metadata = store.rooms.metadata
    metadata.disable(ROOM)
    assert metadata.is_disabled(ROOM)
    assert not metadata.is_disabled(OTHER)
    assert metadata.enable(ROOM) is True
    assert metadata.enable(ROOM) is False
    assert not metadata.is_disabled(ROOM)


def test_banned_rooms(store, rows):
    metadata = store.rooms.metadata
    metadata.ban(ROOM)
    metadata.ban(OTHER, A)
    assert metadata.is_banned(ROOM)
    assert metadata.banned() == {ROOM: None, OTHER: A}
    assert metadata.unban(ROOM) is True
    assert metadata.unban(ROOM) is False
    assert not metadata.is_banned(ROOM)
    before = rows()
    for moderator in ("", 5, "\ud800"):
        with pytest.raises(InvalidArgumentError):
            metadata.ban(ROOM, moderator)
    assert rows() == before


def test_the_lowest_depth(store):
    metadata = store.rooms.metadata
    assert metadata.min_depth(ROOM) is None
    assert metadata.lower_min_depth(ROOM, 5) is True
    assert metadata.lower_min_depth(ROOM, 5) is False
    assert metadata.lower_min_depth(ROOM, 7) is False
    assert metadata.lower_min_depth(ROOM, 0) is True
    assert metadata.min_depth(ROOM) == 0
    assert metadata.min_depth(OTHER) is None
