"""`conduitstore rebuild`: derived trees made right again."""

from __future__ import annotations

from pathlib import Path

import click

import conduitstore
from conduitstore import upkeep
from conduitstore.upkeep.rebuild import REBUILDS

from .display import Screen
from .options import existing_store, store_option


@click.command()
@click.argument("trees", nargs=-1, metavar="[TREE]...")
@store_option
def rebuild(trees: tuple[str, ...], path: Path | str) -> None:
    """Make derived trees right again out of what they follow from; by default all it can.

    It may be stopped at any point: the next run does the rest.
    """
    screen = Screen()
    with conduitstore.open(existing_store(path)) as store:
        for tree in trees or REBUILDS:
            changed = upkeep.rebuild(store.db, tree)
            screen.line(f"{tree}: {f'{changed:,} rows mended' if changed else 'was right'}")
