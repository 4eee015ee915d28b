"""Everything a server writes that syncs tell of, and a note of what was written."""

from collections import defaultdict

from scenes import OTHER, ROOM, A, B, C, Scene

USERS = [A, B, C]
ROOMS = [ROOM, OTHER]
DEVICES = {A: ["D", "E"], B: ["D"], C: ["D"]}
KINDS = [
    *("event", "event", "to_device", "receipt", "account_data", "room_account_data"),
    *("move", "rename", "keys", "keys", "profile", "encrypt"),
]


class Written:
    """What everybody wrote, in the order of their commits: noted inside the transaction.

    Attributes:
        events: by room.
        seen: of a room that a user left, how many of them there were with the leaving.
    """

    def __init__(self):
        self.events, self.to_device = defaultdict(list), defaultdict(list)
        self.receipts, self.account_data, self.seen = {}, {}, {}


def settle(parts, written):
    """Devices, and rooms that all are in; the first is encrypted."""
    for user, devices in DEVICES.items():
        parts.users.create(user, None)
        for device in devices:
            parts.devices.create(user, device, f"token of {user} {device}")
    scene = Scene(parts, 1_000_000)
    for room in ROOMS:
        written.events[room] += scene.join(*USERS, room=room)
    written.events[ROOM].append(scene.encrypt(ROOM))


def write(parts, written, kind, user, room, n):
    """One operation; ``written`` is told as if it had been committed."""
    event_id = _send(Scene(parts, n - 1), written, kind, user, room, n)
    if event_id is not None:
        written.events[room].append(event_id)
    else:
        _write_beside(parts, written, kind, user, room, n)


def _send(scene, written, kind, user, room, n):
    """The event of an operation that is one."""
    rooms = scene.parts.rooms
    match kind:
        case "event":
            return scene.say(user, room)
        case "rename":
            return scene.state(user, "m.room.name", {"name": str(n)}, room)
        case "profile" if rooms.members.is_joined(user, room):
            return scene.member(user, "join", room, displayname=str(n))
        case "encrypt" if not rooms.state_accessor.is_encrypted(room):
            return scene.encrypt(room)
        case "move":
            return _move(scene, written, user, room, n)
    return None


def _write_beside(parts, written, kind, user, room, n):
    """What is in no timeline."""
    match kind:
        case "to_device":
            for device in DEVICES[user]:
                parts.to_device.queue(A, user, device, "t", {"n": n})
                written.to_device[user, device].append(n)
        case "receipt":
            parts.rooms.receipts.update(user, room, _receipt(user, n))
            written.receipts[room, user] = f"$later{n}"
        case "account_data" | "room_account_data":
            where = room if kind == "room_account_data" else None
            parts.account_data.update(where, user, "t", {"n": n})
            written.account_data[user, where, "t"] = {"n": n}
        case "keys":
            parts.keys.add_device_keys(user, "D", {"n": n})


def _move(scene, written, user, room, n):
    """What may come next for the user: in, out, asked in, refused, thrown out."""
    members = scene.parts.rooms.members
    by_another = next(other for other in USERS if other != user)
    match members.membership(user, room):
        case "join":
            written.seen[user, room] = len(written.events[room]) + 1
            return scene.member(user, "leave", room, by_another if n % 2 else user)
        case "invite" if n % 3 == 0:
            return scene.member(user, "leave", room)
        case None | "leave" if n % 2 and not members.once_joined(user, room):
            return scene.member(user, "invite", room, by_another)
    return scene.member(user, "join", room)


def _receipt(user, n):
    """For an event that is in no timeline here, so that the later call wins."""
    return {"type": "m.receipt", "content": {f"$later{n}": {"m.read": {user: {"ts": n}}}}}
