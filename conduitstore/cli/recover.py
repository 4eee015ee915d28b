"""`conduitstore recover`: mend what has a second copy, open the store, say what was found."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from conduitstore import engine
from conduitstore.engine import embedded
from conduitstore.engine.embedded import Repair
from conduitstore.errors import CorruptedError, UnsupportedFormatError
from conduitstore.operations import RecoveryMode, RecoveryReport

from .display import one_line
from .options import existing, path_option
from .progress import reading


@click.command()
@path_option
@click.option(
    "--mode",
    type=click.Choice(get_args(RecoveryMode)),
    default="strict",
    help="What may be lost: nothing (strict), all behind a damage (prefix), any of it (salvage).",
)
@click.option(
    "--backup",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A backup of the store, for what it has no second copy of itself.",
)
@click.option("--yes", is_flag=True, help="Lose what has to be lost without asking.")
@click.pass_context
def recover(
    ctx: click.Context, path: Path, mode: RecoveryMode, backup: Path | None, *, yes: bool
) -> None:
    """Repair what is damaged as far as there are second copies, then open the store.

    With a mode that may lose something it first says what that would be, and asks. Exit status: 0
    when the store opens and all of it can be read, 1 when not.
    """
    repairs = _repair(existing(path), mode, backup)
    if mode != "strict":
        report = embedded.survey(path, recover=mode)
        if report.mode != "strict" and not yes:
            _say(report)
            click.confirm("do this, and keep the damaged files aside?", abort=True, err=True)
    try:
        with engine.open(path, recover=mode) as db:
            _say(db.recovery_report)
    except CorruptedError as error:
        hint = "; prefix and salvage are other modes" if mode == "strict" else ""
        raise click.ClickException(f"{error}{hint}") from error
    # What a salvage could not read is no longer in the store.
    is_lost = mode != "salvage" and any(repair.is_lost for repair in repairs)
    ctx.exit(1 if is_lost else 0)


def _repair(path: Path, mode: RecoveryMode, backup: Path | None) -> list[Repair]:
    try:
        with reading("verifying", path) as on_read:
            repairs = embedded.repair(path, backup=backup, on_read=on_read)
    except (CorruptedError, UnsupportedFormatError) as error:
        if mode == "strict":
            raise
        click.echo(one_line(f"nothing can be repaired: {error}"))
        return []
    for repair in repairs:
        click.echo(one_line(str(repair)))
    return repairs


def _say(report: RecoveryReport) -> None:
    for line in str(report).splitlines():
        click.echo(one_line(line))
