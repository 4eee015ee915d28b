"""`conduitstore gc`: what nobody needs any more, collected."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import click

import conduitstore
from conduitstore.upkeep import Collected, GcOptions
from conduitstore.upkeep.options import DAY_MS

from .display import Screen
from .options import existing_store, files_in, media_option, store_option
from .progress import counting_each


@click.command()
@store_option
@media_option
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove no row.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option(
    "--messages-days",
    metavar="N",
    type=click.IntRange(min=0),
    help="Forget messages older than so many days, too; by default all stay.",
)
def gc(
    path: Path | str, media: Path | None, messages_days: int | None, *, dry_run: bool, as_json: bool
) -> None:
    """Remove what nobody needs any more from every tree that would grow for ever.

    With --media the bytes of media that were dropped go, too. It may be stopped at any point: the
    next run does the rest.
    """
    options = GcOptions()
    if messages_days is not None:
        options = replace(options, messages_ms=messages_days * DAY_MS)
    with (
        conduitstore.open(
            existing_store(path), media_files=files_in(media), read_only=dry_run
        ) as store,
        counting_each("collecting") as on_progress,
    ):
        collected = store.gc(options, dry_run=dry_run, on_progress=on_progress)
    if as_json:
        for one in collected:
            click.echo(json.dumps(asdict(one)))
    else:
        _show(collected, is_dry=dry_run)


def _show(collected: list[Collected], *, is_dry: bool) -> None:
    screen = Screen()
    rows = [(one.tree, one.looked_at, one.removed) for one in collected]
    screen.table(("tree", "looked at", "would go" if is_dry else "removed"), rows)
    total = sum(one.removed for one in collected)
    screen.line(f"{total:,} rows {'would go' if is_dry else 'removed'}")
