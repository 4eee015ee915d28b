"""`conduitstore trees`: every tree with its rows and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from conduitstore import engine
from conduitstore.kv import DEFAULT_TREE, Database, Tree
from conduitstore.schema import RETIRED, TREES

from .display import Screen
from .options import existing_store, store_option

COLUMNS = ("tree", "rows", "key bytes", "value bytes", "owner", "meaning")


@click.command()
@store_option
def trees(path: Path | str) -> None:
    """List the trees with rows and bytes of keys and values, and what they mean.

    Sizes are those of the data, before compression. Each tree is read through once.
    """
    with engine.open(existing_store(path), read_only=True) as db:
        Screen().table(COLUMNS, tree_rows(db))


def tree_rows(db: Database) -> Iterator[tuple[str, int, int, int, str, str]]:
    """A row of :data:`COLUMNS` for each tree, then the sum; the unused default tree is left out."""
    total, keys_bytes, values_bytes = 0, 0, 0
    with db.snapshot() as view:
        for name in view.tree_names():
            sizes = _sizes(view.open_tree(name))
            if name == DEFAULT_TREE and not sizes[0]:
                continue
            yield name, *sizes, *_owner_and_meaning(name)
            total, keys_bytes, values_bytes = (
                total + sizes[0],
                keys_bytes + sizes[1],
                values_bytes + sizes[2],
            )
    yield "all", total, keys_bytes, values_bytes, "", ""


def _sizes(tree: Tree) -> tuple[int, int, int]:
    total, keys_bytes, values_bytes = 0, 0, 0
    for key, value in tree:
        total += 1
        keys_bytes += len(key)
        values_bytes += len(value)
    return total, keys_bytes, values_bytes


def _owner_and_meaning(name: str) -> tuple[str, str]:
    if name in TREES:
        return TREES[name].owner, TREES[name].meaning
    return "-", f"retired: {RETIRED[name]}" if name in RETIRED else "not in the schema"
