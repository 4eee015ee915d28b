"""Files by kind and time. Which kind a file is, each of two trees knows from the other."""

from __future__ import annotations

from functools import partial

from conduitstore.consistency.media import FILE_KINDS, usage_of
from conduitstore.consistency.rows import Row, row_of
from conduitstore.kv import Keyspace
from conduitstore.schema import TREES

from .derived import Derivation, Item, row_at
from .derived_totals import Expected

_FILES = TREES["filehash_metadata"]
_TIMES = {
    "kindaccessedfilehash_size": "accessed_secs",
    "kindcreatedfilehash_size": "created_secs",
}


def _listed(target: str, view: Keyspace, item: Item) -> list[Item]:
    row = row_of(_FILES, *item)
    if row is None:
        return []
    kind = _kind(view, row, target)
    return [(TREES[target].key.join(kind, row[_TIMES[target]], row["file"]), row["size_bytes"])]


def _kind(view: Keyspace, row: Row, target: str) -> bytes:
    """As the other tree has it, or else this one; where neither does, what is thrown away last."""
    for tree in sorted(_TIMES, key=target.__eq__):
        shape = TREES[tree].key
        for kind in FILE_KINDS:
            key = shape.join(kind, row[_TIMES[tree]], row["file"])
            if view.open_tree(tree).contains_key(key):
                return kind
    media = view.open_tree("filehash_servername_mediaid").keys(row["file"], limit=1)
    return FILE_KINDS[0] if next(media, None) else FILE_KINDS[-1]


def _file(target: str, view: Keyspace, item: Item) -> Item | None:
    row = row_of(TREES[target], *item)
    return None if row is None else row_at(view, _FILES.name, row["file"])


def usages(view: Keyspace, kind: bytes) -> Expected:
    """How many files of a kind there are; no row where there is none."""
    usage = usage_of(view, kind)
    return {} if usage is None else {kind: usage}


BY_KIND = [
    Derivation(target, _FILES.name, partial(_listed, target), partial(_file, target))
    for target in _TIMES
]
