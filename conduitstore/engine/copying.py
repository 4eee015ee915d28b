"""One store's content into another, of any engine, while the first is written to.

What the target holds afterwards is one snapshot of the source, whatever was interrupted before:
see :meth:`conduitstore.operations.Operations.import_` with ``over``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Database
from conduitstore.operations import OnEntries

from .stream import END, End
from .transfer import check_empty


@dataclass(frozen=True, slots=True)
class Copied:
    """What the target holds now, read back from it."""

    entries_total: int
    checksum: int
    """As ``Database.checksum`` gives it, of the source at the instant of the copy."""
    count: int
    """The newest count visible at that instant."""


def copy(
    source: Database,
    target: Database,
    *,
    replace: bool = False,
    on_entries: OnEntries | None = None,
) -> Copied:
    """Make ``target`` hold what a snapshot of ``source`` does, in constant memory.

    Until that is done and was read back, the target is marked as a part, which no part opens. An
    error, an interrupt or a death leaves it so: copy again, and what is there is compared instead
    of written. Counts and ids go on above those of both.

    Args:
        source: may be open for reading only, and be written to meanwhile.
        target: empty or a part of a copy, and written to by nobody else.
        replace: the target may hold anything, such as an earlier copy: what is not in the source
            goes, and only what differs is written.
        on_entries: told how many more entries were copied and, after that, read back: all in all
            twice those of the source.

    Raises:
        InvalidArgumentError: the target is the source, holds something, or cannot be written to;
            or the source is a part of a copy itself.
        ConflictError: somebody else wrote to the target.
    """
    if source is target:
        raise InvalidArgumentError("a store cannot be copied onto itself")
    if not replace:
        check_empty(
            target,
            "copy with --replace (replace=True): then it holds what the source does, and nothing "
            "else",
        )
    pieces = _Pieces(source.export(compression_level=0))
    target.import_(pieces, over=True, on_entries=on_entries)
    end = End(*END.unpack(pieces.last[-END.size :]))
    return Copied(end.entries_total, end.checksum, end.visible_count)


class _Pieces(Iterable[bytes]):
    """A stream that remembers how it ended."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.last = b""
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.last = piece
            yield piece
