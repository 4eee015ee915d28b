"""What is dead in each tree that would otherwise grow for ever: one rule a tree.

A rule names the rows that go, in its own tree and in others, and changes nothing. What it looks at
it reads from the view it is given, so it may be asked again later, in the transaction that removes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from conduitstore.codec.keys import U64_MAX
from conduitstore.codec.records import unpack_record
from conduitstore.codec.values import pack_u64, unpack_json_object
from conduitstore.consistency.rows import Row, folded, found_at
from conduitstore.errors import CorruptedError
from conduitstore.kv import Keyspace
from conduitstore.parts.backoff import Failures
from conduitstore.schema import TREES

from .options import GcOptions

_RECEIPTS = "readreceiptid_readreceipt"


class Doomed(NamedTuple):
    """A row that goes."""

    tree: str
    key: bytes


Dead = Callable[[Keyspace, Row], Iterable[Doomed]]
"""What goes because of a row, itself included; nothing of one that lives."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is dead in a tree.

    Attributes:
        tree: whose rows are looked at.
        dead: what goes because of one of them.
        takes: the other trees in which that may be.
        until: in a tree by time, the key from which on all live.
    """

    tree: str
    dead: Dead
    takes: tuple[str, ...] = ()
    until: bytes | None = None


def rules(view: Keyspace, options: GcOptions, now_ms: int) -> list[Rule]:
    """Every rule, at a time. Cost: one scan of the auth chains."""

    def before(age_ms: int) -> bytes:
        return pack_u64(max(0, now_ms - age_ms))

    after_now = pack_u64(min(now_ms + 1, U64_MAX))
    token_secs = pack_u64(max(0, now_ms - options.expired_tokens_ms) // 1000)
    redacted_secs = pack_u64(max(0, now_ms - options.originals_ms) // 1000)
    return [
        _older("openidtoken_expiresatuserid", "expires_ms", after_now),
        _older("logintoken_expiresatuserid", "expires_ms", after_now),
        Rule("userdeviceid_tokenexpires", _expired_token(token_secs),
             takes=("userdeviceid_token", "token_userdeviceid")),
        Rule("spentrefresh_userdeviceid", _spent_token(before(options.spent_tokens_ms)),
             takes=("userdeviceid_spentrefresh",)),
        _older("userdevicetxnid_recordedms", "value", before(options.answers_ms),
               "userdevicetxnid_response"),
        _by_time("expiresms_uiaasession", after_now, "userdevicesessionid_uiaainfo"),
        Rule("expiresms_mediaid", _reservation, takes=("mediaid_pending", "userid_pending"),
             until=after_now),
        _by_time("fetchedms_url", before(options.previews_ms), "url_preview"),
        Rule("timeredacted_eventid", _original(redacted_secs), takes=("eventid_originalpdu",)),
        _of_absent("todeviceid_events"),
        _of_absent("lazyloadedids"),
        _of_absent("userdeviceroomid_lazyloadcount"),
        Rule("remoteuserid_remoteuser", _in_no_room),
        Rule("userid_lastpresenceupdate", _long_offline(before(options.presence_ms)),
             takes=("userid_presenceid", "presenceid_presence")),
        Rule("servername_backoff", _given_up(int.from_bytes(before(options.backoff_ms)))),
        _event_gone("servernameevent_data"),
        _event_gone("servercurrentevent_data"),
        Rule("keychangeid_userid", _superseded),
        _stored_nowhere("softfailedeventids"),
        _stored_nowhere("rejectedeventids"),
        _thread_gone("roomuserthreadid_readreceiptid"),
        _thread_gone("roomuserthreadid_privateread"),
        _thread_gone("userroomthreadid_notificationcount"),
        _thread_gone("userroomthreadid_highlightcount"),
        Rule("shorteventid_authchain", _chain, until=_first_kept(view, options.auth_chains_bytes)),
    ]  # fmt: skip


# By time ----------------------------------------------------------------------------------------


def _older(tree: str, field: str, before: bytes, *same_key: str) -> Rule:
    """Rows with a time of before another one, and those of the same key elsewhere."""

    def dead(_view: Keyspace, row: Row) -> Iterator[Doomed]:
        if row[field] < before:
            yield from (Doomed(name, row["key"]) for name in (tree, *same_key))

    return Rule(tree, dead, same_key)


def _by_time(tree: str, until: bytes, later: str) -> Rule:
    """Rows whose keys begin with the time; what follows is a key of another tree."""

    def dead(_view: Keyspace, row: Row) -> Iterator[Doomed]:
        yield Doomed(tree, row["key"])
        yield Doomed(later, row["key"][8:])

    return Rule(tree, dead, (later,), until)


def _original(upto_secs: bytes) -> Dead:
    """One that is kept no longer, and the time of one that went along with its event."""

    def dead(view: Keyspace, row: Row) -> Iterator[Doomed]:
        is_kept = view.open_tree("eventid_originalpdu").contains_key(row["event"])
        if row["redacted_s"] <= upto_secs or not is_kept:
            yield Doomed("timeredacted_eventid", row["key"])
            yield Doomed("eventid_originalpdu", row["event"])

    return dead


def _reservation(view: Keyspace, row: Row) -> Iterator[Doomed]:
    yield Doomed("expiresms_mediaid", row["key"])
    yield Doomed("mediaid_pending", row["mxc"])
    value = view.open_tree("mediaid_pending").get(row["mxc"])
    if value is not None:
        _, user = TREES["mediaid_pending"].value_fields.cut(value)
        yield Doomed("userid_pending", TREES["userid_pending"].key.join(user, row["mxc"]))


def _expired_token(before_secs: bytes) -> Dead:
    def dead(view: Keyspace, row: Row) -> Iterator[Doomed]:
        if row["value"] >= before_secs:
            return
        yield Doomed("userdeviceid_tokenexpires", row["key"])
        token = view.open_tree("userdeviceid_token").get(row["key"])
        if token is not None:
            yield Doomed("userdeviceid_token", row["key"])
            yield Doomed("token_userdeviceid", folded(token))

    return dead


def _spent_token(before: bytes) -> Dead:
    def dead(view: Keyspace, row: Row) -> Iterator[Doomed]:
        if row["spent_ms"] >= before:
            return
        yield Doomed("spentrefresh_userdeviceid", row["key"])
        device = TREES["userdeviceid_spentrefresh"].key.join(row["user"], row["device"])
        if view.open_tree("userdeviceid_spentrefresh").get(device) == row["key"]:
            yield Doomed("userdeviceid_spentrefresh", device)

    return dead


def _long_offline(before: bytes) -> Dead:
    """Nobody is taken for gone who is not said to be offline."""

    def dead(view: Keyspace, row: Row) -> Iterator[Doomed]:
        if row["value"] >= before:
            return
        count = view.open_tree("userid_presenceid").get(row["user"])
        if count is not None:
            presence = TREES["presenceid_presence"].key.join(count, row["user"])
            value = found_at(view.open_tree("presenceid_presence"), presence)
            if value is not None and _state_in(value) != "offline":
                return
            yield Doomed("presenceid_presence", presence)
            yield Doomed("userid_presenceid", row["user"])
        yield Doomed("userid_lastpresenceupdate", row["user"])

    return dead


def _state_in(presence: bytes) -> object:
    try:
        return unpack_json_object("presenceid_presence", presence).get("state")
    except CorruptedError:
        return "offline"  # Of no use to anybody.


def _given_up(before_ms: int) -> Dead:
    def dead(_view: Keyspace, row: Row) -> Iterator[Doomed]:
        try:
            failures = unpack_record("servername_backoff", row["value"], Failures)
        except CorruptedError:
            failures = None
        if failures is None or failures.last_ms < before_ms:
            yield Doomed("servername_backoff", row["key"])

    return dead


def _chain(_view: Keyspace, row: Row) -> Iterator[Doomed]:
    yield Doomed("shorteventid_authchain", row["key"])


def _first_kept(view: Keyspace, bytes_max: int) -> bytes | None:
    """From which chain on the rest fits; None where not even the newest does."""
    left_bytes, kept = bytes_max, None
    for key, value in view.open_tree("shorteventid_authchain").range(reverse=True):
        left_bytes -= len(key) + len(value)
        if left_bytes < 0:
            return kept
        kept = key
    return b""


# By what they are of ----------------------------------------------------------------------------


def _of_absent(tree: str) -> Rule:
    """Rows of a device that is not there, or of a room that its user is not in."""

    def dead(view: Keyspace, row: Row) -> Iterator[Doomed]:
        device = TREES["userdeviceid_metadata"].key.join(row["user"], row["device"])
        is_there = view.open_tree("userdeviceid_metadata").contains_key(device)
        if is_there and "room" in row:
            room = TREES["userroomid_joined"].key.join(row["user"], row["room"])
            is_there = view.open_tree("userroomid_joined").contains_key(room)
        if not is_there:
            yield Doomed(tree, row["key"])

    return Rule(tree, dead)


def _in_no_room(view: Keyspace, row: Row) -> Iterator[Doomed]:
    shape = TREES["userroomid_joined"].key
    if not any(
        next(view.open_tree(tree).keys(shape.join(row["user"]), limit=1), None)
        for tree in ("userroomid_joined", "userroomid_invitestate", "userroomid_knockstate")
    ):
        yield Doomed("remoteuserid_remoteuser", row["key"])


def _event_gone(tree: str) -> Rule:
    """Events that wait to be sent and are in no timeline any more."""

    def dead(view: Keyspace, row: Row) -> Iterator[Doomed]:
        is_event = len(row["item"]) > 8
        if is_event and not view.open_tree("pduid_pdu").contains_key(row["item"]):
            yield Doomed(tree, row["key"])

    return Rule(tree, dead)


def _stored_nowhere(tree: str) -> Rule:
    """Marks on events that are in no timeline and no outliers."""

    def dead(view: Keyspace, row: Row) -> Iterator[Doomed]:
        if not _is_stored(view, row["event"]):
            yield Doomed(tree, row["key"])

    return Rule(tree, dead)


def _is_stored(view: Keyspace, event: bytes) -> bool:
    trees = ("eventid_pduid", "eventid_outlierpdu")
    return any(view.open_tree(tree).contains_key(event) for tree in trees)


def _thread_gone(tree: str) -> Rule:
    """What users have of a thread of which neither the root nor a reply is here."""

    def dead(view: Keyspace, row: Row) -> Iterator[Doomed]:
        thread = row["thread"]
        if thread in (b"", b"main") or _is_stored(view, thread):
            return
        waiting = TREES["eventid_relatingpduid"].key.join(thread)
        if next(view.open_tree("eventid_relatingpduid").keys(waiting, limit=1), None) is None:
            yield Doomed(tree, row["key"])
            if "count" in row:
                receipt = TREES[_RECEIPTS].key.join(row["room"], row["count"], row["user"])
                yield Doomed(_RECEIPTS, receipt)

    return Rule(tree, dead, (_RECEIPTS,) if tree == "roomuserthreadid_readreceiptid" else ())


def _superseded(view: Keyspace, row: Row) -> Iterator[Doomed]:
    """A change of keys, where the same user's newest one is announced too."""
    shape, changes = TREES["keychangeid_userid"].key, view.open_tree("keychangeid_userid")
    newest = next(changes.keys(shape.join(row["value"]), reverse=True, limit=1), None)
    if newest is None:
        return
    later = shape.join(row["room_or_user"], shape.cut(newest)[1])
    if later > row["key"] and changes.get(later) == row["value"]:
        yield Doomed("keychangeid_userid", row["key"])
