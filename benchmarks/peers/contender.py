"""What a workload may ask of an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

Row = tuple[bytes, bytes]
Getter = Callable[[bytes], bytes | None]


class Write(NamedTuple):
    """One row of a commit; without a value it is deleted."""

    tree: str
    key: bytes
    value: bytes | None


class Get(NamedTuple):
    """One value."""

    tree: str
    key: bytes


class Page(NamedTuple):
    """Rows with ``lo <= key < hi``, at most ``limit``; newest first when reversed."""

    tree: str
    lo: bytes
    hi: bytes
    limit: int
    reverse: bool = False


Read = Get | Page


@dataclass(frozen=True, slots=True)
class Setup:
    """How each contender of a run is opened."""

    directory: Path
    trees: Sequence[str]
    cache_bytes: int = 64 << 20
    log_bytes: int = 64 << 20
    """How much may wait in a log or in memory before it is written to its place."""
    is_durable: bool = False
    """Whether a commit survives power loss when its call returns; else it survives a kill."""


class Contender(Protocol):
    """An open store."""

    name: str

    def getter(self, tree: str) -> Getter:
        """The engine's quickest way to one value of ``tree``, as of now."""

    def insert(self, tree: str, key: bytes, value: bytes) -> None:
        """One commit of one row."""

    def write(self, writes: Iterable[Write]) -> None:
        """One commit of all."""

    def page(self, page: Page) -> list[Row]:
        """The rows of a page."""

    def read(self, reads: Iterable[Read]) -> list[object]:
        """All from one state: a value for each :class:`Get`, rows for each :class:`Page`."""

    def scan(self, tree: str) -> Iterable[Row]:
        """Every row of ``tree`` in order."""

    def settle(self) -> None:
        """Finish what was put off: merge, fold the log in, so that the files are at rest."""

    def close(self) -> None: ...
