"""What follows from the events of a timeline: times, words, relations, references."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import islice

from conduitstore.codec.events import check_pdu
from conduitstore.codec.mentions import previous_in
from conduitstore.codec.positions import PDU_ID
from conduitstore.codec.values import pack_u64, unpack_json_object
from conduitstore.consistency.rows import found_at, heads, row_of, under
from conduitstore.errors import ConduitStoreError
from conduitstore.kv import Keyspace, Transaction
from conduitstore.parts.holder import Parts
from conduitstore.parts.rooms import search, timestamps
from conduitstore.schema import TREES
from conduitstore.types import EventId, PduCount, PduId, PlacedEvent, RoomId, ShortRoomId

from .batches import each_row
from .derived import Derivation, Implies, Item, put, row_at
from .derived_totals import Expected, drop_shapeless

_PDUS = "pduid_pdu"
_RELATIONS = "tofrom_relation"
_RELATION = TREES[_RELATIONS].key
_REFERENCED = TREES["referencedevents"].key
_U64_BYTES = 8
POSITIONS_AT_ONCE = 100_000


def event_at(view: Keyspace, item: Item) -> PlacedEvent | None:
    """The event of a row of ``pduid_pdu``; None for one that cannot be read."""
    try:
        short_room, position = PDU_ID.unpack(item[0])
        pdu = check_pdu(unpack_json_object(_PDUS, item[1], "event_id"))
    except ConduitStoreError:
        return None
    room = view.open_tree("shortroomid_room").get(pack_u64(short_room))
    if room is None:
        return None
    place = PduId(ShortRoomId(short_room), PduCount(position))
    return PlacedEvent(RoomId(room.decode()), place, EventId(pdu["event_id"]), pdu)


# From single events ------------------------------------------------------------------------------


def _of_event(tree: str, fields: tuple[str, ...], implied: Implies) -> Derivation:
    """A tree whose keys say in two fields where the event is that they are of."""

    def origin(view: Keyspace, item: Item) -> Item | None:
        row = row_of(TREES[tree], *item)
        if row is None:
            return None
        return row_at(view, _PDUS, PDU_ID.join(*(row[field] for field in fields)))

    return Derivation(tree, _PDUS, implied, origin)


def _time(view: Keyspace, item: Item) -> list[Item]:
    event = event_at(view, item)
    return [] if event is None else [timestamps.row_of(event)]


def _place_of_time(view: Keyspace, item: Item) -> Item | None:
    row = row_of(TREES["roomid_tscount_pducount"], *item)
    number = None if row is None else found_at(view.open_tree("roomid_shortroomid"), row["room"])
    return None if row is None or number is None else row_at(view, _PDUS, number + item[1])


def _words(view: Keyspace, item: Item) -> list[Item]:
    event = event_at(view, item)
    return [] if event is None else search.rows_of(event)


def _related(tree: str, view: Keyspace, item: Item) -> list[Item]:
    event = event_at(view, item)
    if event is None:
        return []
    return [
        (key, value)
        for name, key, value in Parts(view).rooms.pdu_metadata.rows_of(event)
        if name == tree
    ]


def _biased_place(view: Keyspace, item: Item) -> Item | None:
    try:
        short_room, _, _, _, child = TREES["relatesto_typed"].key.unpack(item[0])
        return row_at(view, _PDUS, PDU_ID.pack(short_room, child))
    except ConduitStoreError:
        return None


OF_EVENTS = [
    Derivation("roomid_tscount_pducount", _PDUS, _time, _place_of_time),
    _of_event("tokenids", ("same_room", "position"), _words),
    _of_event(
        "eventid_relatingpduid",
        ("short_room", "position"),
        partial(_related, "eventid_relatingpduid"),
    ),
    Derivation("relatesto_typed", _PDUS, partial(_related, "relatesto_typed"), _biased_place),
]

# Relations: by place, without a room -------------------------------------------------------------


def rebuild_relations(db: Keyspace) -> int:
    """Make ``tofrom_relation`` right; gives how many of its rows were not.

    Its keys name no room, so each event looks at what says it relates to it, and what relates to
    no event is found by a pass over the timeline for each :data:`POSITIONS_AT_ONCE` of them.
    """
    changed = each_row(db, _RELATIONS, partial(drop_shapeless, _RELATIONS))
    changed += each_row(db, _PDUS, _relate)
    gone = db.transaction(_related_to_nothing, read_only=True)
    return changed + sum(db.transaction(partial(_forget, position)) for position in gone)


def _relate(tx: Transaction, key: bytes, value: bytes) -> int:
    """The event's own relation, and those to it."""
    changed = put(tx, _RELATIONS, _related(_RELATIONS, tx, (key, value)))
    relations = tx.open_tree(_RELATIONS)
    number, position = PDU_ID.cut(key)
    for row, empty in under(relations, _RELATION, position).items():
        child = row_at(tx, _PDUS, number + _RELATION.cut(row)[1])
        if child is None or (row, empty) not in _related(_RELATIONS, tx, child):
            relations.remove(row)
            changed += 1
    return changed


def _related_to_nothing(view: Keyspace) -> list[bytes]:
    gone: list[bytes] = []
    positions = heads(view.open_tree(_RELATIONS), _RELATION)
    while some := {position for (position,) in islice(positions, POSITIONS_AT_ONCE)}:
        for place in view.open_tree(_PDUS).keys():  # noqa: SIM118 - reads no values
            some.discard(place[_U64_BYTES:])
        gone += sorted(some)
    return gone


def _forget(position: bytes, tx: Transaction) -> int:
    return tx.open_tree(_RELATIONS).remove_prefix(position)


# References: counted by room ---------------------------------------------------------------------


def references(view: Keyspace, room: bytes) -> Expected:
    """Which events a room's own name as previous, and how many do. Memory: those ids.

    One that is here stays referenced though who named it is gone; so does one that nobody of the
    timeline ever named: both are noted with 0.
    """
    number = found_at(view.open_tree("roomid_shortroomid"), room)
    named: Counter[bytes] = Counter()
    for _, value in view.open_tree(_PDUS).scan_prefix(number) if number else ():
        named.update(_named_in(value))
    expected = {_REFERENCED.join(room, event): pack_u64(n) for event, n in named.items()}
    found = under(view.open_tree("referencedevents"), _REFERENCED, room)
    for key, value in found.items():
        place = found_at(view.open_tree("eventid_pduid"), _REFERENCED.cut(key)[1])
        is_here = place is not None and number is not None and place.startswith(number)
        if len(value) == _U64_BYTES and (is_here or not any(value)):
            expected.setdefault(key, pack_u64(0))
    return expected


def _named_in(value: bytes) -> list[bytes]:
    try:
        return [event.encode() for event in previous_in(unpack_json_object(_PDUS, value))]
    except ConduitStoreError:
        return []
