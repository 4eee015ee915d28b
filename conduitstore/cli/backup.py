"""`conduitstore backup` and `restore`: a store's second copy, and a store made of one."""

from __future__ import annotations

from pathlib import Path

import click

from conduitstore import engine
from conduitstore.engine import embedded
from conduitstore.operations import BackupReport

from .options import existing, path_option
from .progress import reading


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@path_option
def backup(target: Path, path: Path) -> None:
    """Copy the store into the directory TARGET, which is new, empty or an earlier backup of it.

    What an earlier backup has, and what verifies there, is not copied again.
    """
    with engine.open(existing(path)) as db, reading("copying", path) as on_read:
        report = db.backup(target, on_read=on_read)
    click.echo(_summary(report))


@click.command()
@click.argument("source", type=click.Path(file_okay=False, path_type=Path))
@path_option
def restore(source: Path, path: Path) -> None:
    """Make a store at --path, a new or empty directory, out of the backup in SOURCE.

    It has a history of its own: counts and ids go on far above all that were given out.
    """
    with reading("copying", existing(source)) as on_read:
        report = embedded.restore(source, path, on_read=on_read)
    click.echo(_summary(report))


def _summary(report: BackupReport) -> str:
    return (
        f"everything up to commit {report.sequence:,}: {report.copied_bytes:,} bytes copied, "
        f"{report.kept_bytes:,} were there"
    )
