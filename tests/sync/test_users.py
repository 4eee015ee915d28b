"""What a sync tells of others: whom a room is called by, whose devices to ask for, who is there."""

import pytest
from scenes import OTHER, ROOM, A, B, C, Device

from conduitstore.parts.presence import Presence
from conduitstore.sync import Summary

MANY = [f"@m{number}:one.test" for number in range(7)]


@pytest.fixture
def client(store):
    return Device(store, A)


# Summaries --------------------------------------------------------------------------------------


def summary(answer, room=ROOM):
    return answer.joined[room].summary


def test_a_room_without_a_name_is_called_by_the_first_to_come(store, scene, client):
    scene.join(A, *MANY[::-1])
    assert summary(client.sync()) == Summary(8, 0, MANY[:1:-1])
    scene.say(B)
    assert summary(client.sync()) is None
    scene.member(MANY[6], "join", displayname="A new name is no new member")
    assert summary(client.sync()) is None
    scene.member(MANY[6], "leave")
    scene.member(B, "invite", sender=A)
    assert summary(client.sync()) == Summary(7, 1, [*MANY[5:0:-1]])
    scene.state(A, "m.room.canonical_alias", {"alias": "#a:one.test"})
    assert summary(client.sync()) == Summary(7, 1, None)
    scene.state(A, "m.room.canonical_alias", {})
    assert summary(client.sync()) == Summary(7, 1, [*MANY[5:0:-1]])


def test_an_empty_room_is_called_by_those_who_were_there(store, scene, client):
    scene.join(A, B, C)
    scene.member(C, "ban", sender=A)
    scene.member(B, "leave")
    store.rooms.members.forget(B, ROOM)
    assert summary(client.sync()) == Summary(1, 0, [C, B])


def test_heroes_come_with_their_member_events(store, scene):
    lazy = Device(store, A, lazy_members=True, timeline_limit=1)
    scene.join(A, B, C)
    scene.say(A)
    answer = lazy.sync()
    assert [e.pdu["state_key"] for e in answer.joined[ROOM].state] == [A, B, C]


# Device lists -----------------------------------------------------------------------------------


def lists(answer):
    return answer.device_lists.changed, answer.device_lists.left


def test_new_keys_are_told_in_encrypted_rooms(store, scene, client):
    scene.join(A, B, C)
    scene.encrypt()
    scene.join(A, C, room=OTHER)
    assert lists(client.sync()) == (set(), set())
    for user in (A, B):
        store.key_changes.mark(user)
    assert lists(client.sync()) == ({A, B}, set())
    scene.member(B, "join", displayname="Bea")
    assert lists(client.sync()) == (set(), set())


def test_who_comes_to_an_encrypted_room_is_told_and_who_leaves_the_last(store, scene, client):
    for room in (ROOM, OTHER):
        scene.join(A, C, room=room)
        scene.encrypt(room)
    client.sync()
    scene.join(B)
    assert lists(client.sync()) == ({B}, set())
    store.key_changes.mark(B)
    scene.member(C, "leave")
    scene.member(B, "leave")
    assert lists(client.sync()) == (set(), {B})  # C is in the other room still.
    scene.member(C, "ban", OTHER, sender=A)
    assert lists(client.sync()) == (set(), {C})


def test_a_room_that_is_encrypted_only_now(store, scene, client):
    scene.join(A, B)
    client.sync()
    scene.join(C)
    assert lists(client.sync()) == (set(), set())
    scene.encrypt()
    assert lists(client.sync()) == ({B, C}, set())


def test_the_user_comes_and_leaves(store, scene, client):
    scene.join(B, C)
    scene.encrypt()
    client.sync()
    scene.join(A)
    assert lists(client.sync()) == ({B, C}, set())
    scene.member(B, "leave")
    scene.member(A, "leave")
    assert lists(client.sync()) == (set(), {B, C})
    scene.join(A)
    assert lists(client.sync()) == ({C}, set())


def test_the_user_leaves_and_comes_back_between_two_syncs(store, scene, client):
    scene.join(A, B, C)
    scene.encrypt()
    client.sync()
    scene.member(A, "leave")
    scene.member(B, "leave")
    scene.join(A)
    assert lists(client.sync()) == ({C}, {B})


def test_who_leaves_after_the_user_left_is_told_too(store, scene, client):
    scene.join(A, B, C)
    scene.encrypt()
    client.sync()
    scene.member(A, "leave")
    scene.member(B, "leave")
    assert lists(client.sync()) == (set(), {B, C})


# Presence, typing, one-time keys ----------------------------------------------------------------


def test_presence_of_whom_a_room_is_shared_with(store, scene, client):
    scene.join(A, B)
    scene.join(C, room=OTHER)
    client.sync()
    for user in (A, B, C):
        store.presence.update(user, Presence("online"))
    assert client.ask(presence=False).presence == []
    assert [change.user for change in client.sync().presence] == [A, B]
    assert not client.sync()


def test_who_types(store, scene, client):
    scene.join(A, B)
    assert client.sync().joined[ROOM].typing is None
    store.typing.add(B, ROOM, 30_000)
    assert client.sync().joined[ROOM].typing == [B]
    assert not client.sync()
    store.typing.remove(B, ROOM)
    assert client.sync().joined[ROOM].typing == []
    assert Device(store, A).sync().joined[ROOM].typing is None
    store.typing.add(B, ROOM, 30_000)
    assert Device(store, A).sync().joined[ROOM].typing == [B]


def test_one_time_keys_that_were_used_are_news(store, client):
    store.users.create(A, None)
    store.devices.create(A, "D", "token")
    store.one_time_keys.add(A, "D", {f"curve25519:{n}": "key" for n in "ab"})
    store.one_time_keys.add_fallback(A, "D", "curve25519:f", "key")
    answer = client.sync()
    assert answer.one_time_keys == {"curve25519": 2}
    assert answer.unused_fallback_algorithms == ["curve25519"]
    assert not client.sync()
    for _ in range(3):
        store.one_time_keys.claim(A, "D", "curve25519")
    answer = client.sync()
    assert answer
    assert (answer.one_time_keys, answer.unused_fallback_algorithms) == ({}, [])


def test_private_markers_of_threads_are_told(store, scene, client):
    scene.join(A)
    root = scene.say(A)
    position = store.rooms.timeline.position(root)
    client.sync()
    store.rooms.receipts.set_private_read(A, ROOM, position, thread=root)
    (marker,) = client.sync().joined[ROOM].private_reads
    assert (marker.thread, marker.read_upto) == (root, position)
    assert not client.sync()
