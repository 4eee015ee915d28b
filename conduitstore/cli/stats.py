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
def stats(path: Path | str) -> None:
    """Show sizes and positions of the store, and entries and bytes of each tree.

    Nothing but the index is read; bytes of trees are those before compression.
    """
    with engine.open(existing_store(path), read_only=True) as db:
        found = db.stats()
    screen = Screen()
    rows = [(f.name, getattr(found, f.name)) for f in fields(Stats) if f.name != "trees"]
    screen.table(("what", "value"), rows)
    screen.heading("trees")
    screen.table(
        ("tree", "entries", "bytes"),
        [(name, tree.entries_total, tree.payload_bytes) for name, tree in found.trees.items()],
    )
