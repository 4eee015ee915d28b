"""`conduitstore import`: events from NDJSON into a store."""

from __future__ import annotations

import stat
from collections import Counter
from os import fstat
from pathlib import Path
from typing import BinaryIO

import click

import conduitstore
from conduitstore.importer import Importer, Refusal
from conduitstore.ndjson import Source, read_lines
from conduitstore.store import Store

from .display import one_line
from .options import new_path_option
from .progress import progress

_REASON_LENGTH_MAX = 200


@click.command("import")
@click.argument("file", type=click.File("rb"))
@new_path_option
@click.pass_context
def import_(ctx: click.Context, file: BinaryIO, path: Path | None) -> None:
    """Import the events of FILE, one JSON object a line; "-" is standard input.

    FILE may be plain, gzip or zstd. A line is a PDU, or {"event_id", "room_version", "pdu"}. A line
    that is no good is reported with its number and left out whole; the rest goes in. Importing a
    file again changes nothing: its events are then duplicates.

    Exit status: 0 when every line went in, 1 when some were refused.
    """
    if path is None:
        raise click.UsageError("--path DIR says where the store is, or where to make it")
    total, refused = Counter[str](), Counter[str]()
    with conduitstore.open(path) as store:
        try:
            _import(store, file, total, refused)
        finally:  # Also of an import that was interrupted, or found the disk full.
            click.echo(_summary(total["imported"], refused), err=bool(refused))
    ctx.exit(1 if refused else 0)


def _import(store: Store, file: BinaryIO, total: Counter[str], refused: Counter[str]) -> None:
    source = Source(file)
    with progress("importing") as bar:
        task = bar.add_task("importing", total=_size_bytes(file))
        for refusal in Importer(store).run(read_lines(source)):
            if refusal is None:
                total["imported"] += 1
            else:
                refused[refusal.kind] += 1
                bar.console.print(_report(refusal), soft_wrap=True)
            bar.update(task, completed=source.consumed_bytes)


def _size_bytes(file: BinaryIO) -> int | None:
    """Of a regular file; a pipe does not say."""
    try:
        status = fstat(file.fileno())
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _report(refusal: Refusal) -> str:
    reason = refusal.reason[:_REASON_LENGTH_MAX]
    return one_line(f"line {refusal.line}: {refusal.kind}: {reason}")


def _summary(imported: int, refused: Counter[str]) -> str:
    kinds = ", ".join(f"{total:,} {kind}" for kind, total in sorted(refused.items()))
    lines = f"; {refused.total():,} lines refused: {kinds}" if refused else ""
    return f"{imported:,} events imported{lines}"
