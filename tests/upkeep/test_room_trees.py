"""Every tree that knows of rooms, by the schema, is emptied of one, and only of that one."""

import pytest

from conduitstore.consistency import check
from conduitstore.schema import TREES
from conduitstore.types import FederationServer, Mxc, PduId
from conduitstore.upkeep import delete_room

A, B = "@a:one.test", "@b:two.test"
ROOM, OTHER = "!r:one.test", "!r:one.test2"
# Rows about a room that outlive it, and why.
OUTLIVING = {
    "backupkeyid_backup": "keys in a backup are the user's own",
    "backupid_etag": "so is what says that they changed",
    "backupid_keystotal": "and how many there are",
    "disabledroomids": "that the server takes no part in it is for later, too",
    "bannedroomids": "so is that nobody may join it",
    "statekey_shortstatekey": "rooms share these numbers",
    "shortstatekey_statekey": "rooms share these numbers",
    "global": "counts never go back",
    "userid_lastonetimekeyupdate": "of the user",
}


def event(room, kind="m.room.message", **more):
    return {
        "auth_events": [f"$create{room}"],
        "content": {"body": "tea"},
        "depth": 5,
        "origin_server_ts": 5,
        "prev_events": [],
        "room_id": room,
        "sender": A,
        "type": kind,
    } | more


def related(room, to, rel_type):
    return event(
        room,
        content={"body": "milk", "m.relates_to": {"rel_type": rel_type, "event_id": to}},
    )


def live_outside_rooms(tx):
    """What a room is not concerned with: media, pushers, devices."""
    for user in (A, B):
        tx.users.create(user, "hash")
        tx.devices.create(user, "D", f"token of {user}")
        tx.pushers.set(user, {"pushkey": "p"}, "D")
        tx.account_data.update(None, user, "m.direct", {A: [ROOM, OTHER]})
    tx.media.files.create(Mxc("one.test", "m"), "a" * 64, 5, uploader=A)
    tx.key_backups.create(A, {"algorithm": "x"})


def furnish(tx, room):
    """A row in every tree that knows of rooms."""
    rooms = tx.rooms
    rooms.append(event(room, "m.room.create", state_key="", auth_events=[]), f"$create{room}", room)
    for kind in ("m.room.encryption", "m.room.name"):
        previous = rooms.state.forward_extremities(room)
        pdu = event(room, kind, state_key="", prev_events=previous)
        rooms.append(pdu, f"${kind}{room}", room)
    for user in (A, B):
        join = event(room, "m.room.member", state_key=user, content={"membership": "join"})
        rooms.append(join, f"$join{user}{room}", room)
    for rel_type in ("m.thread", "m.replace", "m.reference"):
        rooms.append(related(room, f"$create{room}", rel_type), f"${rel_type}{room}", room)
    rooms.append(related(room, f"$later{room}", "m.thread"), f"$waits{room}", room)
    root = f"$create{room}"
    outlier = f"$outlier{room}"
    rooms.timeline.add_outlier(event(room), outlier)
    rooms.timeline.prepend_backfilled(event(room), f"$old{room}", room)
    rooms.state.set_before(f"$old{room}", rooms.state.current(room))
    rooms.auth_chain.remember(f"$join{A}{room}")
    rooms.originals.keep(f"$waits{room}", event(room), 5)
    for marked in (outlier, f"$waits{room}"):
        rooms.pdu_metadata.mark_soft_failed(marked)
        rooms.pdu_metadata.mark_rejected(marked)
    memberships(tx, room)
    users(tx, room, root)
    place = PduId(rooms.short.room(room), rooms.timeline.position(f"$waits{room}"))
    later = PduId(rooms.short.room(room), rooms.timeline.position(root))
    to = FederationServer("two.test")
    tx.sending.mark_active(tx.sending.queue_pdus([(to, place)]))
    tx.sending.queue_pdus([(to, later)])


def memberships(tx, room):
    members = tx.rooms.members
    members.mark_invited("@invited:three.test", room)
    members.mark_knocked("@knocked:three.test", room)
    members.mark_left("@left:three.test", room)
    tx.rooms.sharing.add_servers_invite_via(room, ["two.test"])
    tx.rooms.alias.set(f"#alias{len(room)}:one.test", room, A)
    tx.rooms.directory.set_public(room)
    tx.rooms.metadata.lower_min_depth(room, 5)
    tx.rooms.metadata.disable(room)
    tx.rooms.metadata.ban(room)


def users(tx, room, root):
    """What users have in a room."""
    tx.account_data.update(room, A, "m.tag", {})
    tx.key_changes.mark(A)
    tx.rooms.lazy_loading.witness(A, "D", room, [B], since=0, token=1)
    for thread in (None, root):
        content = {"ts": 5} if thread is None else {"ts": 5, "thread_id": thread}
        tx.rooms.receipts.update(A, room, {"content": {root: {"m.read": {A: content}}}})
        tx.rooms.receipts.set_private_read(A, room, 5, thread)
        tx.rooms.user_counters.reset(A, room)
        tx.rooms.user_counters.increment(room, [A], [A], *([] if thread is None else [thread]))
    tx.rooms.user_counters.increment(room, [A], [A])
    (version,) = [tx.key_backups.latest_version(A)]
    tx.key_backups.add_keys(A, version, {room: {"session": {}}})


def contents(store):
    with store.snapshot() as view:
        return {name: dict(iter(view.keyspace.open_tree(name))) for name in TREES}


def of_rooms():
    """The trees that know of rooms, or of events, by the schema."""
    fields = {"room", "short_room", "room_or_user", "event", "short_event", "item", "parent"}
    shapes = {name: set(tree.key.fields) for name, tree in TREES.items()}
    return {name for name in TREES if shapes[name] & fields} | {
        *("shortstatehash_statediff", "statehash_shortstatehash", "alias_roomid", "alias_userid")
    }


@pytest.mark.parametrize(("stays", "goes"), [(OTHER, ROOM), (ROOM, OTHER)])
def test_every_tree_that_knows_of_rooms_forgets_one_room_and_no_other(open_store, stays, goes):
    with open_store() as store:
        store.transaction(live_outside_rooms)
        store.transaction(lambda tx: furnish(tx, stays))
        before = contents(store)
        store.transaction(lambda tx: furnish(tx, goes))
        full = contents(store)
        grown = {name for name in TREES if full[name].keys() - before[name].keys()}
        assert of_rooms() - grown <= {"statekey_shortstatekey", "shortstatekey_statekey"}
        delete_room(store.db, goes)
        after = contents(store)
        with store.snapshot() as view:
            assert list(check(view.keyspace)) == []
    for name in TREES:
        if name in OUTLIVING:
            continue
        if name == "keychangeid_userid":  # The user's own row was announced anew.
            rows = (after[name], before[name])
            assert len({k for k in rows[0] if k.startswith(b"!")}) == 1
            assert not [key for key in rows[0] if key.startswith(goes.encode() + b"\xff")]
        else:
            assert after[name] == before[name], name
