"""`conduitstore compact`: give back the space of what was overwritten and deleted."""

from __future__ import annotations

from pathlib import Path

import click

from conduitstore import engine

from .options import existing, path_option


@click.command()
@path_option
def compact(path: Path) -> None:
    """Write sparse segments anew and give their space back to the system.

    It happens by itself as a store is written to; this does all of it at once.
    """
    with engine.open(existing(path)) as db:
        before = db.size_on_disk()
        db.compact()
        after = db.size_on_disk()
    click.echo(f"{before:,} bytes on disk before, {after:,} after")
