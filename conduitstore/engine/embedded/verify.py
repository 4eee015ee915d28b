"""Reading every byte of every file of a store, and naming all that is not as it was written.

- A file that is still written to is read up to the end it had when the reading began.
- The end of a log or manifest may be torn by a crash. It is no damage where the next file of its
  kind goes on from there: then nothing that was there is missing.
- A segment that neither this generation nor the one before needs is not the store's any more, or
  not yet. A log before both is kept only for subscribers who were away, and may end anyhow: the
  checkpoint behind it has what its last sync did not reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgpack

from conduitstore.errors import ConduitStoreError, CorruptedError
from conduitstore.operations import Damage, OnRead

from . import names
from .files import Directory, File
from .format import HEADER_BYTES, Frame, FrameKind, Header, decode_header
from .leaf import decode_leaf
from .manifest import KIND as MANIFEST_KIND
from .manifest import Generation, LeafRow, generations, unpacked
from .pieces import Gap, pieces
from .segment import KIND as SEGMENT_KIND
from .wal import KIND as LOG_KIND

_KINDS = {names.LOG: LOG_KIND, names.MANIFEST: MANIFEST_KIND, names.SEGMENT: SEGMENT_KIND}


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

    def holds(self, key: bytes) -> bool:
        """Whether a key belongs here."""
        return (self.is_first or key >= self.low) and (self.high is None or key < self.high)

    def fault(self, frame: Frame) -> str | None:
        """Why a whole frame is not this leaf; None: it is."""
        if frame.kind != FrameKind.LEAF or frame.end - frame.offset != self.row[2]:
            return "another frame stands in this place"
        try:
            tree_id, _, keys, values = decode_leaf(frame.payload, frame.flags)
        except Exception as error:  # noqa: BLE001 - whatever hostile bytes make the decoders raise
            return f"not a leaf: {error}"
        if tree_id != self.tree_id or not len(keys) == len(values) == self.row[3]:
            return "another leaf stands in this place"
        if any(a >= b for a, b in pairwise(keys)):
            return "its keys are not in order"
        if not self.holds(keys[0]) or not self.holds(keys[-1]):
            return "it holds keys of another range"
        return None


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


def generation_before(subject: Subject) -> Generation | None:
    """The one whose segments and logs are kept; None: its manifest is gone or damaged."""
    wanted = subject.generation.generation - 1
    parsed = (names.parse(name) or ("", 0) for name in subject.directory.names())
    for number in sorted(number for kind, number in parsed if kind == names.MANIFEST):
        try:
            for found in generations(subject.directory, number):
                if found.generation == wanted:
                    return found
        except (ConduitStoreError, FileNotFoundError):
            continue
    return None


def verify(subject: Subject) -> Iterator[Damage]:
    """Every damage, file by file."""
    parsed = [(names.parse(name), name) for name in subject.files]
    before = generation_before(subject)
    for kind in (names.MANIFEST, names.LOG):
        numbered = sorted((one[1], name) for one, name in parsed if one and one[0] == kind)
        yield from _verify_chain(subject, kind, numbered, before)
    claims = claims_of(subject.generation)
    for number in sorted(subject.segments | set(claims)):
        name = names.numbered(names.SEGMENT, number)
        if name in subject.files:
            yield from _verify_segment(subject, number, name, claims.get(number, {}))
        else:
            for claim in claims.get(number, {}).values():
                yield claim.damage(name, "the file is missing")


# Logs and manifests -------------------------------------------------------------------------------


def _verify_chain(
    subject: Subject, kind: str, numbered: list[tuple[int, str]], before: Generation | None
) -> Iterator[Damage]:
    """Files of which each goes on where the one before it ended."""
    torn: Damage | None = None
    is_log = kind == names.LOG
    position = before.sequence if is_log and before is not None else None
    start = subject.generation.previous_log_start if before is None else before.log_start
    for number, name in numbered:
        if is_log and number < start:
            continue
        link = _Link(subject, kind, number, name)
        yield from link.verify()
        goes_on = is_log and (position is None or link.first == position + 1)
        if torn is not None and not goes_on:
            yield torn
        torn = link.torn
        if link.last is not None:
            position = link.last
    if torn is not None:
        yield torn


class _Link:
    """One log or manifest: what is wrong with it, and what it begins and ends with."""

    def __init__(self, subject: Subject, kind: str, number: int, name: str) -> None:
        self._subject = subject
        self._kind = kind
        self._number = number
        self._name = name
        self.first: int | None = None
        self.last: int | None = None
        self.torn: Damage | None = None

    def verify(self) -> Iterator[Damage]:
        try:
            file = self._subject.directory.open(self._name)
        except FileNotFoundError:
            return  # A checkpoint has just made it useless.
        end = self._subject.ends.get(self._name, file.size())
        try:
            header = _header(self._subject, file, self._name, self._kind, self._number)
        except ConduitStoreError as error:
            file.close()
            # A header that a crash kept from the platter: perhaps nothing is missing.
            self.torn = Damage(self._name, 0, end, _reason(error))
            return
        for piece in pieces(file, end, header.seed, self._subject.on_read):
            if self.torn is not None:
                yield self.torn
                self.torn = None
            if isinstance(piece, Gap):
                self.torn = Damage(self._name, *piece, "no whole frame")
            elif (reason := self._take(piece)) is not None:
                yield Damage(self._name, piece.offset, piece.end - piece.offset, reason)
        file.close()
        if self._kind == names.LOG and self.first is None:
            self.first, self.last = header.first_sequence, header.first_sequence - 1

    def _take(self, frame: Frame) -> str | None:
        try:
            number = _sequence(frame) if self._kind == names.LOG else _generation(frame)
        except Exception as error:  # noqa: BLE001 - whatever hostile bytes make the decoders raise
            return f"not a frame of a {self._kind}: {error}"
        if number is not None:
            self.first = number if self.first is None else self.first
            self.last = number
        return None


def _sequence(frame: Frame) -> int:
    commit = msgpack.unpackb(frame.payload)
    if frame.kind != FrameKind.COMMIT or len(commit) % 3:
        raise ValueError("not a commit")
    return int(commit[0])


def _generation(frame: Frame) -> int | None:
    if frame.kind == FrameKind.CEILINGS:
        count, ids = msgpack.unpackb(unpacked(frame))
        int(count), int(ids)
        return None
    return Generation.decode(unpacked(frame)).generation


# Segments -----------------------------------------------------------------------------------------


def _verify_segment(
    subject: Subject, number: int, name: str, claims: dict[int, Claim]
) -> Iterator[Damage]:
    try:
        file = subject.pinned.get(number) or subject.directory.open(name)
    except FileNotFoundError:
        return  # A checkpoint has just made it useless: what is needed is pinned.
    try:
        seed = _header(subject, file, name, names.SEGMENT, number).seed
    except ConduitStoreError as error:
        yield Damage(name, 0, HEADER_BYTES, _reason(error))
        # What the header must have said is known, so that its damage takes nothing else along.
        seed = Header(SEGMENT_KIND, subject.store_id, number).seed
    missing = dict(claims)
    for piece in pieces(file, file.size(), seed, subject.on_read):
        claim = missing.pop(piece.offset, None)
        if isinstance(piece, Gap):
            end = piece.offset + piece.size_bytes
            hit = [missing.pop(at) for at in sorted(missing) if piece.offset < at < end]
            lost = [claim, *hit] if claim else hit
            for one in lost:
                yield one.damage(name, "no whole frame")
            if not lost:
                yield Damage(name, *piece, "no whole frame, and no leaf that is in use")
        elif claim is not None and (reason := claim.fault(piece)) is not None:
            yield claim.damage(name, reason)
    for claim in missing.values():
        yield claim.damage(name, "no leaf begins there")


# Headers ------------------------------------------------------------------------------------------


def _header(subject: Subject, file: File, name: str, kind: str, number: int) -> Header:
    data = file.read_at(0, HEADER_BYTES)
    subject.on_read(len(data))
    header = decode_header(data, name, _KINDS[kind])
    if (header.number, header.store_id) != (number, subject.store_id):
        raise CorruptedError(name, 0, "it belongs to another place or store")
    return header


def _reason(error: Any) -> str:
    return str(error).partition(": ")[2] or str(error)
