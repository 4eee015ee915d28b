"""What commands have in common: where the store is, how much to show, and opening it."""

from __future__ import annotations

from pathlib import Path

import click

_DIRECTORY = click.Path(file_okay=False, path_type=Path)

path_option = click.option(
    "--path", required=True, metavar="DIR", type=_DIRECTORY, help="The store's directory."
)
new_path_option = click.option(
    "--path", metavar="DIR", type=_DIRECTORY, help="The store's directory; made if not there."
)


def existing(path: Path) -> Path:
    """``path``, if there is something to open: to read is no reason to create a store."""
    if not path.is_dir() or not any(path.iterdir()):
        raise click.ClickException(f"there is no store at {path}")
    return path
