"""What goes by age goes when it is too old, and not a moment before."""

from hypothesis import given, settings
from hypothesis import strategies as st

import conduitstore
from conduitstore.consistency import check
from conduitstore.parts.media.previews import UrlPreview
from conduitstore.parts.presence import Presence
from conduitstore.parts.uiaa import LIFETIME_MS
from conduitstore.types import Mxc
from conduitstore.upkeep import GcOptions

A = "@a:one.test"


def record(store, n, time_ms):
    store.transaction_ids.record(A, "D", str(n), "", time_ms)


def authenticate(store, n, time_ms):
    store.uiaa.update_session(A, "", str(n), {}, time_ms)


def reserve(store, n, time_ms):
    store.media.pending.reserve(Mxc("one.test", str(n)), A, time_ms)


def preview(store, n, time_ms):
    store.media.previews.set(UrlPreview(url=str(n), fetched_ms=time_ms))


def redact(store, n, time_ms):
    pdu = {"type": "t", "sender": A, "content": {}, "origin_server_ts": 5, "room_id": "!r:x"}
    store.rooms.originals.keep(f"${n}", pdu, time_ms // 1000)


def fail(store, n, time_ms):
    store.backoff.record_failure(f"{n}.test", time_ms)


def leave(store, n, time_ms):
    store.presence.update(f"@{n}:x", Presence("offline", last_active_ts=time_ms))


def is_young(time_ms, now_ms, age_ms):
    return time_ms >= now_ms - age_ms


# What writes something at a time; the tree that counts it; and whether it stays.
KINDS = {
    "answers_ms": (record, "userdevicetxnid_response", is_young),
    "backoff_ms": (fail, "servername_backoff", is_young),
    "previews_ms": (preview, "url_preview", is_young),
    "presence_ms": (leave, "presenceid_presence", is_young),
    "originals_ms": (
        redact,
        "eventid_originalpdu",
        lambda time, now, age: time // 1000 > max(0, now - age) // 1000,
    ),
    "of a session": (
        authenticate,
        "userdevicesessionid_uiaainfo",
        lambda time, now, _: time + LIFETIME_MS > now,
    ),
    "of a reservation": (reserve, "mediaid_pending", lambda time, now, _: time > now),
}
TIMES = st.one_of(st.integers(0, 5_000), st.integers(LIFETIME_MS - 3_000, LIFETIME_MS + 3_000))


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(KINDS)), TIMES), max_size=15),
    st.dictionaries(st.sampled_from([k for k in KINDS if k.endswith("_ms")]), TIMES),
    TIMES,
)
def test_what_is_old_enough_goes(things, ages, now_ms):
    options = GcOptions(**ages)
    with conduitstore.open(":memory:") as store:
        for n, (kind, time_ms) in enumerate(things):
            KINDS[kind][0](store, n, time_ms)
        store.gc(options, now_ms=now_ms)
        for kind, (_, tree, stays) in KINDS.items():
            age_ms = getattr(options, kind, 0)
            left = [time for one, time in things if one == kind and stays(time, now_ms, age_ms)]
            assert len(store.db.open_tree(tree)) == len(left), kind
        with store.snapshot() as view:
            assert list(check(view.keyspace)) == []


def test_what_is_online_stays_however_old(open_store):
    with open_store() as store:
        store.presence.update(A, Presence("unavailable"))
        store.gc(now_ms=1 << 43)
        assert store.presence.get(A) is not None
        store.presence.set_all_offline()
        store.gc(now_ms=1 << 43)
        assert store.presence.get(A) is None
        assert store.presence.last_update(A) is None


def test_a_token_that_has_expired_is_known_for_a_while(open_store):
    """And with a refresh token beside it the device goes on."""
    with open_store() as store:
        store.users.create(A, "hash")
        store.devices.create(A, "D", "access", expires_s=5)
        store.refresh_tokens.set(A, "D", "first")
        store.refresh_tokens.spend("first", "second")
        store.gc(now_ms=6_000 + GcOptions().expired_tokens_ms - 1_000)
        assert store.devices.find_from_token("access", even_expired=True) == (A, "D")
        store.gc(now_ms=6_000 + GcOptions().expired_tokens_ms)
        assert store.devices.find_from_token("access", even_expired=True) is None
        assert store.refresh_tokens.classify("first").successor == "second"
        store.gc(now_ms=1 << 43)
        assert store.refresh_tokens.classify("first") is None
        assert store.refresh_tokens.current(A, "D") == "second"
        store.devices.set_token(A, "D", "new")
        with store.snapshot() as view:
            assert list(check(view.keyspace)) == []


def test_a_device_that_comes_back_keeps_what_came_since(open_store):
    with open_store() as store:
        store.users.create(A, "hash")
        store.to_device.queue(A, A, "D", "t", {})
        store.gc()
        store.devices.create(A, "D", None)
        store.to_device.queue(A, A, "D", "t", {"new": True})
        store.gc()
        upto = store.globals.current_count()
        ((_, event),) = store.to_device.events_since(A, "D", 0, upto)
        assert event["content"] == {"new": True}


def test_a_thread_of_which_nothing_is_here_is_nobodys(open_store):
    room = "!r:x"
    event = {"type": "t", "sender": A, "origin_server_ts": 5, "room_id": room}
    to_root = {"m.relates_to": {"rel_type": "m.thread", "event_id": "$root"}}
    with open_store() as store:
        store.rooms.timeline.append({**event, "content": to_root}, "$reply", room)
        for thread in ("$root", "$gone", "main"):
            store.rooms.receipts.set_private_read(A, room, 1, thread)
            store.rooms.user_counters.increment(room, [A], [A], thread)
        store.gc()
        read = store.rooms.receipts.private_read
        assert [read(A, room, thread) for thread in ("$root", "$gone", "main")] == [1, None, 1]
        store.rooms.timeline.remove("$reply")
        store.gc()
        assert [read(A, room, thread) for thread in ("$root", "$gone", "main")] == [None, None, 1]
