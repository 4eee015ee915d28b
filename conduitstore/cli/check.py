"""`conduitstore check` and `verify`: is every byte as it was written, and does it make sense?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from conduitstore import engine
from conduitstore.engine import embedded
from conduitstore.engine.merge import MERGE_OPERATORS
from conduitstore.errors import CorruptedError
from conduitstore.kv import DEFAULT_TREE, Keyspace
from conduitstore.schema import RETIRED, TREES, decode_key, decode_value

from .display import one_line
from .options import existing, path_option
from .progress import reading

_ENGINES_OWN = (DEFAULT_TREE, MERGE_OPERATORS)


@click.command()
@path_option
@click.pass_context
def verify(ctx: click.Context, path: Path) -> None:
    """Read every byte of every file; name each damage with the keys it takes. Changes nothing.

    Exit status: 0 when all is as it was written, 1 when something is damaged.
    """
    damages = _damages(path)
    click.echo(_summary(damages, "damage"), err=bool(damages))
    ctx.exit(1 if damages else 0)


@click.command()
@path_option
@click.pass_context
def check(ctx: click.Context, path: Path) -> None:
    """Verify, and decode every tree, key and value by the schema; each violation is one line.

    Exit status: 0 when there is none, 1 when there is one.
    """
    violations = _damages(path)
    if not violations:
        with engine.open(existing(path), read_only=True) as db, db.snapshot() as view:
            for line in _violations(view):
                click.echo(one_line(line))
                violations += 1
    click.echo(_summary(violations, "violation"), err=bool(violations))
    ctx.exit(1 if violations else 0)


def _damages(path: Path) -> int:
    """Print each damage; gives how many there are."""
    total = 0
    with reading("verifying", existing(path)) as on_read:
        for damage in embedded.verify(path, on_read=on_read):
            click.echo(one_line(str(damage)))
            total += 1
    return total


def _violations(view: Keyspace) -> Iterator[str]:
    for name in view.tree_names():
        if name in _ENGINES_OWN or name in RETIRED:
            continue
        if name not in TREES:
            yield f"{name}: no part has this tree"
            continue
        for key, value in view.open_tree(name):
            try:
                decode_key(name, key)
                decode_value(name, value)
            except CorruptedError as error:
                yield f"{name}: {key!r}: {error}"


def _summary(total: int, what: str) -> str:
    return f"{total:,} {what}{'' if total == 1 else 's'}" if total else f"no {what}"
