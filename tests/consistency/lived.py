"""A small life of a server: something in every tree, made by the parts."""

from conduitstore.parts.media.records import Dimensions
from conduitstore.types import FederationServer, Mxc, PduId

A, B, ROOM, OTHER = "@a:one.test", "@b:two.test", "!r:one.test", "!r:one.test2"
WHOLE = "!whole:one.test"
TWO = FederationServer("two.test")
FILES = [digit * 64 for digit in "abcdef9"]


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
        live_in(tx, room)
    tx.rooms.members.mark_invited("@c:three.test", ROOM)
    tx.rooms.members.mark_knocked("@d:three.test", ROOM)
    tx.rooms.append(member("@e:three.test", "join", ROOM), f"$ejoin{ROOM}", ROOM)
    tx.rooms.append(member("@e:three.test", "leave", ROOM), f"$eleave{ROOM}", ROOM)
    tx.rooms.short.get_or_create_state_key("m.room.name", "")
    live_whole(tx)
    live_outside(tx)
    live_encrypted(tx)
    live_logged_in(tx)
    live_illustrated(tx)
    live_named(tx)


def member(user, membership, room):
    fields = {"type": "m.room.member", "state_key": user, "content": {"membership": membership}}
    return message(0, room, **fields)


def live_in(tx, room):
    for user in (A, B):
        tx.rooms.append(member(user, "join", room), f"$join{room}{user}", room)
        tx.account_data.update(room, user, "m.tag", {})
        tx.account_data.update(room, user, "m.tag", {"tags": {}})
        for number in range(3):
            tx.rooms.append(message(number, room), f"${room}{user}{number}", room)
        tx.rooms.append.backfilled(message(3, room), f"$old{room}{user}", room)
        tx.rooms.timeline.add_outlier(message(4, room), f"$out{room}{user}")
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
    live_related(tx)
    topic = {"type": "m.room.topic", "state_key": "", "content": {}}
    tx.rooms.append(message(98, WHOLE, prev_events=["$r5"], **topic), "$w25", WHOLE)
    tx.rooms.append(message(99, WHOLE, prev_events=["$w25"]), "$w99", WHOLE)


def live_related(tx):
    """Threads, an edit, a reference, and relations to what has not come."""
    tx.rooms.append(message(30, WHOLE, prev_events=["$w24"]), "$r0", WHOLE)
    relations = [("m.thread", "$r0"), ("m.replace", "$r0"), ("m.reference", "$r0")]
    relations += [("m.thread", "$r0"), ("m.thread", "$to come")]
    for number, (rel_type, to) in enumerate(relations, 1):
        pdu = reply(30 + number, rel_type, to, prev_events=[f"$r{number - 1}"])
        tx.rooms.append(pdu, f"$r{number}", WHOLE)
    tx.rooms.append.backfilled(reply(29, "m.thread", "$w1", sender=B), "$r-1", WHOLE)


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


def live_logged_in(tx):
    """Tokens of every kind, pushers, and a device that sleeps."""
    for number, device in enumerate(("D", "E" * 300)):
        tx.refresh_tokens.set(A, device, f"refresh {number}")
        tx.refresh_tokens.spend(f"refresh {number}", f"refreshed {number}")
        tx.devices.set_token(A, device, f"token of {A} {device}", expires_s=1 << 40)
        tx.pushers.set(A, {"pushkey": f"key {number}"}, device)
    tx.pushers.set(B, {"pushkey": "key 0"})
    tx.dehydrated_devices.set(A, "DRY" * 100, {})


def live_illustrated(tx):
    """Media and thumbnails, some of the same bytes, some blocked, some only to come."""
    media = [Mxc("one.test", f"m{number}") for number in range(6)]
    for number, mxc in enumerate(media):
        kind = "remote" if number == 5 else "local"
        uploader = A if number % 2 else None
        size = 1_000 * (number // 2 + 1)
        tx.media.files.create(
            mxc, FILES[number // 2], size, kind=kind, uploader=uploader, now_secs=9_000 + number
        )
        thumbnail = FILES[3] if number < 4 else FILES[6]
        tx.media.thumbnails.create(
            mxc, Dimensions(9, number), thumbnail, 7_000, now_secs=9_000 + number
        )
    tx.media.blocks.block([media[0]], now_secs=9)
    tx.media.retention.purge([media[1]])
    tx.media.files.create(Mxc("one.test", "gone"), FILES[4], 5)
    tx.media.retention.purge([Mxc("one.test", "gone")])
    for number in range(3):
        tx.media.pending.reserve(Mxc("one.test", f"to come {number}"), A, 50 + number)


def live_named(tx):
    for number in range(3):
        for room in (ROOM, WHOLE):
            tx.rooms.alias.set(f"#alias{number}{room[1]}:one.test", room, A)
    tx.rooms.alias.set(f"#alias1{ROOM[1]}:one.test", WHOLE, A)


def reply(number, rel_type, to, **changes):
    content = {"body": f"re {number}", "m.relates_to": {"rel_type": rel_type, "event_id": to}}
    return message(number, WHOLE, content=content, **changes)
