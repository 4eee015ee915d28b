"""Leaves of all ages over one tree's keys: which of them counts where.

Leaves are laid one after the other, the one that counts most first; each takes of its range what no
other has taken before it. What nobody took is left to the log.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, NamedTuple

from conduitstore.kv import KEY_BYTES_MAX

from .claims import Claim

END = b"\xff" * (KEY_BYTES_MAX + 1)
"""Above every key."""


class FoundLeaf(NamedTuple):
    """A leaf's frame that verifies, wherever it is; they sort by age."""

    generation: int
    number: int  # of its segment
    offset: int
    frame_bytes: int
    tree_id: int
    first: bytes
    last: bytes
    entries_total: int
    payload_bytes: int
    blobs: tuple[tuple[int, int], ...]  # segment number, and bytes of frames there

    def is_meant_by(self, claim: Claim) -> bool:
        """Whether a manifest means this leaf."""
        *place, entries_total, payload_bytes = claim.row[:5]
        return (
            (self.tree_id, self.frame_bytes) == (claim.tree_id, place[2])
            and (self.entries_total, self.payload_bytes) == (entries_total, payload_bytes)
            and dict(self.blobs) == dict(zip(claim.row[5::2], claim.row[6::2], strict=True))
            and claim.holds(self.first)
            and claim.holds(self.last)
        )


class Layer(NamedTuple):
    """A range of keys, and the leaf that counts there."""

    lo: bytes
    hi: bytes  # not in it
    leaf: FoundLeaf
    sequence: int  # commits up to this one are in the leaf
    is_whole: bool  # the leaf has no key outside of the range


class Layers:
    """The layers of one tree."""

    def __init__(self) -> None:
        self._los = [b""]  # of the ranges that nobody took yet, in order
        self._his = [END]
        self._layers: list[Layer] = []

    @property
    def is_complete(self) -> bool:
        """Whether every key has its leaf."""
        return not self._los

    def lay(
        self, leaf: FoundLeaf, sequence: int, lo: bytes, hi: bytes, *, only_whole: bool
    ) -> None:
        """Give a leaf what is left of a range.

        Args:
            leaf: has keys in the range.
            sequence: commits up to this one are in it.
            lo: where the range begins.
            hi: where it ends.
            only_whole: take all of the range or, where another has a part, let nobody have it.
        """
        begin, end = bisect_right(self._his, lo), bisect_left(self._los, hi)
        taken = [(max(lo, self._los[at]), min(hi, self._his[at])) for at in range(begin, end)]
        is_whole = taken == [(lo, hi)]
        if not taken:
            return
        left = [(self._los[begin], lo), (hi, self._his[end - 1])]
        left = [(low, high) for low, high in left if low < high]
        self._los[begin:end] = [low for low, _ in left]
        self._his[begin:end] = [high for _, high in left]
        if is_whole or not only_whole:
            for low, high in taken:
                holds_all = low <= leaf.first and leaf.last < high
                insort(self._layers, Layer(low, high, leaf, sequence, holds_all), key=_LO)

    def __iter__(self) -> Any:
        return iter(self._layers)

    def at(self, key: bytes) -> Layer | None:
        """The layer that has a key."""
        at = bisect_right(self._layers, key, key=_LO) - 1
        if at < 0 or self._layers[at].hi <= key:
            return None
        return self._layers[at]


_LO = attrgetter("lo")


def newest_first(leaves: Iterable[FoundLeaf]) -> list[FoundLeaf]:
    """By generation, then by the place that was written last."""
    return sorted(leaves, reverse=True)
