"""A small life of a server: something in every tree, made by the parts."""

A, B, ROOM, OTHER = "@a:one.test", "@b:two.test", "!r:one.test", "!other:one.test"


def message(number, room=ROOM, **changes):
    return {
        "auth_events": [],
        "content": {"body": f"message {number}"},
        "depth": number,
        "hashes": {"sha256": "x"},
        "origin_server_ts": 1_000 + number,
        "prev_events": [],
        "room_id": room,
        "sender": A,
        "signatures": {},
        "type": "m.room.message",
    } | changes


def live(tx):
    for user in (A, B):
        tx.users.create(user, "hash")
        for device in ("D", "E" * 300):
            tx.devices.create(user, device, f"token of {user} {device}")
            tx.to_device.queue(B, user, device, "t", {})
        tx.account_data.update(None, user, "m.direct", {})
        for room in (ROOM, OTHER):
            live_in(tx, user, room)
    tx.rooms.members.mark_invited("@c:three.test", ROOM)
    tx.rooms.members.mark_knocked("@d:three.test", ROOM)
    tx.rooms.members.mark_joined("@e:three.test", ROOM)
    tx.rooms.members.mark_left("@e:three.test", ROOM)
    tx.rooms.short.get_or_create_state_key("m.room.name", "")


def live_in(tx, user, room):
    tx.account_data.update(room, user, "m.tag", {})
    tx.account_data.update(room, user, "m.tag", {"tags": {}})
    for number in range(3):
        tx.rooms.timeline.append(message(number, room), f"${room}{user}{number}", room)
    tx.rooms.timeline.prepend_backfilled(message(3, room), f"$old{room}{user}", room)
    tx.rooms.timeline.add_outlier(message(4, room), f"$out{room}{user}")
    tx.rooms.members.mark_joined(user, room)
    for read in (1, 2):
        tx.rooms.receipts.update(
            user, room, {"type": "m.receipt", "content": {f"${read}": {"m.read": {user: {}}}}}
        )
    tx.rooms.receipts.set_private_read(user, room, 1)
