"""Rows of which something is lost with them: when an alias was set, when a token was spent."""

from __future__ import annotations

from conduitstore.codec.values import pack_u64
from conduitstore.consistency.aliases import listing_of, localpart_in
from conduitstore.consistency.rows import found_at, row_of
from conduitstore.kv import Keyspace
from conduitstore.parts.holder import Parts
from conduitstore.schema import TREES

from .derived import Derivation, Item, row_at

_ALIAS = TREES["alias_roomid"]
_LISTING = TREES["aliasid_alias"]
_SPENT = TREES["spentrefresh_userdeviceid"]
_LAST_SPENT = TREES["userdeviceid_spentrefresh"]


def _listing(view: Keyspace, item: Item) -> list[Item]:
    """Where the room lists the alias; one that was lost comes behind all others.

    An alias is of this server, and so is whoever set it.
    """
    localpart, room = item
    known = listing_of(view, room, localpart)
    if known is not None:
        return [(known, view.open_tree(_LISTING.name).get(known) or b"")]
    _, colon, server = (found_at(view.open_tree("alias_userid"), localpart) or b"").partition(b":")
    if not colon:
        return []
    count = pack_u64(Parts(view).globals.draw())
    return [(_LISTING.key.join(room, count), b"#%b:%b" % (localpart, server))]


def _alias(view: Keyspace, item: Item) -> Item | None:
    row = row_of(_LISTING, *item)
    return None if row is None else row_at(view, _ALIAS.name, localpart_in(row))


def _spent(view: Keyspace, item: Item) -> list[Item]:
    """What took a spent token's place is the device's current one; when it did may be lost."""
    device, token = item
    successor = found_at(view.open_tree("userdeviceid_refresh"), device)
    if successor is None:
        return []
    spent = _SPENT.value_fields.join(*_LAST_SPENT.key.cut(device), successor, b"")
    known = found_at(view.open_tree(_SPENT.name), token)
    is_right = known is not None and known.startswith(spent) and len(known) == len(spent) + 8
    return [(token, known if known is not None and is_right else spent + pack_u64(0))]


def _last_spent(view: Keyspace, item: Item) -> Item | None:
    row = row_of(_SPENT, *item)
    if row is None:
        return None
    return row_at(view, _LAST_SPENT.name, _LAST_SPENT.key.join(row["user"], row["device"]))


LISTINGS = Derivation(_LISTING.name, _ALIAS.name, _listing, _alias)
SPENT = Derivation(_SPENT.name, _LAST_SPENT.name, _spent, _last_spent)
