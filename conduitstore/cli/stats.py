"""`conduitstore stats`: how large a store is and how far it has come."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import click

from conduitstore import engine
from conduitstore.operations import Stats

from .display import Screen
from .options import existing_store, store_option


@click.command()
@store_option
@click.option("--exact", is_flag=True, help="Count what would be estimated, however long it takes.")
def stats(path: Path | str, *, exact: bool) -> None:
    """Show sizes and positions of the store, and entries and bytes of each tree.

    Nothing but the index is read; bytes of trees are those before compression, but for blobs: big
    values that lie beside the others, as they are on the disk. On PostgreSQL large
    trees are estimated from a sample, and marked; the sizes of all tables are exact.
    """
    with engine.open(existing_store(path), read_only=True) as db:
        found = db.stats(exact=exact)
    screen = Screen()
    rows = [(f.name, getattr(found, f.name)) for f in fields(Stats) if f.name != "trees"]
    screen.table(("what", "value"), rows)
    screen.heading("trees")
    screen.table(
        ("tree", "entries", "bytes", "blob bytes", ""),
        [
            (
                *(name, one.entries_total, one.payload_bytes, one.blob_bytes),
                "estimated" if one.is_estimate else "",
            )
            for name, one in found.trees.items()
        ],
    )
