"""Bars for what takes long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)


def progress(doing: str, amount: ProgressColumn | None = None) -> Progress:
    """On standard error; the bar itself only where that is a terminal. Of bytes by default."""
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    columns = (TextColumn(doing), BarColumn(), amount or DownloadColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


@contextmanager
def reading(doing: str, path: Path | None) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of a store's files; gives what is to be told of each read."""
    total = sum(file.stat().st_size for file in path.iterdir()) if path is not None else None
    with progress(doing) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda size: bar.advance(task, size)


@contextmanager
def counting_each(doing: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar over rows of one thing after the other; gives what is to be told which, and how far."""
    with progress(doing, MofNCompleteColumn()) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda _name, done, total: bar.update(task, completed=done, total=total)


@contextmanager
def counting(doing: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar over rows; gives what is to be told how many are done, and of how many."""
    with progress(doing, MofNCompleteColumn()) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
