"""Where clean leaves and blobs lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .segment import Segment


class Location(NamedTuple):
    """Where a clean leaf lies. It keeps its segments open for as long as anyone may read it."""

    segment: Segment
    offset: int
    frame_bytes: int
    entries_total: int
    blobs: tuple[tuple[Segment, int], ...] = ()
    """In which segments its blobs lie, and how many bytes of frames in each."""

    @property
    def segments(self) -> Iterator[Segment]:
        """The segments that the leaf and its blobs lie in."""
        yield self.segment
        for segment, _ in self.blobs:
            yield segment


class BlobLocation(NamedTuple):
    """Where a clean blob lies. It keeps its segment open for as long as anyone may read it."""

    segment: Segment
    offset: int
    frame_bytes: int
