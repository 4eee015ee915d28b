"""`conduitstore check` and `verify`: is every byte as it was written, and does it make sense?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from conduitstore import consistency, engine
from conduitstore.consistency import Violation
from conduitstore.engine import embedded
from conduitstore.files import DirectoryFiles
from conduitstore.operations import Damage

from .display import bytes_text, one_line
from .options import existing, existing_store, path_option, store_option
from .progress import reading


@click.command()
@path_option
@click.pass_context
def verify(ctx: click.Context, path: Path) -> None:
    """Read every byte of every file; name each damage with the keys it takes. Changes nothing.

    Exit status: 0 when all is as it was written, 1 when something is damaged.
    """
    damages = _damages(path, _tell_line)
    click.echo(_summary(damages, "damage"), err=bool(damages))
    ctx.exit(1 if damages else 0)


@click.command()
@store_option
@click.option(
    "--media",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The directory of media files, to be read too.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def check(ctx: click.Context, path: Path | str, media: Path | None, *, as_json: bool) -> None:
    """Verify, then test every rule of consistency; each violation is one line.

    Exit status: 0 when there is none, 1 when there is one.
    """
    tell = _tell_json if as_json else _tell_line
    violations = _damages(path, tell)
    if not violations:
        with engine.open(existing_store(path), read_only=True) as db, db.snapshot() as view:
            files = None if media is None else DirectoryFiles(media, read_only=True)
            for violation in consistency.check(view, files):
                tell(violation)
                violations += 1
    click.echo(_summary(violations, "violation"), err=bool(violations) or as_json)
    ctx.exit(1 if violations else 0)


Tell = Callable[[Damage | Violation], None]


def _tell_line(found: Damage | Violation) -> None:
    click.echo(one_line(str(found)))


def _tell_json(found: Damage | Violation) -> None:
    fields = found._asdict() if isinstance(found, Violation) else asdict(found)
    texts = {
        name: bytes_text(value) if isinstance(value, bytes) else value
        for name, value in fields.items()
    }
    click.echo(json.dumps(texts, ensure_ascii=True))


def _damages(path: Path | str, tell: Tell) -> int:
    """Tell of each damage; gives how many there are."""
    total = 0
    if isinstance(path, str):
        with engine.open(path, read_only=True) as db:
            for damage in db.verify():
                tell(damage)
                total += 1
        return total
    with reading("verifying", existing(path)) as on_read:
        for damage in embedded.verify(path, on_read=on_read):
            tell(damage)
            total += 1
    return total


def _summary(total: int, what: str) -> str:
    return f"{total:,} {what}{'' if total == 1 else 's'}" if total else f"no {what}"
