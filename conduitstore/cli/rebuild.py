"""`conduitstore rebuild`: derived trees made right again."""

from __future__ import annotations

from pathlib import Path

import click

import conduitstore
from conduitstore import upkeep
from conduitstore.schema import TREES

from .display import Screen
from .options import existing, path_option


@click.command()
@click.argument("trees", nargs=-1, metavar="[TREE]...")
@path_option
def rebuild(trees: tuple[str, ...], path: Path) -> None:
    """Make derived trees right again out of what they follow from; all of them by default.

    It may be stopped at any point: the next run does the rest.
    """
    derived = [name for name in TREES if name in upkeep.REBUILDS]
    screen = Screen()
    with conduitstore.open(existing(path)) as store:
        for tree in trees or derived:
            changed = upkeep.rebuild(store.db, tree)
            screen.line(f"{tree}: {f'{changed:,} rows mended' if changed else 'was right'}")
