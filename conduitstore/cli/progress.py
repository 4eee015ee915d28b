"""Bars for what takes long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn


def progress(doing: str) -> Progress:
    """On standard error; the bar itself only where that is a terminal."""
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    columns = (TextColumn(doing), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


@contextmanager
def reading(doing: str, path: Path | None) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of a store's files; gives what is to be told of each read."""
    total = sum(file.stat().st_size for file in path.iterdir()) if path is not None else None
    with progress(doing) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda size: bar.advance(task, size)
