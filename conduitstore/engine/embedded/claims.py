"""What a store's files are meant to hold, by its manifest, and reading it from them.

Leaves and blobs are read by place, also out of a segment whose header is damaged: what the header
must have said is known.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Any

from conduitstore.errors import ConduitStoreError, CorruptedError
from conduitstore.operations import Damage, OnRead

from . import names
from .blob import decode_blob
from .columns import BlobReference
from .files import Directory, File
from .format import HEADER_BYTES, Frame, FrameKind, Header, decode_frame, decode_header
from .leaf import decode_leaf
from .manifest import Generation, LeafRow, generations, segments_of
from .segment import KIND


@dataclass(frozen=True, slots=True)
class Claim:
    """A leaf as the manifest means it."""

    tree_id: int
    tree: str
    low: bytes
    high: bytes | None
    row: LeafRow
    is_first: bool

    def damage(self, file: str, reason: str) -> Damage:
        """That this leaf cannot be read."""
        _, offset, frame_bytes, *_ = self.row
        low = None if self.is_first else self.low
        return Damage(file, offset, frame_bytes, reason, self.tree, low, self.high)

    def blob_damage(self, key: bytes, reference: BlobReference, reason: str) -> Damage:
        """That the blob which is the value of ``key`` cannot be read."""
        number, offset, frame_bytes, _ = reference
        file = names.numbered(names.SEGMENT, number)
        return Damage(file, offset, frame_bytes, reason, self.tree, key, key + b"\0")

    def holds(self, key: bytes) -> bool:
        """Whether a key belongs here."""
        return (self.is_first or key >= self.low) and (self.high is None or key < self.high)

    def fault(self, frame: Frame) -> str | None:
        """Why a whole frame is not this leaf; None: it is."""
        if frame.kind != FrameKind.LEAF or frame.end - frame.offset != self.row[2]:
            return "another frame stands in this place"
        try:
            tree_id, _, keys, values = decode_leaf(frame.payload, frame.flags)
        except MemoryError:  # Not the bytes' fault: it must not look like damage.
            raise
        except Exception as error:  # noqa: BLE001 - whatever hostile bytes make the decoders raise
            return f"not a leaf: {error}"
        if tree_id != self.tree_id or not len(keys) == len(values) == self.row[3]:
            return "another leaf stands in this place"
        if any(a >= b for a, b in pairwise(keys)):
            return "its keys are not in order"
        if not self.holds(keys[0]) or not self.holds(keys[-1]):
            return "it holds keys of another range"
        return None if self._has_its_blobs(values) else "its blobs are not those of the manifest"

    def _has_its_blobs(self, values: list[Any]) -> bool:
        found: Counter[int] = Counter()
        for value in values:
            if type(value) is not bytes:
                found[value[0]] += value[2]
        return found == dict(zip(self.row[5::2], self.row[6::2], strict=True))

    @property
    def has_blobs(self) -> bool:
        """Whether some of its values are blobs."""
        return len(self.row) > 5

    @property
    def segments(self) -> set[int]:
        """The numbers of those that it and its blobs lie in."""
        return segments_of(self.row)


def claims_of(generation: Generation) -> dict[int, dict[int, Claim]]:
    """Every leaf of a generation, by segment number and offset."""
    claims: dict[int, dict[int, Claim]] = {}
    for tree_id, rows in generation.leaves.items():
        lows = sorted(rows)
        for low, high in zip(lows, [*lows[1:], None], strict=False):
            if row := rows[low]:
                claim = Claim(
                    tree_id, generation.trees[tree_id], low, high, row, is_first=low == lows[0]
                )
                claims.setdefault(row[0], {})[row[1]] = claim
    return claims


class ClaimsByKey:
    """A generation's leaves, to be found by the keys they hold."""

    def __init__(self, generation: Generation) -> None:
        self._by_tree: dict[int, list[Claim]] = {}
        for claims in claims_of(generation).values():
            for claim in claims.values():
                self._by_tree.setdefault(claim.tree_id, []).append(claim)
        for found in self._by_tree.values():
            found.sort(key=_LOW)

    def within(self, tree_id: int, low: bytes | None, high: bytes | None) -> list[Claim]:
        """Those that may hold a key of a range; None: without an end."""
        claims = self._by_tree.get(tree_id, [])
        begin = max(bisect_right(claims, low, key=_LOW) - 1, 0) if low is not None else 0
        end = bisect_left(claims, high, key=_LOW) if high is not None else len(claims)
        return claims[begin : max(end, 1)]


_LOW = attrgetter("low")


@dataclass(slots=True)
class Subject:
    """What is verified, and how it was when that began."""

    directory: Directory
    store_id: bytes
    generation: Generation
    on_read: OnRead
    files: list[str]  # names of all that were there
    segments: set[int]  # of this generation and the one before
    ends: dict[str, int] = field(default_factory=dict)  # of files that are still written to
    pinned: dict[int, File] = field(default_factory=dict)  # segments that may be unlinked meanwhile
    is_newest: bool = True  # the generation; else there is a newer one that nobody can read


class Places:
    """Reads leaves and blobs of a subject from where they are meant to be."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._opened: dict[int, tuple[File, int, bool] | None] = {}

    def leaf(self, claim: Claim) -> tuple[list[bytes], list[Any]] | None:
        """Keys and stored values; None where the leaf is not whole."""
        frame = self._frame(*claim.row[:3])
        if frame is None or claim.fault(frame) is not None:
            return None
        _, _, keys, values = decode_leaf(frame.payload, frame.flags)
        return keys, values

    def blob(self, reference: BlobReference) -> bytes | None:
        """The value; None where the blob is not whole."""
        *place, size_bytes = reference
        frame = self._frame(*place)
        if frame is None or frame.kind != FrameKind.BLOB:
            return None
        try:
            return decode_blob(frame.payload, frame.flags, size_bytes)
        except MemoryError:  # Not the bytes' fault: it must not look like damage.
            raise
        except Exception:  # noqa: BLE001 - whatever hostile bytes make the decoders raise
            return None

    def _frame(self, number: int, offset: int, frame_bytes: int) -> Frame | None:
        opened = self._open(number)
        if opened is None:
            return None
        file, seed, _ = opened
        if not 0 <= offset <= offset + frame_bytes <= file.size():
            return None
        data = file.read_at(offset, frame_bytes)
        self._subject.on_read(len(data))
        return decode_frame(data, 0, seed, offset)

    def is_sound(self, number: int) -> bool:
        """Whether a segment is there, and a store that names it can be opened."""
        opened = self._open(number)
        return opened is not None and opened[2]

    def _open(self, number: int) -> tuple[File, int, bool] | None:
        """File, seed, and whether its header is whole."""
        if number not in self._opened:
            self._opened[number] = self._look(number)
        return self._opened[number]

    def _look(self, number: int) -> tuple[File, int, bool] | None:
        subject, name = self._subject, names.numbered(names.SEGMENT, number)
        try:
            file = subject.pinned.get(number) or subject.directory.open(name)
        except FileNotFoundError:
            return None
        with suppress(CorruptedError):
            header = decode_header(file.read_at(0, HEADER_BYTES), name, KIND)
            if (header.store_id, header.number) == (subject.store_id, number):
                return file, header.seed, True
        return file, Header(KIND, subject.store_id, number).seed, False


def generation_before(subject: Subject) -> Generation | None:
    """The one whose segments and logs are kept; None: its manifest is gone or damaged."""
    wanted = subject.generation.generation - 1
    for number, _ in names.of_kind(names.MANIFEST, subject.directory.names()):
        try:
            for found in generations(subject.directory, number):
                if found.generation == wanted:
                    return found
        except (ConduitStoreError, FileNotFoundError):
            continue
    return None
