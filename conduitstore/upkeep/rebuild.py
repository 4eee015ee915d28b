"""Derived trees made right again out of what they follow from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from conduitstore.consistency.members import TOTALS
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Keyspace
from conduitstore.schema import tree_schema

from .derived import EVENT_PLACES, MIRRORS, STATE_HASHES
from .derived_keys import UPLOADS
from .derived_receipts import RECEIPTS
from .derived_totals import (
    Expected,
    backup_totals,
    by_head,
    extremities,
    server_totals,
    servers,
    totals,
)

_DERIVATIONS = [EVENT_PLACES, STATE_HASHES, RECEIPTS, UPLOADS, *MIRRORS]

Rebuild = Callable[[Keyspace], int]

_BY_HEAD: list[tuple[str, str, Callable[..., Expected], int]] = [
    *((tree, counted, totals(tree), 1) for tree, counted in TOTALS.items()),
    ("roomserverid_joinedcount", "roomuserid_joined", server_totals, 1),
    ("roomserverids", "roomuserid_joined", servers, 1),
    ("roomid_pduleaves", "roomid_shortstatehash", extremities, 1),
    ("backupid_keystotal", "backupid_algorithm", backup_totals, 2),
]

REBUILDS: dict[str, Rebuild] = {
    **{one.target: one.rebuild for one in _DERIVATIONS},
    **{
        tree: partial(by_head, tree=tree, source=source, expect=expect, width=width)
        for tree, source, expect, width in _BY_HEAD
    },
}
"""Derived tree to what makes it right."""

NO_WAY_YET = frozenset(
    {
        "aliasid_alias",
        "eventid_relatingpduid",
        "expiresms_mediaid",
        "filehash_servername_mediaid",
        "filehash_thumbnailid",
        "kindaccessedfilehash_size",
        "kindcreatedfilehash_size",
        "mediakind_usage",
        "referencedevents",
        "refreshtoken_userdeviceid",
        "relatesto_typed",
        "roomid_mindepth",
        "roomid_tscount_pducount",
        "servername_userlocalpart_mediaid",
        "spentrefresh_userdeviceid",
        "threadactivityid_rootid",
        "threadid_userids",
        "threadrootid_latestcount",
        "tofrom_relation",
        "tokenids",
        "userid_pending",
    }
)
"""Derived trees that only a backup brings back so far."""


def rebuild(db: Keyspace, tree: str) -> int:
    """Make a derived tree right; gives how many of its rows were missing, wrong or too many.

    Many commits of bounded size, while others read and write. After each the tree is no worse than
    before; a process that dies leaves the rest to the next run. Two trees that follow from each
    other (``userroomid_joined`` and ``roomuserid_joined``) must not both be lost.

    Cost: one pass over what the tree follows from and one over the tree.

    Raises:
        InvalidArgumentError: no such tree, or one that does not follow from others, or that
            nobody has written the way for yet.
    """
    if tree_schema(tree).worth != "derived":
        raise InvalidArgumentError(
            f"{tree} is {tree_schema(tree).worth}: there is nothing to rebuild it from"
        )
    if tree in NO_WAY_YET:
        raise InvalidArgumentError(f"{tree} cannot be rebuilt yet: restore it from a backup")
    return REBUILDS[tree](db)
