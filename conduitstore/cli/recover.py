"""`conduitstore recover`: mend what has a second copy, open the store, say what was found."""

from __future__ import annotations

from pathlib import Path

import click

from conduitstore import engine
from conduitstore.engine import embedded

from .display import one_line
from .options import existing, path_option
from .progress import reading


@click.command()
@path_option
@click.option(
    "--backup",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A backup of the store, for what it has no second copy of itself.",
)
@click.pass_context
def recover(ctx: click.Context, path: Path, backup: Path | None) -> None:
    """Repair what is damaged as far as there are second copies, then open the store.

    Exit status: 0 when everything is there, 1 when some of it is lost; each range is a line.
    """
    with reading("verifying", existing(path)) as on_read:
        repairs = embedded.repair(path, backup=backup, on_read=on_read)
    for repair in repairs:
        click.echo(one_line(str(repair)))
    with engine.open(path) as db:
        for line in str(db.recovery_report).splitlines():
            click.echo(one_line(line))
    ctx.exit(1 if any(repair.is_lost for repair in repairs) else 0)
