"""A life of a homeserver, commit by commit, and what each step promised to whoever asked for it."""

from dataclasses import dataclass, field
from functools import wraps

from conduitstore.engine import embedded
from conduitstore.ladder import load_migrations
from conduitstore.migrate import migrate
from conduitstore.parts.holder import Parts
from conduitstore.parts.media.records import Dimensions
from conduitstore.types import FederationServer, Mxc
from conduitstore.upkeep import GcOptions, delete_room, gc

A, B, ROOM, OTHER = "@a:one.test", "@b:two.test", "!r:one.test", "!s:one.test"
TWO = FederationServer("two.test")
FILE = "a" * 64
FOR_EVER = 1 << 40
NOW_MS = 1_700_000_000_000


@dataclass
class Promises:
    """What was acknowledged by one run.

    Attributes:
        made: the sequence then, and a function of parts that fails where it was not kept.
        claimed: keys handed out, each on the platter by then.
        is_deleting: whether the deletion of the other room has begun.
    """

    made: list = field(default_factory=list)
    claimed: list = field(default_factory=list)
    is_deleting: bool = False

    def begin(self):
        self.made.clear()
        self.claimed.clear()
        self.is_deleting = False

    def promise(self, parts, kept):
        self.made.append((parts.keyspace.sequence, kept))


PROMISES = Promises()


def step(work):
    """A step of the workload: ``work(parts)`` gives what it promises, a function of parts.

    The oracle runs every step first; only what the store on the disk acknowledged is promised.
    """

    @wraps(work)
    def run(db):
        parts = Parts(db)
        kept = work(parts)
        if kept is not None and isinstance(db, embedded.Store):
            PROMISES.promise(parts, kept)

    return run


def event(n, room=ROOM, sender=A, **more):
    return {
        "type": "m.room.message",
        "room_id": room,
        "sender": sender,
        "content": {"body": f"message {n}"},
        "origin_server_ts": 1_000 + n,
        "prev_events": [f"${room}{n - 1}"] if n else [],
    } | more


def member(n, user, membership, room=ROOM):
    content = {"membership": membership}
    return event(n, room, user, type="m.room.member", state_key=user, content=content)


def append(pdu, n):
    @step
    def append_event(parts):
        room, event_id = pdu["room_id"], f"${pdu['room_id']}{n}"
        position = parts.rooms.append(pdu, event_id, room)
        user = pdu.get("state_key")

        def kept(found):
            if room == OTHER and PROMISES.is_deleting:
                return
            assert found.rooms.timeline.position(event_id) == position
            assert found.rooms.timeline.get(event_id).pdu["sender"] == pdu["sender"]
            if user:
                assert found.rooms.members.once_joined(user, room)

        return kept

    return append_event


def begin(db):
    """A fresh store; of the one on the disk, a new run."""
    if isinstance(db, embedded.Store):
        PROMISES.begin()
    migrate(db, Parts(db).globals, load_migrations())


@step
def create_users(parts):
    for user in (A, B):
        parts.users.create(user, "hash")
    for device in ("D", "E"):
        parts.devices.create(A, device, f"token {device}")
    parts.refresh_tokens.set(A, "D", "refresh 1")

    def kept(found):
        assert found.users.password_hash(A) == found.users.password_hash(B) == "hash"
        assert found.devices.find_from_token("token D") in ((A, "D"), None)
        assert found.devices.find_from_token("token E") == (A, "E")

    return kept


@step
def change_tokens(parts):
    parts.devices.set_token(A, "D", "token of later")
    parts.refresh_tokens.spend("refresh 1", "refresh 2")

    def kept(found):
        assert found.devices.find_from_token("token D") is None
        assert found.devices.find_from_token("token of later") == (A, "D")
        assert found.refresh_tokens.classify("refresh 1").successor == "refresh 2"

    return kept


@step
def upload_keys(parts):
    parts.keys.add_device_keys(A, "D", {"keys": {}})
    parts.keys.add_cross_signing_keys(A, *({"keys": {"k": letter * 43}} for letter in "MSU"))
    parts.one_time_keys.add(A, "D", {f"x:{n}": {"n": n} for n in range(4)})
    parts.one_time_keys.add_fallback(A, "D", "x:f", {"n": "fallback"})

    def kept(found):
        assert found.keys.device_keys(A, "D") == {"keys": {}}
        assert found.keys.master_key(A) == {"keys": {"k": "M" * 43}}

    return kept


def claim(db):
    found = Parts(db).one_time_keys.claim(A, "D", "x")
    if isinstance(db, embedded.Store):
        PROMISES.claimed.append(found.key["n"])


def send_to_device(n):
    @step
    def send(parts):
        count = parts.to_device.queue(B, A, "D", "t", {"n": n})

        def kept(found):
            is_gone = n < 3 and found.account_data.get(None, A, "acknowledged")
            assert is_gone or n in queue_of(found)
            assert found.globals.current_count() >= count

        return kept

    return send


def queue_of(parts):
    waiting = parts.to_device.events_since(A, "D", 0, FOR_EVER)
    return [event["content"]["n"] for _, event in waiting]


@step
def acknowledge(parts):
    """The note goes first: a queue that is empty without it was lost."""
    parts.account_data.update(None, A, "acknowledged", {"yes": 1})
    parts.to_device.forget_until(A, "D", FOR_EVER)
    return lambda found: assert_none(n for n in queue_of(found) if n < 3)


def assert_none(found):
    assert list(found) == []


@step
def read(parts):
    for n in (1, 3):
        content = {f"${ROOM}{n}": {"m.read": {B: {}}}}
        parts.rooms.receipts.update(B, ROOM, {"type": "m.receipt", "content": content})
    parts.rooms.receipts.set_private_read(A, ROOM, 5)
    parts.rooms.user_counters.increment(ROOM, [A, B], [A])

    def kept(found):
        assert found.rooms.receipts.newest(B, ROOM)[1] == f"${ROOM}3"
        assert found.rooms.receipts.private_read(A, ROOM) == 5
        assert found.rooms.user_counters.unread(A, ROOM).total.highlights == 1

    return kept


@step
def back_up(parts):
    version = parts.key_backups.create(A, {"algorithm": "m.test"})
    parts.key_backups.add_keys(A, version, {ROOM: {"s": {"n": 1}, "t": {"n": 2}}})

    def kept(found):
        assert found.key_backups.latest_version(A) == version
        assert found.key_backups.total(A, version) == 2
        assert found.key_backups.key(A, version, ROOM, "t") == {"n": 2}

    return kept


@step
def illustrate(parts):
    for number in range(2):
        mxc = Mxc("one.test", f"m{number}")
        parts.media.files.create(mxc, FILE, 10, uploader=A, now_secs=5)
        parts.media.thumbnails.create(mxc, Dimensions(5, number), "b" * 64, 3, now_secs=5)
    parts.media.retention.purge([Mxc("one.test", "m0")])

    def kept(found):
        assert found.media.files.get(Mxc("one.test", "m0")) is None
        assert found.media.files.get(Mxc("one.test", "m1")).file == FILE

    return kept


@step
def send_out(parts):
    place = parts.rooms.timeline.pdu_id(f"${ROOM}3")
    (item,) = parts.sending.queue_pdus([(TWO, place)])
    edu = parts.sending.queue_edus([(TWO, {"edu_type": "m.test"})])
    parts.sending.mark_active([item])

    def kept(found):
        assert [row.item for row in found.sending.active(TWO)] == [place]
        assert [row.item for row in found.sending.waiting(TWO)] == [row.item for row in edu]

    return kept


@step
def redact(parts):
    parts.rooms.timeline.replace(event(3, content={}), f"${ROOM}3", keep_original_s=NOW_MS // 1_000)

    def kept(found):
        assert found.rooms.timeline.get(f"${ROOM}3").pdu["content"] == {}
        assert found.rooms.search.find(ROOM, "message 3", 5).positions == []
        assert found.rooms.originals.get(f"${ROOM}3")["content"] == {"body": "message 3"}

    return kept


@step
def leave(parts):
    parts.rooms.append(member(9, B, "leave"), f"${ROOM}9", ROOM)
    parts.rooms.members.forget(B, ROOM)

    def kept(found):
        assert found.rooms.members.joined_members(ROOM) == [A]
        assert found.rooms.members.membership(B, ROOM) is None
        assert found.rooms.members.servers(ROOM) == ["one.test"]

    return kept


@step
def delete(parts):
    PROMISES.is_deleting = isinstance(parts.keyspace, embedded.Store)
    delete_room(parts.keyspace, OTHER)
    return lambda found: assert_none({*found.rooms.short.rooms()} - {ROOM})


def collect(db):
    gc(db, GcOptions(young_counts=0), now_ms=NOW_MS)


def checkpoint(db):
    if hasattr(db, "checkpoint"):
        db.checkpoint()


def room_of(room, *users):
    """The steps that make a room with its members."""
    create = event(0, room, type="m.room.create", state_key="", content={})
    joins = [append(member(n, user, "join", room), n) for n, user in enumerate(users, 1)]
    return [append(create, 0), *joins]


def thread(n):
    relation = {"rel_type": "m.thread", "event_id": f"${ROOM}3"}
    return event(n, content={"body": f"re {n}", "m.relates_to": relation})


LIFE = [
    *(begin, create_users, *room_of(ROOM, A, B), upload_keys, claim),
    *(append(event(3), 3), send_to_device(1), append(thread(4), 4), checkpoint),
    *(read, claim, change_tokens, send_to_device(2), back_up, send_out, illustrate),
    *(append(thread(5), 5), claim, redact, acknowledge, *room_of(OTHER, A), send_to_device(3)),
    *(leave, delete, collect, claim),
]
