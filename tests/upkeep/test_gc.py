"""What nobody needs goes, what somebody needs stays, and no tree grows for ever."""

import threading
from dataclasses import replace
from unittest.mock import ANY

import pytest
from lived import live

import conduitstore
from conduitstore import InvalidArgumentError
from conduitstore.consistency import check
from conduitstore.files import MemoryFiles
from conduitstore.parts.media.previews import UrlPreview
from conduitstore.parts.presence import Presence
from conduitstore.schema import TREES
from conduitstore.types import FederationServer, Mxc
from conduitstore.upkeep import GcOptions, batches, delete_room, gc

A, B, ROOM = "@a:one.test", "@b:two.test", "!r:one.test"
NOW_MS = 1 << 43  # Some hundred years from now.
AT_ONCE = GcOptions(
    answers_ms=0,
    expired_tokens_ms=0,
    spent_tokens_ms=0,
    originals_ms=0,
    presence_ms=0,
    backoff_ms=0,
    previews_ms=0,
    auth_chains_bytes=0,
    young_counts=0,
    messages_ms=0,
)
REGISTRY = {name for name, tree in TREES.items() if "gc" in tree.emptied_by}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(batches, "BATCH_ROWS", 3)
    monkeypatch.setattr("conduitstore.upkeep.messages.EVENTS_AT_ONCE", 3)


@pytest.fixture
def store(open_store):
    with open_store(media_files=MemoryFiles()) as store:
        yield store


@pytest.fixture
def bare():
    """A store that knows of media, and not of their bytes."""
    with conduitstore.open(":memory:") as store:
        yield store


def event(kind="m.room.message", room=ROOM, **more):
    return {
        "content": {"body": "tea"},
        "origin_server_ts": 5,
        "prev_events": [],
        "room_id": room,
        "sender": A,
        "type": kind,
    } | more


def reply(to, **more):
    content = {"body": "tea", "m.relates_to": {"rel_type": "m.thread", "event_id": to}}
    return event(content=content, **more)


def receipt(event_id, thread):
    return {"content": {event_id: {"m.read": {A: {"ts": 5, "thread_id": thread}}}}}


def begin(store):
    """What is there all the time: two users, a device of each, an encrypted room."""
    for user in (A, B):
        store.users.create(user, "hash")
        store.devices.create(user, "HOME", None)
    for kind in ("m.room.create", "m.room.encryption"):
        store.rooms.append(event(kind, state_key=""), f"${kind}", ROOM)
    for user in (A, B):
        member = event("m.room.member", state_key=user, content={"membership": "join"})
        store.rooms.append(member, f"$join{user}", ROOM)


def cycle(store, n):
    """A day of a server, in small; every tree of the registry gets rows."""
    for part in (devices, tokens, messages, states, keys, media, outside):
        part(store, n)


def devices(store, n):
    name = f"D{n}"
    store.devices.create(A, name, f"token {n}", expires_s=5)
    store.refresh_tokens.set(A, "HOME", f"first {n}")
    store.refresh_tokens.spend(f"first {n}", f"second {n}")
    store.transaction_ids.record(A, "HOME", f"m{n}", "$event", 5)
    store.uiaa.update_session(A, "HOME", f"s{n}", {}, 5)
    store.rooms.lazy_loading.witness(A, name, ROOM, [B], since=0, token=n + 1)
    store.rooms.lazy_loading.witness(A, "HOME", f"!left{n}:x", [B], since=0, token=n + 1)
    store.one_time_keys.add(A, name, {"x:1": {}, "x:2": {}})
    store.one_time_keys.claim(A, name, "x")
    for device in (name, f"UNKNOWN{n}"):
        store.to_device.queue(B, A, device, "t", {})
    store.devices.remove(A, name)
    store.devices.set_token(B, "HOME", f"token of {B}", expires_s=5)


def tokens(store, _n):
    store.tokens.create_openid(A, 5)
    store.tokens.create_login(A, 5)


def messages(store, n):
    timeline = store.rooms.timeline
    previous = store.rooms.state.forward_extremities(ROOM)
    store.rooms.append(event(prev_events=previous), f"$root{n}", ROOM)
    for number, previous in ((1, f"$root{n}"), (2, f"$1-{n}")):
        store.rooms.append(reply(f"$root{n}", prev_events=[previous]), f"${number}-{n}", ROOM)
    store.rooms.receipts.update(A, ROOM, receipt(f"$1-{n}", f"$root{n}"))
    store.rooms.receipts.update(A, ROOM, receipt(f"$1-{n}", "main"))
    store.rooms.receipts.set_private_read(A, ROOM, n + 1, f"$root{n}")
    store.rooms.user_counters.increment(ROOM, [A], [A], f"$root{n}")
    timeline.replace(event(content={}), f"$2-{n}", keep_original_s=5)
    for mark in ("mark_soft_failed", "mark_rejected"):
        getattr(store.rooms.pdu_metadata, mark)(f"$bad{n}")
    store.rooms.auth_chain.remember("$m.room.encryption")
    places = [timeline.pdu_id(f"${number}-{n}") for number in (1, 2)]
    items = store.sending.queue_pdus([(FederationServer("two.test"), place) for place in places])
    store.sending.mark_active(items[:1])


def states(store, n):
    """A room that comes and goes, and states that were worked out for nothing."""
    room = f"!r{n}:one.test"
    for number in range(5):
        kind = event("m.room.name", room, state_key="", content={"name": str(number)})
        store.rooms.append(kind, f"$name{n}-{number}", room)
    store.rooms.append(reply("$unknown", room=room), f"$waits{n}", room)
    delete_room(store.db, room)
    compressor, current = store.rooms.state_compressor, store.rooms.state.current(ROOM)
    for _ in range(3):
        current = compressor.change(current, {("m.room.topic", ""): "$m.room.create"})
        current = compressor.change(current, {("m.room.topic", ""): None, ("n", ""): f"$join{A}"})


def keys(store, _n):
    store.key_changes.mark(A)
    store.rooms.members.mark_left(A, ROOM)
    store.key_changes.mark(A)
    store.rooms.members.mark_joined(A, ROOM)
    store.key_changes.mark(A)


def media(store, n):
    gone = Mxc("one.test", f"gone{n}")
    store.media.files.upload(gone, [b"bytes %d" % n], uploader=A)
    store.media.retention.purge([gone])
    store.media.pending.reserve(Mxc("one.test", f"later{n}"), A, 5)
    store.media.previews.set(UrlPreview(url=f"https://{n}", fetched_ms=5))


def outside(store, n):
    store.users.note_remote(f"@{n}:three.test")
    store.presence.update(f"@{n}:three.test", Presence("offline", last_active_ts=5))
    store.backoff.record_failure(f"{n}.test", 5)


def sizes(store):
    return {name: len(store.db.open_tree(name)) for name in TREES}


def assert_consistent(store):
    """But for messages to devices that nobody knows, which are gc's to take."""
    with store.snapshot() as view:
        assert [one for one in check(view.keyspace) if b"UNKNOWN" not in one.key] == []


def test_defect_19_no_tree_grows_for_ever(store):
    begin(store)
    after = []
    for n in range(6):
        before = sizes(store)
        cycle(store, n)
        lived = sizes(store)
        assert {name for name in REGISTRY if lived[name] <= before[name]} == set()
        store.gc(AT_ONCE, now_ms=NOW_MS)
        assert_consistent(store)
        after.append(sizes(store))
    assert after[5] == after[4] == after[3]


def test_what_is_needed_stays(bare):
    """With every age at its default, and nothing old, nothing that somebody could want goes."""
    store = bare
    store.transaction(live)
    store.devices.create("@a:one.test", "NEW", "new", expires_s=1 << 40)
    store.rooms.lazy_loading.witness(A, "D", ROOM, [B], since=0, token=1)
    store.presence.update(A, Presence("online"))
    store.tokens.create_login(A)
    store.rooms.receipts.update(A, "!whole:one.test", receipt("$w99", "$w99"))
    store.rooms.originals.keep("$w99", event(), 1 << 50)
    store.rooms.auth_chain.remember("$w99")
    with store.snapshot() as view:
        before = {name: dict(iter(view.keyspace.open_tree(name))) for name in TREES}
    collected = store.gc()
    with store.snapshot() as view:
        after = {name: dict(iter(view.keyspace.open_tree(name))) for name in TREES}
    # What that life has from 1970.
    old = {"servername_backoff", "mediaid_pending", "userid_pending", "expiresms_mediaid"}
    assert {name for name in TREES if after[name] != before[name]} == old
    assert {one.tree for one in collected if one.removed} == old
    assert {one.tree for one in collected if one.looked_at} > {"todeviceid_events"}


def test_a_dry_run_says_what_would_go_and_takes_nothing(store):
    begin(store)
    cycle(store, 0)
    before, sequence = sizes(store), store.db.sequence
    dry = store.gc(AT_ONCE, now_ms=NOW_MS, dry_run=True)
    assert store.db.sequence == sequence
    real = store.gc(AT_ONCE, now_ms=NOW_MS)
    after = sizes(store)
    gone = {name: before[name] - after[name] for name in TREES if before[name] > after[name]}
    gone.pop("filehash_removal")  # Its rows go with the files.
    came_and_went = "eventid_relatingpduid"  # As a thread's root goes before its replies.
    removed, told = (
        {one.tree: one.removed for one in run if one.removed and one.tree != came_and_went}
        for run in (real, dry)
    )
    assert removed == gone
    assert {name: total for name, total in told.items() if total > gone[name]} == {}
    # What goes only when messages have gone is not known yet.
    with_messages = {name for name, t in TREES.items() if "rooms.timeline.remove" in t.emptied_by}
    assert told["pduid_pdu"] == removed["pduid_pdu"]
    assert gone.keys() - told.keys() - with_messages <= {
        *("roomuserthreadid_readreceiptid", "readreceiptid_readreceipt"),
        *("roomuserthreadid_privateread", "userroomthreadid_notificationcount"),
        *("userroomthreadid_highlightcount", "servernameevent_data", "servercurrentevent_data"),
    }


def test_a_run_may_end_after_any_batch(store):
    """Whoever is told of progress may raise; the store is consistent, and the next run goes on."""
    begin(store)
    for n in range(2):
        cycle(store, n)

    class EnoughError(Exception):
        pass

    allowed = rounds = 0
    while True:
        left = [allowed]

        def enough(_tree, _done, _total, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise EnoughError

        try:
            store.gc(AT_ONCE, now_ms=NOW_MS, on_progress=enough)
            break
        except EnoughError:
            assert_consistent(store)
            allowed, rounds = allowed + 1, rounds + 1
    assert rounds > 10
    with conduitstore.open(":memory:", media_files=MemoryFiles()) as other:
        begin(other)
        for n in range(2):
            cycle(other, n)
        other.gc(AT_ONCE, now_ms=NOW_MS)
        assert sizes(other) == sizes(store)


@pytest.mark.slow
def test_gc_runs_beside_a_server(store):
    """One thread lives, this one collects; in the end all is as if they had taken turns."""
    begin(store)
    errors = []

    def live_on():
        try:
            for n in range(12):
                cycle(store, n)
        except BaseException as error:
            errors.append(error)
            raise

    # Messages and young states stay, or the cycle would miss what it has just written.
    options = replace(AT_ONCE, messages_ms=None, young_counts=10_000)
    living = threading.Thread(target=live_on)
    living.start()
    while living.is_alive():
        store.gc(options, now_ms=NOW_MS)
    living.join()
    assert errors == []
    store.gc(AT_ONCE, now_ms=NOW_MS)
    store.gc(AT_ONCE, now_ms=NOW_MS)
    assert_consistent(store)
    with conduitstore.open(":memory:", media_files=MemoryFiles()) as other:
        begin(other)
        for n in range(12):
            cycle(other, n)
        other.gc(AT_ONCE, now_ms=NOW_MS)
        other.gc(AT_ONCE, now_ms=NOW_MS)
        assert sizes(other) == sizes(store)


def test_progress_is_told_by_tree(store):
    begin(store)
    cycle(store, 0)
    told = {}
    gc(store.db, AT_ONCE, now_ms=NOW_MS, on_progress=lambda *one: told.update({one[0]: one[1:]}))
    assert told["todeviceid_events"] == (1, 1)
    assert told["shorteventid_shortstatehash"][0] > 0
    with store.snapshot():
        assert gc(store.db, AT_ONCE, now_ms=NOW_MS) == ANY


def test_a_row_that_cannot_be_read_stays_and_holds_up_nothing(store):
    begin(store)
    cycle(store, 0)
    for name in REGISTRY - {"shortstatehash_statediff", "filehash_removal"}:
        tree = store.db.open_tree(name)
        tree.insert(b"\xff", b"\xff")
        tree.insert(b"x" * 2_000, b"")
    collected = {one.tree: one.removed for one in gc(store.db, AT_ONCE, now_ms=NOW_MS)}
    assert collected["todeviceid_events"] == 1
    assert store.db.open_tree("todeviceid_events").contains_key(b"\xff")


def test_no_state_goes_while_one_cannot_be_read(store):
    begin(store)
    cycle(store, 0)
    diffs = store.db.open_tree("shortstatehash_statediff")
    diffs.insert(store.rooms.state.current(ROOM).to_bytes(8), b"")
    before = len(diffs)
    with pytest.raises(conduitstore.CorruptedError, match="shortstatehash_statediff"):
        store.gc(AT_ONCE, now_ms=NOW_MS)
    assert len(diffs) == before
    assert len(store.db.open_tree("openidtoken_expiresatuserid")) == 0


@pytest.mark.parametrize("bad", [-1, 1.5, "1", True, 1 << 64, None])
def test_what_is_no_age(bad):
    with pytest.raises(InvalidArgumentError):
        GcOptions(answers_ms=bad)
    with pytest.raises(InvalidArgumentError):
        conduitstore.open(":memory:").gc(now_ms=bad if bad is not None else -1)
