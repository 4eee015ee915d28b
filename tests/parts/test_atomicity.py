"""Each operation that writes is one commit, with all its rows, and can be taken back by itself."""

import pytest

import conduitstore
from conduitstore.parts.presence import Presence

A, B, ROOM, LIVED = "@a:one.test", "@b:two.test", "!r:one.test", "!lived:one.test"
NAME, TOPIC = ("m.room.name", ""), ("m.room.topic", "")


def receipt(event, thread=None):
    detail = {"ts": 1} if thread is None else {"ts": 1, "thread_id": thread}
    return {"type": "m.receipt", "content": {event: {"m.read": {A: detail}}}}


def cross(letter):
    return {"keys": {"ed25519:k": letter * 43}}


def backup_of(parts):
    return parts.key_backups.latest_version(A)


def reply(pdu):
    """The event as a reply in the thread of $0."""
    relation = {"rel_type": "m.thread", "event_id": "$0"}
    return pdu | {"content": pdu["content"] | {"m.relates_to": relation}}


OPERATIONS = {
    "next_count": lambda p, _: p.globals.next_count(),
    "create user": lambda p, _: p.users.create(B, "hash"),
    "set password": lambda p, _: p.users.set_password(A, None),
    "set name": lambda p, _: p.users.set_displayname(A, "Ann"),
    "create device": lambda p, _: p.devices.create(A, "E", "token2"),
    "log in again": lambda p, _: p.devices.create(A, "D", "token2"),
    "remove device": lambda p, _: p.devices.remove(A, "D"),
    "set token": lambda p, _: p.devices.set_token(A, "D", "token2"),
    "rename device": lambda p, _: p.devices.update_metadata(A, "D", {"display_name": "x"}),
    "last seen": lambda p, _: p.devices.set_last_seen({(A, "D"): 5}),
    "device keys": lambda p, _: p.keys.add_device_keys(A, "D", {"keys": {}}),
    "cross-signing keys": lambda p, _: p.keys.add_cross_signing_keys(
        A, cross("N"), cross("S"), cross("U")
    ),
    "sign": lambda p, _: p.keys.sign(A, "M" * 43, B, "k", "s"),
    "announce": lambda p, _: p.key_changes.mark(A),
    "one-time keys": lambda p, _: p.one_time_keys.add(A, "D", {"x:1": {}, "x:2": {}}),
    "claim": lambda p, _: p.one_time_keys.claim(A, "D", "x"),
    "claim many": lambda p, _: p.one_time_keys.claim_many([(A, "D", "x"), (A, "D", "y")]),
    "prune": lambda p, _: p.one_time_keys.prune(A, "D", 0),
    "fallback key": lambda p, _: p.one_time_keys.add_fallback(A, "D", "y:2", {}),
    "backup": lambda p, _: p.key_backups.create(A, {"n": 2}),
    "change backup": lambda p, _: p.key_backups.update(A, backup_of(p), {"n": 2}),
    "delete backup": lambda p, _: p.key_backups.delete(A, backup_of(p)),
    "back keys up": lambda p, _: p.key_backups.add_keys(
        A, backup_of(p), {ROOM: {"s": {}, "t": {}}}
    ),
    "delete backed up keys": lambda p, _: p.key_backups.delete_keys(A, backup_of(p)),
    "deactivate": lambda p, _: p.users.deactivate(A),
    "origin": lambda p, _: p.users.create(B, "*", origin="sso"),
    "log out": lambda p, _: p.devices.remove_tokens(A, "D"),
    "expiring token": lambda p, _: p.devices.set_token(A, "D", "token2", expires_s=5),
    "refresh token": lambda p, _: p.refresh_tokens.set(A, "D", "r9"),
    "spend": lambda p, _: p.refresh_tokens.spend("r2", "r3"),
    "dehydrated device": lambda p, _: p.dehydrated_devices.set(A, "DRY2", {}),
    "wake": lambda p, _: p.dehydrated_devices.remove(A),
    "openid": lambda p, _: p.tokens.create_openid(A),
    "login token": lambda p, _: p.tokens.create_login(A),
    "forget tokens": lambda p, _: p.tokens.forget_user(A),
    "filter": lambda p, _: p.filters.create(A, {"new": 1}),
    "profile": lambda p, _: p.profiles.clear(A),
    "suspend": lambda p, _: p.restrictions.impose(A, "suspended", B),
    "erase": lambda p, _: p.restrictions.erase(A),
    "delete account data": lambda p, _: p.account_data.delete(None, A, "m.tag"),
    "erase account data": lambda p, _: p.account_data.erase_user(A),
    "queue": lambda p, _: p.to_device.queue(B, A, "D", "t", {}),
    "queue many": lambda p, _: p.to_device.queue_many(B, "t", {A: {"D": {}, "E": {}}}),
    "acknowledge": lambda p, _: p.to_device.forget_until(A, "D", 1 << 40),
    "account data": lambda p, _: p.account_data.update(None, A, "m.direct", {"a": 1}),
    "append": lambda p, message: p.rooms.timeline.append(message(5), "$5", ROOM),
    "append outlier": lambda p, message: p.rooms.timeline.append(message(1), "$1", ROOM),
    "backfill": lambda p, message: p.rooms.timeline.prepend_backfilled(message(5), "$5", ROOM),
    "redact": lambda p, message: p.rooms.timeline.replace(message(9), "$0"),
    "outlier": lambda p, message: p.rooms.timeline.add_outlier(message(5), "$5"),
    "short ids": lambda p, _: p.rooms.short.get_or_create_event_many(["$x", "$y", "$x"]),
    "state key": lambda p, _: p.rooms.short.get_or_create_state_key("m.x", ""),
    "join": lambda p, _: p.rooms.members.mark_joined(B, ROOM),
    "invite": lambda p, _: p.rooms.members.mark_invited(B, ROOM, [{}]),
    "knock": lambda p, _: p.rooms.members.mark_knocked(B, ROOM, [{}]),
    "leave": lambda p, _: p.rooms.members.mark_left(A, ROOM, [{}]),
    "forget": lambda p, _: p.rooms.members.forget(A, "!left:one.test"),
    "save state": lambda p, _: p.rooms.state_compressor.save({NAME: "$n", TOPIC: "$t"}),
    "change state": lambda p, _: p.rooms.state_compressor.change(
        p.rooms.state.current(LIVED), {NAME: "$n"}
    ),
    "set state": lambda p, _: p.rooms.state.set_current(ROOM, p.rooms.state.before("$l")),
    "state before": lambda p, _: p.rooms.state.set_before("$x", p.rooms.state.before("$l")),
    "extremities": lambda p, _: p.rooms.state.set_forward_extremities(ROOM, ["$0", "$last"]),
    "invite via": lambda p, _: p.rooms.sharing.add_servers_invite_via(ROOM, ["x", "y"]),
    "auth chain": lambda p, _: p.rooms.auth_chain.remember("$0"),
    "trim chains": lambda p, _: p.rooms.auth_chain.trim(0),
    "follow": lambda p, _: p.rooms.members.follow(B, ROOM, {"content": {"membership": "ban"}}),
    "append state": lambda p, message: p.rooms.append(
        message(6, LIVED, type="m.room.name", state_key=""), "$6", LIVED
    ),
    "backfill a room": lambda p, message: p.rooms.append.backfilled(
        message(7, "!new:x"), "$7", "!new:x"
    ),
    "receipt": lambda p, _: p.rooms.receipts.update(A, ROOM, receipt("$x")),
    "thread receipt": lambda p, _: p.rooms.receipts.update(A, ROOM, receipt("$0", "main")),
    "private marker": lambda p, _: p.rooms.receipts.set_private_read(A, ROOM, 2),
    "thread marker": lambda p, _: p.rooms.receipts.set_private_read(A, ROOM, 2, "$t"),
    "count unread": lambda p, _: p.rooms.user_counters.increment(ROOM, [A, B], [A]),
    "count unread in a thread": lambda p, _: p.rooms.user_counters.increment(ROOM, [A], [A], "$t"),
    "read": lambda p, _: p.rooms.user_counters.reset(A, ROOM),
    "read a thread": lambda p, _: p.rooms.user_counters.reset(A, ROOM, "$t"),
    "set alias": lambda p, _: p.rooms.alias.set("#b:one.test", ROOM, A),
    "move alias": lambda p, _: p.rooms.alias.set("#a:one.test", "!left:one.test", A),
    "remove alias": lambda p, _: p.rooms.alias.remove("#a:one.test"),
    "disable room": lambda p, _: p.rooms.metadata.disable(ROOM),
    "enable room": lambda p, _: p.rooms.metadata.enable("!left:one.test"),
    "ban room": lambda p, _: p.rooms.metadata.ban(ROOM, A),
    "unban room": lambda p, _: p.rooms.metadata.unban("!left:one.test"),
    "lower depth": lambda p, _: p.rooms.metadata.lower_min_depth(ROOM, 5),
    "show room": lambda p, _: p.rooms.directory.set_public(ROOM),
    "hide room": lambda p, _: p.rooms.directory.set_not_public("!left:one.test"),
    "lazy load": lambda p, _: p.rooms.lazy_loading.witness(A, "D", ROOM, [A, B], since=1, token=3),
    "load again": lambda p, _: p.rooms.lazy_loading.reset(A, "D", ROOM),
    "forget loaded": lambda p, _: p.rooms.lazy_loading.forget_device(A, "D"),
    "thread reply": lambda p, message: p.rooms.timeline.append(reply(message(7)), "$reply2", ROOM),
    "redact a reply": lambda p, message: p.rooms.timeline.replace(message(6), "$reply"),
    "redact and keep": lambda p, m: p.rooms.timeline.replace(m(9), "$0", keep_original_s=5),
    "remove a root": lambda p, _: p.rooms.timeline.remove("$0"),
    "remove a reply": lambda p, _: p.rooms.timeline.remove("$reply"),
    "retention": lambda p, _: p.rooms.retention.purge(ROOM, 1 << 60),
    "reference": lambda p, _: p.rooms.pdu_metadata.mark_referenced(ROOM, ["$x", "$y"]),
    "keep original": lambda p, m: p.rooms.originals.keep("$x", m(5), 7),
    "forget originals": lambda p, _: p.rooms.originals.forget_until(9),
    "presence": lambda p, _: p.presence.update(A, Presence("offline")),
    "sign of life": lambda p, _: p.presence.ping(A, 9),
    "forget presence": lambda p, _: p.presence.remove(A),
    "all offline": lambda p, _: p.presence.set_all_offline(),
    "forget all presence": lambda p, _: p.presence.forget_all(),
}


def live(tx, message):
    """Leave something that each operation replaces or removes."""
    tx.users.create(A, "hash")
    tx.devices.create(A, "D", "token")
    tx.keys.add_device_keys(A, "D", {})
    tx.keys.add_cross_signing_keys(A, cross("M"))
    tx.one_time_keys.add(A, "D", {"x:0": {}})
    tx.one_time_keys.add_fallback(A, "D", "y:1", {})
    tx.key_backups.add_keys(A, tx.key_backups.create(A, {}), {ROOM: {"s": {}}})
    tx.refresh_tokens.set(A, "D", "r1")
    tx.refresh_tokens.spend("r1", "r2")
    tx.dehydrated_devices.set(A, "DRY", {})
    tx.tokens.create_openid(A)
    tx.tokens.create_login(A)
    tx.filters.create(A, {})
    tx.profiles.set(A, "m.tz", "UTC")
    tx.users.set_displayname(A, "A")
    tx.account_data.update(None, A, "m.tag", {"a": 1})
    tx.account_data.update(ROOM, A, "m.tag", {"a": 1})
    tx.to_device.queue(B, A, "D", "t", {})
    tx.to_device.queue(B, A, "D", "t", {})
    tx.account_data.update(None, A, "m.direct", {})
    tx.rooms.timeline.append(message(0), "$0", ROOM)
    tx.rooms.timeline.add_outlier(message(1), "$1")
    tx.rooms.timeline.append(reply(message(6)), "$reply", ROOM)
    tx.rooms.timeline.append(message(8), "$last", ROOM)
    tx.rooms.originals.keep("$old", message(3), 4)
    tx.rooms.members.mark_joined(A, ROOM)
    tx.rooms.members.mark_left(A, "!left:one.test")
    tx.rooms.append(message(3, LIVED, type="m.room.create", state_key=""), "$l", LIVED)
    tx.rooms.timeline.add_outlier(message(8, auth_events=["$0"]), "$8")
    tx.rooms.auth_chain.remember("$8")
    tx.rooms.receipts.update(A, ROOM, receipt("$0"))
    tx.rooms.receipts.set_private_read(A, ROOM, 1)
    tx.rooms.user_counters.increment(ROOM, [A], [A])
    tx.rooms.user_counters.increment(ROOM, [A], [A], "$t")
    tx.rooms.alias.set("#a:one.test", ROOM, A)
    tx.rooms.metadata.disable("!left:one.test")
    tx.rooms.metadata.ban("!left:one.test")
    tx.rooms.directory.set_public("!left:one.test")
    tx.rooms.lazy_loading.witness(A, "D", ROOM, [A], since=0, token=2)
    tx.presence.update(A, Presence("online", last_active_ts=5))
    tx.presence.update(B, Presence("unavailable"))


@pytest.fixture(scope="module")
def life(message):
    """Such a store's rows and count: made once, as a life of its own takes longer than a test."""
    with conduitstore.open(":memory:") as store:
        store.transaction(lambda tx: live(tx, message))
        with store.db.snapshot() as view:
            rows = [(name, *row) for name in view.tree_names() for row in view.open_tree(name)]
            return rows, view.current_count()


@pytest.fixture
def lived_in(store, life):
    """A store in which each operation finds what it replaces or removes."""
    rows, count = life

    def live_again(tx):
        for name, key, value in rows:
            tx.open_tree(name).put(key, value)
        while tx.current_count() < count:
            tx.next_count()

    store.db.transaction(live_again)
    return store


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_is_one_commit(lived_in, rows, message, operation):
    before, sequence = rows(), lived_in.db.sequence
    operation(lived_in, message)
    assert lived_in.db.sequence == sequence + 1
    assert rows() != before


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_is_taken_back_by_itself(lived_in, rows, message, operation):
    def fail(tx):
        operation(tx, message)
        raise ZeroDivisionError

    def outer(tx):
        tx.users.set_blurhash(A, "kept")
        with pytest.raises(ZeroDivisionError):
            tx.transaction(fail)

    expected, count = rows(), lived_in.globals.current_count()
    lived_in.transaction(outer)
    expected["userid_blurhash"] = [(A.encode(), b"kept")]
    assert rows() == expected
    assert lived_in.globals.current_count() == count


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_that_fails_at_any_write_leaves_nothing(
    lived_in, rows, message, operation, monkeypatch
):
    """The n-th row that a transaction writes cannot be written, for every n there is."""
    kind = lived_in.db.transaction(type)
    write, before = kind.write, rows()
    for allowed in range(100):
        left = [allowed]

        def fail_late(tx, *args, left=left):
            if not left[0]:
                raise ZeroDivisionError
            left[0] -= 1
            return write(tx, *args)

        monkeypatch.setattr(kind, "write", fail_late)
        try:
            operation(lived_in, message)
        except ZeroDivisionError:
            monkeypatch.setattr(kind, "write", write)
            assert rows() == before
        else:
            break
    assert allowed < 100
    # Of one row, written without a transaction.
    single = ("set name", "disable room", "enable room", "ban room", "unban room", "show room")
    assert allowed > 0 or operation in [OPERATIONS[name] for name in (*single, "hide room")]
