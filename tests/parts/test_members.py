"""Membership: four states, their mirrors, and totals that never drift."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import InvalidArgumentError

A, B, C = "@a:one.test", "@b:one.test", "@c:two.test"
ROOM, OTHER = "!r:one.test", "!r:one.test2"
STRIPPED = [{"type": "m.room.name", "state_key": "", "content": {"name": "R"}, "sender": B}]


@pytest.fixture
def members(store):
    return store.rooms.members


def test_joining(store, members):
    count = members.mark_joined(A, ROOM)
    assert members.is_joined(A, ROOM)
    assert members.membership(A, ROOM) == "join"
    assert members.once_joined(A, ROOM)
    assert members.rooms_joined(A) == [ROOM]
    assert members.joined_members(ROOM) == members.once_joined_members(ROOM) == [A]
    assert members.joins(A) == {ROOM: count}
    assert count == store.globals.current_count()


def test_a_new_profile_is_no_new_join(members):
    count = members.mark_joined(A, ROOM)
    assert members.mark_joined(A, ROOM) == count
    assert members.joined_total(ROOM) == 1


def test_an_invite_is_shown_and_used_up(members):
    count = members.mark_invited(A, ROOM, STRIPPED)
    change = members.change(A, ROOM, "invite")
    assert (change.room, change.count, change.events) == (ROOM, count, STRIPPED)
    assert members.changes_since(A, "invite", 0, count) == [change]
    assert members.changes_since(A, "invite", count, count) == []
    assert members.invited_members(ROOM) == [A]
    assert members.invited_total(ROOM) == 1
    members.mark_joined(A, ROOM)
    assert members.change(A, ROOM, "invite") is None
    assert members.invited_total(ROOM) == 0
    assert not members.is_invited(A, ROOM)


def test_a_knock(members):
    count = members.mark_knocked(A, ROOM, STRIPPED)
    assert members.is_knocked(A, ROOM)
    assert members.changes_since(A, "knock", 0, count)[0].events == STRIPPED
    members.mark_invited(A, ROOM)
    assert not members.is_knocked(A, ROOM)
    assert members.change(A, ROOM, "invite").events == []


def test_one_who_was_removed_can_see_why(members):
    members.mark_joined(A, ROOM)
    kick = {"type": "m.room.member", "state_key": A, "content": {"membership": "leave"}}
    count = members.mark_left(A, ROOM, [kick])
    assert members.is_left(A, ROOM)
    assert members.once_joined(A, ROOM)
    assert members.changes_since(A, "leave", 0, count)[0].events == [kick]
    banned = members.mark_left(A, ROOM, [])
    assert members.change(A, ROOM, "leave").count == banned > count


def test_forgetting(members):
    members.mark_joined(A, ROOM)
    assert not members.forget(A, ROOM)
    assert members.is_joined(A, ROOM)
    members.mark_left(A, ROOM)
    assert members.forget(A, ROOM)
    assert members.membership(A, ROOM) is None
    assert members.change(A, ROOM, "leave") is None
    assert not members.forget(A, ROOM)


def test_changes_come_in_order_of_their_counts(members):
    for room in ("!z:x", "!a:x", "!m:x"):
        members.mark_invited(A, room)
    assert [c.room for c in members.changes_since(A, "invite", 1, 9)] == ["!a:x", "!m:x"]


def test_neighbours_keep_to_themselves(members):
    members.mark_joined(A, ROOM)
    members.mark_joined(A + "x", OTHER)
    members.mark_joined(A[:-1], OTHER)
    assert members.rooms_joined(A) == [ROOM]
    assert members.joined_members(ROOM) == [A]
    assert members.servers(ROOM) == ["one.test"]
    assert members.server_rooms("one.test") == [ROOM]


def test_servers_stay_while_one_of_theirs_is_in(members):
    for user in (A, B, C):
        members.mark_joined(user, ROOM)
    assert members.servers(ROOM) == ["one.test", "two.test"]
    members.mark_left(A, ROOM)
    assert members.server_in_room("one.test", ROOM)
    members.mark_left(B, ROOM)
    assert members.servers(ROOM) == ["two.test"]
    assert not members.server_in_room("one.test", ROOM)
    assert members.server_rooms("one.test") == []


def test_defect_03_who_was_once_in_a_room_is_listed(members):
    members.mark_joined(A, ROOM)
    members.mark_joined(B, OTHER)
    members.mark_left(A, ROOM)
    assert members.once_joined_members(ROOM) == [A]
    assert members.once_joined(A, ROOM)
    assert not members.once_joined(B, ROOM)


def test_defect_02_rooms_of_a_user_whose_id_merely_begins_alike(members):
    members.mark_joined("@bob:example.com", ROOM)
    assert members.rooms_joined("@bob:example.co") == []


def test_defect_13_a_left_room_shows_the_event_that_removed_the_user(store, members, message):
    kick = message(type="m.room.member", state_key=A, content={"membership": "leave"})
    members.mark_joined(A, ROOM)
    members.follow(A, ROOM, kick)
    assert members.change(A, ROOM, "leave").events == [kick]
    assert members.changes_since(A, "leave", 0, store.globals.current_count())[0].events == [kick]


def test_following_member_events(members, message, rows):
    def event(membership, **unsigned):
        content = {"membership": membership}
        return message(type="m.room.member", state_key=A, content=content, unsigned=unsigned)

    members.follow(A, ROOM, event("knock", knock_room_state=STRIPPED))
    assert members.change(A, ROOM, "knock").events == STRIPPED
    members.follow(A, ROOM, event("invite", invite_room_state=STRIPPED))
    assert members.change(A, ROOM, "invite").events == STRIPPED
    members.follow(A, ROOM, event("join"))
    assert members.is_joined(A, ROOM)
    members.follow(A, ROOM, event("ban"))
    assert members.is_left(A, ROOM)
    before = rows()
    for bad in (event("maybe"), event(None), event(["join"]), {}, {"content": "join"}):
        with pytest.raises(InvalidArgumentError, match="unknown membership"):
            members.follow(A, ROOM, bad)
    assert rows() == before


def test_counts_and_lists_of_each_kind(members):
    counts = {
        "join": members.mark_joined(A, ROOM),
        "knock": members.mark_knocked(B, ROOM),
        "invite": members.mark_invited(C, ROOM),
    }
    users = {"join": A, "knock": B, "invite": C}
    for membership, count in counts.items():
        assert members.count(users[membership], ROOM, membership) == count
    assert members.count(A, ROOM, "leave") is None
    assert members.knocked_members(ROOM) == [B]
    assert members.knocked_total(ROOM) == 1
    members.mark_left(B, ROOM)
    assert (members.knocked_members(ROOM), members.knocked_total(ROOM)) == ([], 0)
    members.mark_invited(A, OTHER)
    assert members.memberships(A) == {ROOM: "join", OTHER: "invite"}
    assert members.joined_among(A, [OTHER, "!none:x", ROOM]) == [ROOM]
    assert members.server_totals(ROOM) == {"one.test": 1}
    assert members.server_among("one.test", [OTHER, ROOM]) == [ROOM]


def test_who_sent_an_invite(members):
    invite = {"type": "m.room.member", "state_key": A, "sender": B}
    members.mark_invited(A, ROOM, [*STRIPPED, invite])
    assert members.invite_sender(A, ROOM) == B
    members.mark_invited(A, OTHER, [{"type": "m.room.member", "state_key": A}, {}])
    assert members.invite_sender(A, OTHER) is None
    assert members.invite_sender(B, ROOM) is None


def test_bad_arguments(members, rows):
    before = rows()
    with pytest.raises(InvalidArgumentError, match="user id"):
        members.mark_joined("@nobody", ROOM)
    with pytest.raises(InvalidArgumentError):
        members.mark_invited(A, ROOM, [{"content": {1, 2}}])
    with pytest.raises(InvalidArgumentError, match="join"):
        members.changes_since(A, "join", 0, 5)
    assert rows() == before


def key_parts(store, tree):
    return [tuple(key.decode("latin1").split("\xff")) for key, _ in store.db.open_tree(tree)]


MOVES = ["mark_joined", "mark_invited", "mark_knocked", "mark_left", "forget"]
TREES = {
    "join": ("userroomid_joined", "roomuserid_joined"),
    "invite": ("userroomid_invitestate", "roomuserid_invitecount"),
    "knock": ("userroomid_knockstate", "roomuserid_knockcount"),
    "leave": ("userroomid_leftstate", "roomuserid_leftcount"),
}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(MOVES), st.sampled_from([A, B, C]), st.sampled_from([ROOM, OTHER])
        ),
        max_size=40,
    )
)
def test_mirrors_totals_and_servers_always_agree(moves):
    model = {}
    with conduitstore.open(":memory:") as store:
        members = store.rooms.members
        for move, user, room in moves:
            getattr(members, move)(user, room)
            if move != "forget":
                state = dict(zip(MOVES, TREES, strict=False))[move]
                model[user, room] = state
            elif model.get((user, room)) == "leave":
                del model[user, room]
        for state, (by_user, by_room) in TREES.items():
            held = sorted(pair for pair, is_in in model.items() if is_in == state)
            assert sorted(key_parts(store, by_user)) == held
            assert sorted((user, room) for room, user in key_parts(store, by_room)) == held
        for room in (ROOM, OTHER):
            joined = [u for (u, r), state in model.items() if r == room and state == "join"]
            invited = [u for (u, r), state in model.items() if r == room and state == "invite"]
            assert members.joined_total(room) == len(joined)
            assert members.invited_total(room) == len(invited)
            knocked = [u for (u, r), state in model.items() if r == room and state == "knock"]
            assert members.knocked_total(room) == len(knocked)
            assert members.servers(room) == sorted({u.partition(":")[2] for u in joined})
        for (user, room), state in model.items():
            assert members.membership(user, room) == state
