"""`conduitstore migrate`: a store of an earlier schema, brought up to date."""

from __future__ import annotations

from pathlib import Path

import click

from conduitstore import engine, upgrade
from conduitstore.migrate import Applied
from conduitstore.parts.holder import Parts

from .display import Screen
from .options import existing, path_option
from .progress import counting


@click.command()
@path_option
@click.option("--dry-run", is_flag=True, help="Say what would change, and change no row.")
@click.option(
    "--backup",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the backup goes; by default beside the store.",
)
@click.option("--no-backup", is_flag=True, help="Take none.")
def migrate(path: Path, backup: Path | None, *, dry_run: bool, no_backup: bool) -> None:
    """Bring the store to this version's schema, after a backup of it.

    It may be stopped at any point: the next run goes on.
    """
    if backup is not None and (no_backup or dry_run):
        raise click.UsageError("--backup goes with neither --no-backup nor --dry-run")
    before = _version(existing(path))
    resolved = path.resolve()
    target = backup or resolved.with_name(f"{resolved.name}.schema-{before}")
    with counting("migrating") as on_progress:
        applied = upgrade(
            path,
            backup=None if no_backup or dry_run else target,
            dry_run=dry_run,
            on_progress=lambda _step, done, total: on_progress(done, total),
        )
    screen = Screen()
    if not applied:
        screen.line(f"nothing to do: the schema is at version {before}")
        return
    _show(screen, applied, is_dry=dry_run)
    after = f"the schema {'would be' if dry_run else 'is'} at version {applied[-1].step.number}"
    has_backup = not (no_backup or dry_run) and target.exists()
    screen.line(after + (f"; as it was before: {target}" if has_backup else ""))


def _version(path: Path) -> int:
    with engine.open(path, read_only=True) as db, db.snapshot() as view:
        return Parts(view).globals.schema_version()


def _show(screen: Screen, applied: list[Applied], *, is_dry: bool) -> None:
    for one in applied:
        screen.line(str(one))
        for row in one.skipped:
            screen.line(f"  left alone: {row}")
        for (tree, change), total in sorted(one.changes.items()):
            if total:
                screen.line(f"  {tree}: {total:,} rows {'to be ' if is_dry else ''}{change}")
