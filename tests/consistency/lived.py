"""A small life of a server: something in every tree, made by the parts."""

from conduitstore.types import FederationServer, PduId

A, B, ROOM, OTHER = "@a:one.test", "@b:two.test", "!r:one.test", "!r:one.test2"
WHOLE = "!whole:one.test"
TWO = FederationServer("two.test")


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
    live_whole(tx)
    live_outside(tx)
    live_encrypted(tx)


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


def live_whole(tx):
    """A room with a state, of more than one layer."""
    events = [("m.room.create", "", {}), ("m.room.name", "", {"name": "one"})]
    events += [("m.room.member", f"@m{n}:one.test", {"membership": "join"}) for n in range(20)]
    events += [("m.room.member", A, {"membership": "join"}), ("m.room.name", "", {"name": "two"})]
    events += [("m.room.member", "@m0:one.test", {"membership": "leave"})]
    for number, (type, state_key, content) in enumerate(events):
        fields = {"type": type, "state_key": state_key, "content": content}
        pdu = message(number, WHOLE, prev_events=[f"$w{number - 1}"], **fields)
        tx.rooms.append(pdu, f"$w{number}", WHOLE)
    tx.rooms.append(message(99, WHOLE, prev_events=["$w24"]), "$w99", WHOLE)


def live_outside(tx):
    """What waits for other servers."""
    short_room = tx.rooms.short.room(WHOLE)
    position = tx.rooms.timeline.position("$w99")
    tx.sending.mark_active(tx.sending.queue_pdus([(TWO, PduId(short_room, position))]))
    tx.sending.queue_edus([(TWO, {"edu_type": "m.test"})])
    tx.backoff.record_failure("two.test", 1_000)


def live_encrypted(tx):
    """Keys of all kinds, and a backup of some."""
    for device in ("D", "E" * 300):
        for upload in ("1", "2"):
            keys = {f"signed_curve25519:AAA{upload}{n}": {"key": "k"} for n in range(3)}
            tx.one_time_keys.add(A, device, keys)
        tx.one_time_keys.add_fallback(A, device, "signed_curve25519:F", {"key": "f"})
        tx.keys.add_device_keys(A, device, {"user_id": A, "device_id": device, "keys": {}})
    roles = [{"keys": {f"ed25519:{letter * 43}": letter * 43}} for letter in "MSU"]
    tx.keys.add_cross_signing_keys(A, *roles)
    for number in range(12):
        version = tx.key_backups.create(A, {"algorithm": "m.test"})
        if number:
            tx.key_backups.add_keys(A, version, {ROOM: {"session": {"session_data": {}}}})
