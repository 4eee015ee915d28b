"""Derived trees made right again out of what they follow from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from conduitstore.consistency.members import TOTALS
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Keyspace
from conduitstore.schema import tree_schema

from .derived import EVENT_PLACES, STATE_HASHES
from .derived_events import OF_EVENTS, rebuild_relations, references
from .derived_keys import UPLOADS
from .derived_media import BY_KIND, usages
from .derived_names import LISTINGS, SPENT
from .derived_receipts import RECEIPTS
from .derived_threads import THREADS
from .derived_totals import (
    Expected,
    backup_totals,
    by_head,
    extremities,
    server_totals,
    servers,
    totals,
)
from .mirrors import MIRRORS

Rebuild = Callable[[Keyspace], int]

_DERIVATIONS = [
    *(EVENT_PLACES, STATE_HASHES, RECEIPTS, UPLOADS, LISTINGS, SPENT),
    *MIRRORS,
    *BY_KIND,
    *OF_EVENTS,
]
_BY_HEAD: list[tuple[str, str, Callable[..., Expected], int]] = [
    *((tree, counted, totals(tree), 1) for tree, counted in TOTALS.items()),
    ("roomserverid_joinedcount", "roomuserid_joined", server_totals, 1),
    ("roomserverids", "roomuserid_joined", servers, 1),
    ("referencedevents", "roomid_shortroomid", references, 1),
    ("roomid_pduleaves", "roomid_shortstatehash", extremities, 1),
    ("backupid_keystotal", "backupid_algorithm", backup_totals, 2),
    ("mediakind_usage", "kindcreatedfilehash_size", usages, 1),
]

REBUILDS: dict[str, Rebuild] = {
    **{one.target: one.rebuild for one in _DERIVATIONS},
    **{
        tree: partial(by_head, tree=tree, source=source, expect=expect, width=width)
        for tree, source, expect, width in _BY_HEAD
    },
    "tofrom_relation": rebuild_relations,
    **{one.target: one.rebuild for one in THREADS},
}
"""Derived tree to what makes it right; one that follows from another comes behind it."""


def rebuild(db: Keyspace, tree: str) -> int:
    """Make a derived tree right; gives how many of its rows were missing, wrong or too many.

    Many commits of bounded size, while others read and write. After each the tree is no worse than
    before; a process that dies leaves the rest to the next run.

    A tree may follow from another derived one, which has to be right: see the order of
    :data:`REBUILDS`. Two that follow from each other (``userroomid_joined`` and
    ``roomuserid_joined``) must not both be lost; of two that know what kind a file is, what it is
    taken for if both are, is media of this server. What a lost row alone knew is made up: the order
    of one-time keys, of a room's aliases and of a thread's participants, and the time a refresh
    token was spent, which counts as long ago.

    Cost: one pass over what the tree follows from and one over the tree.

    Raises:
        InvalidArgumentError: no such tree, or one that is not derived.
    """
    if tree_schema(tree).worth != "derived":
        raise InvalidArgumentError(
            f"{tree} is {tree_schema(tree).worth}: there is nothing to rebuild it from"
        )
    return REBUILDS[tree](db)
