"""A batch of an open store, as what its commit writes: without a transaction and its drafts."""

from __future__ import annotations

from typing import Any

from conduitstore.kv import Batch

from .forest import Forest, Place
from .index import find


def placed(batch: Batch, forest: Forest) -> tuple[list[Any], list[Place]] | None:
    """What a commit of ``batch`` has to write, and where; None where trees have to be made for it.

    For whoever holds the writer lock. Removals of what is not there are left out.
    """
    ids, roots = forest.ids, forest.roots
    written: dict[str, dict[bytes, bytes | None]] = {}

    def is_there(name: str, key: bytes) -> bool:
        return key in forest.entries(find(roots[ids[name]], key))

    for name, key, value in batch.writes:
        values = written.get(name)
        if values is None:
            if name not in ids:
                return None
            values = written[name] = {}
        # The removal of what is not there is no event, so it takes no place among them.
        if value is not None or key in values or is_there(name, key):
            values[key] = value
    ops: list[Any] = []
    places: list[Place] = []
    for name, values in written.items():
        more, their = forest.placed(ids[name], values)
        ops += more
        places += their
    return ops, places
