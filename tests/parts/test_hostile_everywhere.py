"""Every operation of every part, with what no caller should give it, one argument at a time.

Found by introspection: a new operation is tried as soon as it is there. Its other arguments are
good ones, on a store that has something in every tree. What must hold, whatever is given:

- it is refused with an error of ours, or it is done; never anything else;
- where it is refused nothing was written, also inside a transaction that goes on;
- where it is done the store is as consistent as before.
"""

import inspect
from base64 import b64encode
from contextlib import suppress
from typing import get_type_hints

import pytest
from lived import FILES, WHOLE, A, live, message

import conduitstore
from conduitstore import ConduitStoreError
from conduitstore.codec.keypairs import Keypair
from conduitstore.consistency import check
from conduitstore.errors import shown
from conduitstore.files import MemoryFiles
from conduitstore.parts.arguments import fits
from conduitstore.parts.holder import Media, PartOf, Parts, Rooms
from conduitstore.parts.media.previews import UrlPreview
from conduitstore.parts.media.records import Dimensions, Selection
from conduitstore.parts.media.retention import Limits
from conduitstore.parts.presence import Presence
from conduitstore.parts.sending import QueuedItem
from conduitstore.types import (
    Appservice,
    FederationServer,
    Mxc,
    PduId,
    PlacedEvent,
    PushGateway,
    StoredEvent,
)

MXC, FILE, TWO = Mxc("one.test", "m2"), FILES[1], FederationServer("two.test")
PUBLIC = b64encode(b"k" * 32).decode().rstrip("=")


def nested(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


class Falsy:
    """Anything at all, and what `or` takes for nothing."""

    def __bool__(self):
        return False


# Good arguments, by the name of the parameter or by what it is annotated with.
BY_NAME = {
    "pdu": message(200, WHOLE, prev_events=["$w99"]),
    "event": lambda tx: placed(tx, "$r0"),
    "reply": lambda tx: placed(tx, "$r1"),
    "old": lambda tx: placed(tx, "$r0"),
    "new": lambda tx: placed(tx, "$r0"),
    "algorithm": "signed_curve25519",
    "key_id": "signed_curve25519:H",
    "master": {"keys": {f"ed25519:{PUBLIC}": PUBLIC}},
    "txn_id": "txn",
    "pushkey": "key 0",
    "url": "https://one.test/page",
    "text": "message",
    "session": "session",
    "field": "m.tz",
    "since": 0,
    "type": "m.room.name",
    "state_key": "",
}
BY_TYPE = {
    "UserId": A,
    "RoomId": WHOLE,
    "DeviceId": "D",
    "EventId": "$w3",
    "ServerName": "one.test",
    "str": "text",
    "RoomAlias": "#alias0w:one.test",
    "FilterId": "filter",
    "AccessToken": "another token",
    "LoginToken": "login",
    "OpenIdToken": "openid",
    "RefreshToken": "refreshed 1",
    "AppserviceId": "bridge",
    "BackupVersion": "1",
    "SessionId": "session",
    "FileHash": FILE,
    "Mxc": MXC,
    "int": 5,
    "Count": 5,
    "ShortRoomId": lambda tx: tx.rooms.short.room(WHOLE),
    "ShortEventId": lambda tx: tx.rooms.short.event("$w3"),
    "ShortStateKey": lambda tx: tx.rooms.short.state_key("m.room.name", ""),
    "ShortStateHash": lambda tx: tx.rooms.state.before("$w24"),
    "PduCount": 7,
    "PduToken": "99",
    "PduId": lambda tx: tx.rooms.timeline.pdu_id("$r0"),
    "PlacedEvent": lambda tx: placed(tx, "$w3"),
    "StoredEvent": lambda tx: tx.rooms.timeline.get("$w99"),
    "ThreadId": "$r0",
    "Direction": "b",
    "Membership": "leave",
    "MediaKind": "local",
    "Kind": "locked",
    "Origin": "sso",
    "bool": False,
    "JsonObject": {},
    "Key": {"key": "k"},
    "Any": {},
    "Dimensions": Dimensions(9, 2),
    "Selection": Selection(server="one.test"),
    "Limits": Limits(),
    "Presence": Presence("online"),
    "UrlPreview": UrlPreview(url="https://one.test/", fetched_ms=5),
    "Destination": TWO,
    "Keypair": Keypair.from_seed("1", b"s" * 32),
    "Callable[[], Keypair]": lambda _: lambda: Keypair.from_seed("1", b"s" * 32),
    "Callable[[UserId], bool]": lambda _: bool,
    "Iterable[bytes]": [b"bytes"],
    "Iterable[EventId]": ["$w3"],
    "Collection[EventId]": ["$w99"],
    "Iterable[UserId]": [A],
    "Sequence[UserId]": [A],
    "Sequence[RoomId]": [WHOLE],
    "Iterable[RoomId | UserId]": [WHOLE, A],
    "Collection[ServerName]": ["two.test"],
    "Iterable[Mxc]": [MXC],
    "Iterable[PduCount]": [7],
    "Iterable[StateKey]": [("m.room.name", "")],
    "Sequence[StateKey]": [("m.room.name", "")],
    "Sequence[ShortStateKey]": [1],
    "Sequence[ShortEventId]": [1],
    "Iterable[StateEntry]": [b"\0\0\0\0\0\0\0\1" * 2],
    "Iterable[tuple[UserId, DeviceId]]": [(A, "D")],
    "Iterable[tuple[UserId, DeviceId, str]]": [(A, "D", "signed_curve25519")],
    "Iterable[tuple[Destination, PduId]]": lambda tx: [(TWO, tx.rooms.timeline.pdu_id("$r0"))],
    "Iterable[tuple[Destination, JsonObject]]": [(TWO, {})],
    "Sequence[QueuedItem]": lambda tx: tx.sending.waiting(TWO),
    "Iterable[QueuedItem]": lambda tx: tx.sending.all_active(),
    "Sequence[JsonObject]": [{}],
    "Iterable[JsonObject]": [{}],
    "Mapping[StateKey, EventId]": {("m.room.name", ""): "$w1"},
    "Mapping[StateKey, EventId | None]": {("m.room.name", ""): None},
    "Sequence[ShortStateHash]": lambda tx: [tx.rooms.state.before("$w24")],
    "Sequence[tuple[ShortStateHash, Sequence[ShortStateKey]]]": lambda tx: [
        (tx.rooms.state.before("$w24"), [1])
    ],
    "Sequence[tuple[ShortStateHash, Sequence[StateKey]]]": lambda tx: [
        (tx.rooms.state.before("$w24"), [("m.room.name", "")])
    ],
    "Sequence[tuple[ShortStateHash, Wanted]]": lambda tx: [(tx.rooms.state.before("$w24"), None)],
    "Mapping[RoomId, Count]": {WHOLE: 5},
    "Mapping[RoomId, PduCount]": {WHOLE: 7},
    "Mapping[RoomId, Count | PduCount]": {WHOLE: 7},
    "Mapping[str, Key]": {"signed_curve25519:N": {"key": "n"}},
    "Mapping[tuple[UserId, DeviceId], int]": {(A, "D"): 5},
    "Mapping[UserId, Mapping[DeviceId, JsonObject]]": {A: {"D": {}}},
    "Mapping[RoomId, Mapping[SessionId, JsonObject]]": {WHOLE: {"s": {}}},
    "RetentionCursor": (5, 5),
    "tuple[int, PduCount]": (5, 5),
    "tuple[str, bytes]": ("tree", b"key"),
    "Literal['activity', 'root']": "root",
}


# Rules that a good call keeps, and one that is good in itself may not: who calls does the rest.
LEFT_TO_THE_CALLER = {
    "rooms.state.set_current": {7},  # A room's first events and extremities.
    "rooms.state.advance": {7},  # Likewise: it is for `rooms.append`.
    "to_device.queue": {11},  # To know the devices.
    "to_device.queue_many": {11},
}


# What an operation does not look at: it may be anything.
NOT_LOOKED_AT = {
    "rooms.pdu_metadata.forget_relations_to": {"event"},  # Of its room, and what it says.
    "rooms.threads.forget": {"root_id"},  # Any two numbers are a place to it.
    "rooms.state.advance": {"event"},  # The timeline has just made it.
}


def placed(tx, event_id):
    event = tx.rooms.timeline.get(event_id)
    return PlacedEvent(WHOLE, tx.rooms.timeline.pdu_id(event_id), event_id, event.pdu)


# Bad ones ---------------------------------------------------------------------------------------
ANYTHING = [None, 5, -1, 1.5, float("nan"), True, "", "text", b"bytes", [], {}, ()]
ANYTHING += [object(), Falsy()]
TEXTS = [
    "",
    "\ud800",
    "a\udfff",
    "\0",
    "\xff",
    "é" * 128,
    "x" * 1_000_000,
    "@a",
    "@:",
    "!",
    " ",
    "\n",
]
NUMBERS = [-1, 0, 1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 63), 10**4_000, "1", b"1", float("inf")]
OBJECTS = [
    *({"a": bad} for bad in ("\ud800", b"", object(), float("nan"), 10**4_000, nested(200))),
    *({bad: {}} for bad in ("\ud800", 5, None, b"", (), "", "x" * 1_000)),
    *({key: bad} for key in ("content", "keys", "signatures", "event_id") for bad in (None, [], 5)),
    {"a": "x" * 1_000_000},
    nested(5_000),
    {"content": {"$w3": {"m.read": {A: {"thread_id": 5}}}}},
]
LISTS = [
    *([bad] for bad in (None, 5, "", "\ud800", "x" * 300, b"", [], {}, (), object())),
    *([(bad, bad)] for bad in (None, 5, "", "\ud800", "x" * 300, b"", [], {}, object())),
    *([(A, bad)] for bad in (None, 5, "", "\ud800", b"", [], {}, object())),
    [("a", "b", "c", "d")],
    ["$w3", None],
    [1 << 64],
    [-1],
]
MAPPINGS = [
    *({bad: {}} for bad in (None, 5, "", "\ud800", "x" * 300, b"", (), ("a",), (5, 5), (A, 5))),
    *({A: bad} for bad in (None, 5, "", [], {"D": None}, {"D": []}, {5: {}}, {"\ud800": {}})),
    *({("m.room.name", ""): bad} for bad in (5, "", "\ud800", "x" * 300, [], "$unknown")),
    *({("a", "b"): bad} for bad in (5, "$unknown")),
    *({(A, "D"): bad} for bad in (-1, 1 << 64, "5", None)),
    *({WHOLE: bad} for bad in (-1, 1 << 64, "5", None, True)),
    *({"signed_curve25519:X": bad} for bad in (None, 5, [], {"a": "\ud800"})),
]
RECORDS = [
    *(Mxc(bad, bad) for bad in ("", "\ud800", None, 5, b"", [], "x" * 300, "x" * 5_000)),
    *(Mxc("one.test", bad) for bad in ("", "\ud800", None, 5, b"", [])),
    *(PduId(bad, bad) for bad in (-1, 0, 1 << 63, 1 << 64, None, "5", 5)),
    *(Dimensions(bad, bad) for bad in (-1, 1 << 32, None, "5", 1.5)),
    *(FederationServer(bad) for bad in ("", "+a", "$a", "\ud800", None, 5, "x" * 300)),
    *(Appservice(bad) for bad in ("", "\ud800", None, 5, "x" * 300)),
    *(PushGateway(A, bad) for bad in ("", "\ud800", None, 5, "x" * 5_000)),
    *(QueuedItem(TWO, bad) for bad in (None, -1, 1 << 64, "5", PduId(None, None))),
    *(QueuedItem(bad, 5) for bad in (None, 5, "two.test")),
    *(Selection(server=bad, after_secs=bad) for bad in ("", "\ud800", -1, [])),
    *(Selection(uploader=bad) for bad in ("", "\ud800", 5, "@a", [])),
    *(Selection(content_type=bad, bytes_min=5) for bad in ("", 5, [])),
    *(Presence(bad) for bad in ("", None, 5, [])),
    *(Presence("online", last_active_ts=bad) for bad in (-1, 1 << 64, None)),
    *(UrlPreview(url=bad, fetched_ms=5) for bad in ("", "\ud800", None, 5, "x" * 5_000)),
    *(UrlPreview(url="https://one.test/", fetched_ms=bad) for bad in (-1, 1 << 64, None)),
    *(PlacedEvent(bad, PduId(5, 5), "$w3", {}) for bad in (None, 5, "", "\ud800")),
    *(PlacedEvent(WHOLE, PduId(1 << 64, 5), bad, bad) for bad in (None, 5, "", "\ud800")),
    *(StoredEvent(bad, "$w3", {}) for bad in (None, 5, -5, "")),
]
BAD = ANYTHING + TEXTS + NUMBERS + OBJECTS + LISTS + MAPPINGS + RECORDS


# Trying them ------------------------------------------------------------------------------------
def operations():
    for holder, path in ((Parts, ()), (Rooms, ("rooms",)), (Media, ("media",))):
        for name, part in vars(holder).items():
            if isinstance(part, PartOf):
                for method, function in vars(part.kind).items():
                    is_public = method == "__call__" or not method.startswith("_")
                    if is_public and inspect.isfunction(function):
                        yield (*path, name), method, function


OPERATIONS = {".".join((*path, name)): (path, name, fn) for path, name, fn in operations()}


class UndoneError(Exception):
    """Takes back a transaction."""


@pytest.fixture(scope="module")
def store():
    with conduitstore.open(":memory:", media_files=MemoryFiles()) as store:
        for content in (b"one", b"two"):
            store.beside.files.put([content])
        store.beside._files, files = None, store.beside._files  # Files that were never put.
        store.transaction(live)
        store.beside._files = files
        yield store


def good(name, annotation, tx):
    value = BY_NAME.get(name)
    if value is None or (name in ("event", "old", "new") and annotation != "PlacedEvent"):
        options = [option.strip() for option in annotation.split(" | ")]
        key = annotation if annotation in BY_TYPE else options[0]
        value = BY_TYPE[key]
    return value(tx) if callable(value) and not isinstance(value, type) else value


def arguments(function, tx):
    """Good arguments for every parameter without a default."""
    given = {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
            given[name] = good(name, parameter.annotation, tx)
    return given


class Trial:
    """One operation on a store, and what became of it with each argument."""

    def __init__(self, store, operation):
        self.store = store
        self.path, self.method, self.function = OPERATIONS[operation]
        self.hints = get_type_hints(self.function)
        self.done = []

    def parameters(self):
        listed = list(inspect.signature(self.function).parameters.values())[1:]
        return [p.name for p in listed if p.kind is not p.VAR_POSITIONAL]

    def declares(self, hostile):
        """Whether it is annotated to take that. What is true or false may be anything."""
        return all(
            self.hints[name] is bool or fits(self.hints[name], value)
            for name, value in hostile.items()
        )

    def call(self, tx, hostile):
        given = arguments(self.function, tx) | hostile
        part = tx
        for name in self.path:
            part = getattr(part, name)
        result = getattr(part, self.method)(**given)
        if inspect.isgenerator(result):
            list(result)

    def attempt(self, hostile):
        """Refused, in a transaction that goes on and commits what is left of it; or taken back."""

        def run(tx):
            try:
                self.call(tx, hostile)
            except ConduitStoreError:
                return
            self.done.append(hostile)
            raise UndoneError

        with suppress(UndoneError):
            self.store.transaction(run)

    def writes_nothing(self, hostile):
        try:
            self.store.transaction(lambda tx: self.call(tx, hostile), read_only=True)
        except ConduitStoreError:
            return False
        return True

    def rules_broken_by(self, calls):
        broken = set()

        def run(tx):
            for hostile in calls:
                with suppress(ConduitStoreError):
                    self.call(tx, hostile)
            broken.update(violation.rule for violation in check(tx.keyspace))
            raise UndoneError

        with suppress(UndoneError):
            self.store.transaction(run)
        return broken


def sequence(store):
    with store.db.snapshot() as view:
        return view.sequence


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_refused_leaves_nothing_and_what_is_done_is_whole(store, operation):
    trial = Trial(store, operation)
    before, checksum = sequence(store), store.db.checksum()
    for name in trial.parameters():
        for bad in BAD:
            try:
                trial.attempt({name: bad})
            except Exception as error:  # noqa: BLE001 - it is what is looked for
                pytest.fail(f"{operation}({name}={shown(bad)}): {error!r}")
    assert sequence(store) == before
    assert store.db.checksum() == checksum
    looked_at = set(trial.parameters()) - NOT_LOOKED_AT.get(operation, set())
    seen = [hostile for hostile in trial.done if hostile.keys() <= looked_at]
    strange = [hostile for hostile in seen if not trial.declares(hostile)]
    assert [shown(hostile) for hostile in strange if not trial.writes_nothing(hostile)] == []
    # Some operations are a step of a larger one, and leave the rest to the caller.
    allowed = trial.rules_broken_by([{}]) | LEFT_TO_THE_CALLER.get(operation, set())
    assert trial.rules_broken_by(trial.done) <= allowed
