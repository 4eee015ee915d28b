"""Names of rooms against the listings of each room's names."""

from __future__ import annotations

from collections.abc import Iterator

from conduitstore.kv import Keyspace
from conduitstore.schema import TREES

from .findings import Finding
from .rows import Row, found_at, rows

_LISTING = TREES["aliasid_alias"].key


def localpart_in(listing: Row) -> bytes:
    """What names the alias that a row of ``aliasid_alias`` lists."""
    return listing["value"][1:].partition(b":")[0]


def listing_of(view: Keyspace, room: bytes, localpart: bytes) -> bytes | None:
    """Where a room's alias is listed first. Cost: a scan of the room's aliases."""
    listings = rows(view, "aliasid_alias", _LISTING.join(room))
    return next((row["key"] for row in listings if localpart_in(row) == localpart), None)


def unlisted(view: Keyspace) -> Iterator[Finding]:
    """Aliases their room does not list, and listings that no alias stands for, or twice."""
    rooms = view.open_tree("alias_roomid")
    for row in rows(view, "alias_roomid"):
        if listing_of(view, row["value"], row["localpart"]) is None:
            yield Finding("alias_roomid", row["key"], f"{row['value']!r} does not list it")
    for row in rows(view, "aliasid_alias"):
        localpart = localpart_in(row)
        if found_at(rooms, localpart) != row["room"]:
            yield Finding("aliasid_alias", row["key"], "it does not stand for this room")
        elif listing_of(view, row["room"], localpart) != row["key"]:
            yield Finding("aliasid_alias", row["key"], "the room lists it twice")
