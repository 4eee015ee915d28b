"""Rooms with events as a homeserver makes them, in a line each."""

from conduitstore.sync import SyncOptions, sync, witness

A, B, C = "@a:one.test", "@b:one.test", "@c:two.test"
ROOM, OTHER = "!r:one.test", "!s:one.test"
DEVICE = "D"


class Scene:
    """Writes events through `parts`: a store, or a transaction."""

    def __init__(self, parts, number=0):
        self.parts = parts
        self.number = number

    def pdu(self, room, sender, type, content, **more):
        self.number += 1
        return {
            "auth_events": [],
            "content": content,
            "depth": self.number,
            "hashes": {"sha256": "x"},
            "origin_server_ts": 1_000 + self.number,
            "prev_events": [],
            "room_id": room,
            "sender": sender,
            "signatures": {},
            "type": type,
        } | more

    def send(self, room, sender, type, content, *, after=None, **more):
        pdu = self.pdu(room, sender, type, content, **more)
        event_id = f"${self.number}"
        self.parts.rooms.append(pdu, event_id, room, after=after)
        return event_id

    def say(self, sender, room=ROOM, **content):
        return self.send(room, sender, "m.room.message", {"body": "hi"} | content)

    def state(self, sender, type, content, room=ROOM, state_key=""):
        return self.send(room, sender, type, content, state_key=state_key)

    def member(self, user, membership, room=ROOM, sender=None, **profile):
        content = {"membership": membership} | profile
        return self.send(room, sender or user, "m.room.member", content, state_key=user)

    def join(self, *users, room=ROOM):
        return [self.member(user, "join", room) for user in users]

    def encrypt(self, room=ROOM):
        return self.state(A, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}, room)

    def outlier(self, room, sender, type, content, state_key):
        pdu = self.pdu(room, sender, type, content, state_key=state_key)
        event_id = f"${self.number}"
        self.parts.rooms.timeline.add_outlier(pdu, event_id)
        return event_id


class Device:
    """A client that keeps its token."""

    def __init__(self, store, user, device=DEVICE, **options):
        self.store, self.user, self.device = store, user, device
        self.options = options
        self.since = 0

    def ask(self, **options):
        """An answer that may never arrive."""
        asked = SyncOptions(**self.options | options)
        with self.store.snapshot() as view:
            answer = sync(
                view, self.user, self.device, self.since, asked, getattr(self.store, "typing", None)
            )
        if asked.lazy_members:
            witness(self.store, self.user, self.device, self.since, answer)
        return answer

    def sync(self, **options):
        """An answer that arrives."""
        answer = self.ask(**options)
        self.since = answer.next_batch
        return answer


def ids(events):
    return [event.event_id for event in events]
