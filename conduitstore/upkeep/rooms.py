"""A room and everything that was built of it, removed: driven by the schema's room-scoped trees.

- A tree whose keys begin with the room, or with its number, loses that prefix.
- In one whose keys begin with something else, the room is looked for behind each of those.
- Events are followed to the trees that have their ids or numbers in their keys, and to the states
  that only they named.
- The room's number goes last: with it, a run that died is finished by the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from typing import cast

from conduitstore.codec.states import unpack_diff
from conduitstore.codec.values import pack_u64, unpack_json_object
from conduitstore.consistency.events import event_id_in
from conduitstore.consistency.rows import found_at, heads, row_of, under
from conduitstore.consistency.state import DIFFS
from conduitstore.errors import CorruptedError
from conduitstore.kv import Database, Keyspace, Transaction
from conduitstore.schema import TREES, TreeSchema
from conduitstore.types import RoomId

from .batches import BATCH_ROWS, each_row, tried
from .derived import STATE_HASHES
from .states import collect

Removed = Counter[str]
"""Tree to how many rows went."""

_ROOM = TREES["roomid_shortroomid"].key
_NUMBERS = ("roomid_shortroomid", "shortroomid_room")
_ROOM_FIELDS = ("room", "room_or_user")
_BY_EVENT = [tree for tree in TREES.values() if tree.key.fields[0] == "event"]
_BY_SHORT_EVENT = [tree for tree in TREES.values() if tree.key.fields[0] == "short_event"]
_WORD = 8


def delete_room(db: Database, room: RoomId, *, dry_run: bool = False) -> Removed:
    """Remove a room with its events, states, members and all that users have in it.

    What is a user's own stays: backups of keys, and account data of no room that mentions it. Do
    it when nobody is in the room any more: what is written meanwhile may stay. Room states that
    nothing names are collected first, however young they are: some may be of the room.

    Many commits of bounded size. A process that dies leaves a part: the next call removes it. With
    ``dry_run`` it is one, which is taken back; memory: what would be removed.

    Cost: what is removed; one scan of the outliers, of the queues, of the originals kept and of
    what names states; two seeks for each user in trees by user and room; a point read for each
    state there is.
    """
    removed: Removed = Counter()
    if dry_run:
        tried(db, lambda tx: _delete(tx, room, removed))
        return +removed

    def tell(tree: str, _looked_at: int, total: int) -> None:
        removed[tree] += total

    collect(db, 0, tell, dry_run=False)
    _delete(db, room, removed)
    return +removed


def _delete(db: Keyspace, room: RoomId, removed: Removed) -> None:
    key = _ROOM.pack(room)
    number = db.open_tree("roomid_shortroomid").get(key)
    _delete_states(db, key, number, removed)
    each_row(db, "aliasid_alias", partial(_delete_alias, key, removed), prefix=key + b"\xff")
    for tree in TREES.values():
        _delete_named(db, tree, _ROOM_FIELDS, key, removed)
    if number is not None:
        each_row(db, "pduid_pdu", partial(_delete_placed, removed), prefix=number)
        for tree in TREES.values():
            _delete_named(db, tree, ("short_room",), number, removed)
            _delete_queued(db, tree, number, removed)
    each_row(db, "eventid_outlierpdu", partial(_delete_outlier, room, removed))
    each_row(db, "timeredacted_eventid", partial(_delete_time, removed))
    removed[STATE_HASHES.target] += STATE_HASHES.sweep(db)
    if number is not None:
        db.transaction(partial(_delete_numbers, key, number, removed))


def _delete_named(
    db: Keyspace, tree: TreeSchema, fields: tuple[str, ...], name: bytes, removed: Removed
) -> None:
    """The rows with the room in their key."""
    field = next((field for field in fields if field in tree.key.fields), None)
    if field is None or tree.name in _NUMBERS:
        return
    with _at_one_instant(db) as view:
        keys = _keys_with(view, tree, tree.key.fields.index(field), name)
        while batch := list(islice(keys, BATCH_ROWS)):
            db.transaction(partial(_remove_many, tree.name, batch, removed))


def _at_one_instant(db: Keyspace) -> AbstractContextManager[Keyspace]:
    """Where keys are read while they are removed; a transaction is enough for itself."""
    return cast("Database", db).snapshot() if hasattr(db, "snapshot") else nullcontext(db)


def _keys_with(view: Keyspace, tree: TreeSchema, at: int, name: bytes) -> Iterator[bytes]:
    """Keys that have ``name`` as their field number ``at``."""
    befores = heads(view.open_tree(tree.name), tree.key, at) if at else iter([()])
    for before in befores:
        yield from under(view.open_tree(tree.name), tree.key, *before, name)


def _remove_many(tree: str, keys: list[bytes], removed: Removed, tx: Transaction) -> None:
    rows = tx.open_tree(tree)
    removed[tree] += sum(rows.remove(key) is not None for key in keys)


def _delete_queued(db: Keyspace, tree: TreeSchema, number: bytes, removed: Removed) -> None:
    """Events of the room that wait to be sent."""
    if "queued" not in tree.key.kinds:
        return
    field = tree.key.fields[tree.key.kinds.index("queued")]

    def work(tx: Transaction, key: bytes, value: bytes) -> int:
        row = row_of(tree, key, value)
        is_its = row is not None and len(row[field]) > _WORD and row[field].startswith(number)
        if is_its:
            _remove_many(tree.name, [key], removed, tx)
        return is_its

    each_row(db, tree.name, work)


def _delete_numbers(key: bytes, number: bytes, removed: Removed, tx: Transaction) -> None:
    _remove_many("roomid_shortroomid", [key], removed, tx)
    _remove_many("shortroomid_room", [number], removed, tx)


def _delete_alias(room: bytes, removed: Removed, tx: Transaction, key: bytes, value: bytes) -> int:
    """A name of the room, where it is not another's by now."""
    localpart = value[1:].partition(b":")[0]
    if localpart and tx.open_tree("alias_roomid").get(localpart) == room:
        for tree in ("alias_roomid", "alias_userid"):
            _remove_many(tree, [localpart], removed, tx)
    _remove_many("aliasid_alias", [key], removed, tx)
    return 1


# Events -----------------------------------------------------------------------------------------


def _delete_placed(removed: Removed, tx: Transaction, key: bytes, value: bytes) -> int:
    """One event of the timeline."""
    event_id = event_id_in(value)
    if event_id is not None:
        _delete_event(tx, event_id, removed)
    _delete_rows(tx, [TREES["tofrom_relation"]], key[_WORD:], removed)
    _remove_many("pduid_pdu", [key], removed, tx)
    return 1


def _delete_outlier(
    room: RoomId, removed: Removed, tx: Transaction, key: bytes, value: bytes
) -> int:
    try:
        is_its = unpack_json_object("eventid_outlierpdu", value).get("room_id") == room
    except CorruptedError:
        return 0  # Nobody can tell whose it is.
    if is_its:
        _delete_event(tx, key, removed)
    return is_its


def _delete_time(removed: Removed, tx: Transaction, key: bytes, value: bytes) -> int:
    """When an event was redacted whose original is gone."""
    row = row_of(TREES["timeredacted_eventid"], key, value)
    is_gone = (
        row is not None and found_at(tx.open_tree("eventid_originalpdu"), row["event"]) is None
    )
    if is_gone:
        _remove_many("timeredacted_eventid", [key], removed, tx)
    return is_gone


def _delete_event(tx: Transaction, event_id: bytes, removed: Removed) -> None:
    """All rows of one event: by its id, by its number, and the state before it."""
    short_event = found_at(tx.open_tree("eventid_shorteventid"), event_id)
    if short_event is not None:
        before = found_at(tx.open_tree("shorteventid_shortstatehash"), short_event)
        _delete_rows(tx, _BY_SHORT_EVENT, short_event, removed)
        _delete_state(tx, before, removed)
    _delete_rows(tx, _BY_EVENT, event_id, removed)


def _delete_rows(tx: Transaction, trees: list[TreeSchema], name: bytes, removed: Removed) -> None:
    for tree in trees:
        keys = list(under(tx.open_tree(tree.name), tree.key, name))
        _remove_many(tree.name, keys, removed, tx)


# States -----------------------------------------------------------------------------------------


def _delete_states(db: Keyspace, key: bytes, number: bytes | None, removed: Removed) -> None:
    """Those that the room had, and the one it has."""

    def work(tx: Transaction, key: bytes, state: bytes) -> int:
        _delete_state(tx, state, removed)
        _remove_many("roomcount_shortstatehash", [key], removed, tx)
        return 1

    if number is not None:
        each_row(db, "roomcount_shortstatehash", work, prefix=number)
    current = db.open_tree("roomid_shortstatehash").get(key)
    db.transaction(lambda tx: _delete_state(tx, current, removed))


def _delete_state(tx: Transaction, state: bytes | None, removed: Removed) -> None:
    """A state and what it is built on, with the events that are in nothing but states."""
    while state is not None:
        value = found_at(tx.open_tree(DIFFS), state)
        try:
            diff = None if value is None else unpack_diff(DIFFS, value)
        except CorruptedError:
            diff = None
        if diff is None or (diff.parent is None and not diff.added):
            return  # Gone already; or the state before every room, which is nobody's.
        _remove_many(DIFFS, [state], removed, tx)
        for entry in diff.added:
            _delete_unstored(tx, entry[_WORD:], removed)
        state = None if diff.parent is None else pack_u64(diff.parent)


def _delete_unstored(tx: Transaction, short_event: bytes, removed: Removed) -> None:
    event_id = tx.open_tree("shorteventid_eventid").get(short_event)
    if event_id is not None and not any(
        found_at(tx.open_tree(tree), event_id) for tree in ("eventid_pduid", "eventid_outlierpdu")
    ):
        _delete_rows(tx, _BY_SHORT_EVENT, short_event, removed)
        _delete_rows(tx, _BY_EVENT, event_id, removed)
