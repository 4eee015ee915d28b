"""`conduitstore export` and `import-stream`: a whole store as one stream, for any engine."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from conduitstore import engine
from conduitstore.engine import embedded

from .options import existing, new_path_option, path_option
from .progress import progress


@click.command()
@click.argument("file", type=click.File("wb"), default="-")
@path_option
@click.option("--level", default=3, type=click.IntRange(0, 22), help="Of compression; 0: none.")
def export(file: BinaryIO, path: Path, level: int) -> None:
    """Write everything in the store into FILE; "-" is standard output."""
    with engine.open(existing(path), read_only=True) as db, progress("exporting") as bar:
        task = bar.add_task("exporting", total=None)
        for piece in db.export(compression_level=level):
            file.write(piece)
            bar.advance(task, len(piece))


@click.command("import-stream")
@click.argument("file", type=click.File("rb"), default="-")
@new_path_option
def import_stream(file: BinaryIO, path: Path | None) -> None:
    """Make a store out of what `export` wrote into FILE; "-" is standard input.

    The store must be new or empty. When the stream is damaged, it is empty afterwards.
    """
    if path is None:
        raise click.UsageError("--path DIR says where to make the store")
    with embedded.open(path) as db, progress("importing") as bar:
        task = bar.add_task("importing", total=None)

        class Counted:
            def read(self, size: int) -> bytes:
                data = file.read(size)
                bar.advance(task, len(data))
                return data

        total = db.import_(Counted())
        checksum = db.checksum()
    click.echo(f"{total:,} entries imported, checksum {checksum:08x}")
