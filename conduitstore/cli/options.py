"""What commands have in common: where the store is, how much to show, and opening it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from conduitstore.files import DirectoryFiles

_DIRECTORY = click.Path(file_okay=False, path_type=Path)

path_option = click.option(
    "--path", required=True, metavar="DIR", type=_DIRECTORY, help="The store's directory."
)


class _Store(click.Path):
    """A directory, or the address of a store in a database, which is no path."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if "://" in str(value) else super().convert(value, param, ctx)


store_option = click.option(
    "--path",
    required=True,
    metavar="DIR",
    type=_Store(file_okay=False, path_type=Path),
    help="The store's directory, or postgresql://...",
)
new_path_option = click.option(
    "--path", metavar="DIR", type=_DIRECTORY, help="The store's directory; made if not there."
)

media_option = click.option(
    "--media", metavar="DIR", type=_DIRECTORY, help="The directory of media files."
)


def files_in(media: Path | None) -> DirectoryFiles | None:
    """The files in a directory; a mistyped one is not made."""
    if media is not None and not media.is_dir():
        raise click.ClickException(f"there is no directory {media}")
    return None if media is None else DirectoryFiles(media)


def existing(path: Path) -> Path:
    """``path``, if there is something to open: to read is no reason to create a store."""
    if not path.is_dir() or not any(path.iterdir()):
        raise click.ClickException(f"there is no store at {path}")
    return path


def existing_store(path: Path | str) -> Path | str:
    """Like :func:`existing`; an address is left to the engine."""
    return path if isinstance(path, str) else existing(path)
