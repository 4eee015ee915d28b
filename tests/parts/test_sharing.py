"""Who shares rooms with whom."""

import pytest

from conduitstore import InvalidArgumentError

A, B, C = "@a:one.test", "@b:one.test", "@c:two.test"
ROOM, OTHER, THIRD = "!1:x", "!2:x", "!3:x"


@pytest.fixture
def sharing(store):
    """A in all three rooms, B in the first two, C in the first."""
    for user, rooms in ((A, [ROOM, OTHER, THIRD]), (B, [ROOM, OTHER]), (C, [ROOM])):
        for room in rooms:
            store.rooms.members.mark_joined(user, room)
    return store.rooms.sharing


def test_rooms_that_users_share(sharing):
    assert sharing.shared_rooms([A, B]) == sharing.shared_rooms([B, A, B]) == [ROOM, OTHER]
    assert sharing.shared_rooms([A, B, C]) == [ROOM]
    assert sharing.shared_rooms([A]) == [ROOM, OTHER, THIRD]
    assert sharing.shared_rooms([A, "@nobody:x"]) == []
    assert sharing.shared_rooms([]) == []
    with pytest.raises(InvalidArgumentError, match="a list"):
        sharing.shared_rooms(A)


@pytest.mark.parametrize("users", [A, b"@a:x", None, 5, [[]]])
def test_what_is_no_list_of_users(sharing, users):
    with pytest.raises(InvalidArgumentError):
        sharing.shared_rooms(users)


def test_who_sees_whom(store, sharing):
    assert sharing.user_sees_user(A, C)
    store.rooms.members.mark_left(C, ROOM)
    assert not sharing.user_sees_user(A, C)
    assert sharing.server_sees_user("one.test", A)
    assert not sharing.server_sees_user("two.test", A)
    assert not sharing.server_sees_user("one.test", C)


def test_the_users_of_a_server(store, sharing):
    store.rooms.members.mark_joined("@d:sub:8448", ROOM)
    store.users.create(A, "hash")
    store.users.create(B, None)
    assert sharing.local_members(ROOM, "one.test") == [A, B]
    assert sharing.local_members(ROOM, "sub:8448") == ["@d:sub:8448"]
    assert sharing.local_members(ROOM, "8448") == []
    assert sharing.local_members(THIRD, "two.test") == []
    assert sharing.active_local_members(ROOM, "one.test") == [A]
    assert sharing.active_local_members(ROOM, "two.test") == []


def test_appservices(sharing):
    assert sharing.appservice_in_room(ROOM, C, lambda _: False)
    assert sharing.appservice_in_room(ROOM, "@bot:x", lambda user: user.startswith("@b"))
    assert not sharing.appservice_in_room(THIRD, "@bot:x", lambda user: user.startswith("@b"))


def test_routes_into_a_room(store, sharing, message):
    members = store.rooms.members
    for number in range(3):
        members.mark_joined(f"@{number}:three.test", ROOM)
    assert sharing.servers_route_via(ROOM) == ["three.test", "one.test", "two.test"]
    levels = {"users": {C: 100, A: 50, "@gone:gone.test": 1, "@odd:x": "high"}}
    pdu = message(room=ROOM, type="m.room.power_levels", state_key="", content=levels)
    members.mark_joined("@4:four.test", ROOM)
    before = store.rooms.state_compressor.save({})
    store.rooms.append(pdu, "$levels", ROOM, before=before)
    assert sharing.servers_route_via(ROOM) == ["two.test", "three.test", "one.test"]
    assert len(sharing.servers_route_via(ROOM, total=9)) == 4
    assert sharing.servers_route_via("!none:x") == []


def test_servers_to_join_an_invite_by(sharing, rows):
    assert sharing.servers_invite_via(ROOM) == []
    sharing.add_servers_invite_via(ROOM, ["one.test", "two.test"])
    sharing.add_servers_invite_via(ROOM, ["three.test", "one.test"])
    assert sharing.servers_invite_via(ROOM) == ["three.test", "one.test", "two.test"]
    before = rows()
    for bad in ([], "one.test", [""], [None], ["x" * 256], ["\ud800"]):
        with pytest.raises(InvalidArgumentError):
            sharing.add_servers_invite_via(ROOM, bad)
    assert rows() == before
