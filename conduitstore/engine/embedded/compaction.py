"""What is worth rewriting: sparse segments, many small ones, and runs of small leaves.

A segment is never changed, so what its leaves and blobs leave behind goes only with the whole file.
A checkpoint therefore writes again what still lives in sparse segments:

- A segment under 60 % live is rewritten, the sparsest first, up to a budget in bytes that the
  checkpoint's own writing sets; so the work of a checkpoint stays in proportion.
- The budget gives way to the bound: all segments together are at most twice what lives in them.
- Of segments far below their target size no more than a few dozen pile up: each is an open file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from .format import HEADER_BYTES
from .leaf import Leaf
from .location import Location
from .segment import Segment

SPARSE_PERCENT = 60
SPARSE_PERCENT_THOROUGH = 95
SMALL_SEGMENTS_MAX = 32
SMALL_SHARE = 8
"""A segment is small under one part in so many of the target size."""

Live = dict[Segment, int]
"""Bytes of each segment that are needed: its header, its live leaves and blobs."""


def live_bytes(locations: Iterable[Location]) -> Live:
    """What the leaves of a generation need of each segment."""
    live: Live = defaultdict(lambda: HEADER_BYTES)
    for segment, _, frame_bytes, _, blobs in locations:
        live[segment] += frame_bytes
        for beside, blob_bytes in blobs:
            live[beside] += blob_bytes
    return dict(live)


def add_live(live: Live, segment: Segment, frame_bytes: int) -> None:
    """Count one more frame."""
    live[segment] = live.get(segment, HEADER_BYTES) + frame_bytes


def victims(
    live: Mapping[Segment, int], *, budget_bytes: int, target_bytes: int, is_thorough: bool
) -> set[Segment]:
    """The segments to rewrite now."""
    percent = SPARSE_PERCENT_THOROUGH if is_thorough else SPARSE_PERCENT
    sparse = [s for s in live if live[s] * 100 < s.size_bytes * percent]
    sparse.sort(key=lambda s: live[s] / s.size_bytes)
    files_total, live_total, moved = sum(s.size_bytes for s in live), sum(live.values()), 0
    chosen = set()
    for segment in sparse:
        if moved + live[segment] > budget_bytes and files_total <= 2 * live_total:
            break
        chosen.add(segment)
        moved += live[segment]
        files_total -= segment.size_bytes - live[segment]
    return chosen | _small(live, max(budget_bytes, target_bytes // SMALL_SHARE), target_bytes)


def _small(live: Mapping[Segment, int], budget_bytes: int, target_bytes: int) -> set[Segment]:
    small = [s for s in live if s.size_bytes * SMALL_SHARE < target_bytes]
    if len(small) <= SMALL_SEGMENTS_MAX:
        return set()
    chosen = set()
    for segment in sorted(small, key=lambda s: live[s]):
        budget_bytes -= live[segment]
        if budget_bytes < 0:
            break
        chosen.add(segment)
    return chosen


def runs_of_small(
    leaves: Iterable[tuple[bytes, Leaf]], *, entries_max: int, bytes_max: int
) -> Iterator[list[tuple[bytes, Leaf]]]:
    """The leaves, one at least, in order and in groups: each of several is small enough for one."""
    run: list[tuple[bytes, Leaf]] = []
    entries = size_bytes = 0
    for low, leaf in leaves:
        entries += leaf.entries_total
        size_bytes += leaf.size_bytes
        if run and (entries > entries_max or size_bytes > bytes_max):
            yield run
            run, entries, size_bytes = [], leaf.entries_total, leaf.size_bytes
        run.append((low, leaf))
    yield run
