"""`conduitstore copy`: a store into another engine, or into one of other settings."""

from __future__ import annotations

import json
from pathlib import Path

import click

from conduitstore import engine
from conduitstore.kv import Database

from .options import existing
from .progress import counting

Settings = tuple[tuple[str, object], ...]


def _setting(_ctx: click.Context, _parameter: click.Parameter, words: tuple[str, ...]) -> Settings:
    """``name=value`` each; what JSON reads as a number, true, false or null is that."""
    pairs = [word.partition("=") for word in words]
    for word, (name, equals, _) in zip(words, pairs, strict=True):
        if not name.isidentifier() or not equals:
            raise click.BadParameter(f"{word!r} is not NAME=VALUE")
    return tuple((name, _value(text)) for name, _, text in pairs)


def _value(text: str) -> object:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, int | float) else text


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--replace", is_flag=True, help="DST may hold anything: make it equal to SRC.")
@click.option(
    "--source-setting",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_setting,
    help="A setting to open SRC with.",
)
@click.option(
    "--target-setting",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_setting,
    help="A setting to open DST with.",
)
def copy(
    source: str,
    target: str,
    source_setting: Settings,
    target_setting: Settings,
    *,
    replace: bool,
) -> None:
    """Copy the store SRC into DST; each is a directory or a postgresql:// address.

    SRC may be in use: the copy is of one moment. What was interrupted goes on when the same command
    is given again; until it is done, DST is no store for anything else.
    """
    with (
        _opened(source, {**dict(source_setting), "read_only": True}) as original,
        engine.open(target, **dict(target_setting)) as twin,
    ):
        copied = _copied(original, twin, replace=replace)
    click.echo(
        f"{copied.entries_total:,} entries copied, checksum {copied.checksum:08x}; "
        f"counts go on above {copied.count:,}"
    )


def _opened(source: str, settings: dict[str, object]) -> Database:
    """The source: an address, or a directory where there is something."""
    return engine.open(source if "://" in source else existing(Path(source)), **settings)


def _copied(source: Database, target: Database, *, replace: bool) -> engine.Copied:
    total = 2 * sum(tree.entries_total for tree in source.stats().trees.values())
    done = 0
    with counting("copying, then comparing") as show:

        def on_entries(more: int) -> None:
            nonlocal done
            done += more
            show(done, total)

        try:
            return engine.copy(source, target, replace=replace, on_entries=on_entries)
        except KeyboardInterrupt:
            click.echo("interrupted; the same command goes on from here", err=True)
            raise
