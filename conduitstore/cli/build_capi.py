"""`conduitstore build-capi`: the C header and the shared library."""

from __future__ import annotations

from pathlib import Path

import click

from conduitstore.capi.build import build


@click.command("build-capi")
@click.argument("dir", type=click.Path(file_okay=False, path_type=Path))
def build_capi(dir: Path) -> None:
    """Build the C interface into DIR: conduitstore.h and a shared library.

    It takes a C compiler, a Python with a shared library, and the extra `capi`.
    """
    for path in build(dir):
        click.echo(path)
