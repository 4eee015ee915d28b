"""Derived trees made right again out of what they follow from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from conduitstore.consistency.members import TOTALS
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Keyspace
from conduitstore.schema import tree_schema

from .derived import DERIVATIONS
from .of_rooms import by_room, extremities, server_totals, servers, totals

Rebuild = Callable[[Keyspace], int]

REBUILDS: dict[str, Rebuild] = {
    **{one.target: one.rebuild for one in DERIVATIONS},
    **{
        tree: partial(by_room, tree=tree, source=counted, expect=totals(tree))
        for tree, counted in TOTALS.items()
    },
    "roomserverid_joinedcount": partial(
        by_room,
        tree="roomserverid_joinedcount",
        source="roomuserid_joined",
        expect=server_totals,
    ),
    "roomserverids": partial(
        by_room, tree="roomserverids", source="roomuserid_joined", expect=servers
    ),
    "roomid_pduleaves": partial(
        by_room, tree="roomid_pduleaves", source="roomid_shortstatehash", expect=extremities
    ),
}
"""Derived tree to what makes it right."""


def rebuild(db: Keyspace, tree: str) -> int:
    """Make a derived tree right; gives how many of its rows were missing, wrong or too many.

    Many commits of bounded size, while others read and write. After each the tree is no worse than
    before; a process that dies leaves the rest to the next run. Two trees that follow from each
    other (``userroomid_joined`` and ``roomuserid_joined``) must not both be lost.

    Cost: one pass over what the tree follows from and one over the tree.

    Raises:
        InvalidArgumentError: no such tree, or one that does not follow from others.
    """
    if tree_schema(tree).worth != "derived":
        raise InvalidArgumentError(
            f"{tree} is {tree_schema(tree).worth}: there is nothing to rebuild it from"
        )
    return REBUILDS[tree](db)
