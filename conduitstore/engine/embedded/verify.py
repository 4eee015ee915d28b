"""Reading every byte of every file of a store, and naming all that is not as it was written.

- A file that is still written to is read up to the end it had when the reading began.
- The end of a log or manifest may be torn by a crash. It is no damage where the next file of its
  kind goes on from there: then nothing that was there is missing.
- A leaf is written behind its blobs, in the same segment or a later one: those that it names were
  passed before it is.
- A segment that neither this generation nor the one before needs is not the store's any more, or
  not yet. A log before both is kept only for subscribers who were away, and may end anyhow: the
  checkpoint behind it has what its last sync did not reach.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import msgpack
import zstandard

from conduitstore.errors import ConduitStoreError, CorruptedError
from conduitstore.operations import Damage

from . import names
from .blob import decode_blob
from .claims import Claim, Subject, claims_of, generation_before
from .columns import BlobReference
from .files import File
from .format import COMPRESSED, HEADER_BYTES, Frame, FrameKind, Header, decode_header
from .leaf import decode_leaf
from .logfile import KIND as LOG_KIND
from .manifest import KIND as MANIFEST_KIND
from .manifest import Generation, unpacked
from .pieces import Gap, pieces
from .segment import KIND as SEGMENT_KIND

KINDS = {names.LOG: LOG_KIND, names.MANIFEST: MANIFEST_KIND, names.SEGMENT: SEGMENT_KIND}


def verify(subject: Subject) -> Iterator[Damage]:
    """Every damage, file by file."""
    before = generation_before(subject)
    for kind in (names.MANIFEST, names.LOG):
        yield from _verify_chain(subject, kind, names.of_kind(kind, subject.files), before)
    yield from _Segments(subject).verify()


# Logs and manifests -------------------------------------------------------------------------------


def _verify_chain(
    subject: Subject, kind: str, numbered: list[tuple[int, str]], before: Generation | None
) -> Iterator[Damage]:
    """Files of which each goes on where the one before it ended."""
    torn: Damage | None = None
    is_log = kind == names.LOG
    position = before.sequence if is_log and before is not None else None
    start = subject.generation.previous_log_start if before is None else before.log_start
    begun = dict(subject.generation.incarnations)  # With a sequence far above the one before.
    for number, name in numbered:
        if is_log and number < start:
            continue
        link = _Link(subject, kind, number, name)
        yield from link.verify()
        goes_on = is_log and (position is None or link.first == position + 1 or number in begun)
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
        is_log, on_read = self._kind == names.LOG, self._subject.on_read
        for piece in pieces(file, end, header.seed, on_read, is_log=is_log):
            if isinstance(piece, Gap):
                self.torn = self.torn or Damage(self._name, *piece, "no whole frame")
                continue
            if self.torn is not None:
                if self._was_never_promised(piece, header):
                    continue
                yield self.torn
                self.torn = None
            if (reason := self._take(piece)) is not None:
                yield Damage(self._name, piece.offset, piece.end - piece.offset, reason)
        file.close()
        if is_log and self.first is None:
            self.first, self.last = header.first_sequence, header.first_sequence - 1

    def _was_never_promised(self, frame: Frame, header: Header) -> bool:
        """Whether a commit behind a torn one proves nothing: a power loss may keep any sector."""
        if self._kind != names.LOG:
            return False
        known = header.first_sequence - 1 if self.last is None else self.last
        try:
            return bool(msgpack.unpackb(frame.payload)[1] <= known)
        except MemoryError:  # Not the bytes' fault: it must not look like damage.
            raise
        except Exception:  # noqa: BLE001 - whatever hostile bytes make the decoder raise
            return False

    def _take(self, frame: Frame) -> str | None:
        try:
            number = _sequence(frame) if self._kind == names.LOG else _generation(frame)
        except MemoryError:  # Not the bytes' fault: it must not look like damage.
            raise
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


class _Segments:
    """All segments, with the leaves in them, and where those say that their blobs are."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._gaps: list[tuple[str, Gap]] = []
        self._passed: dict[int, _Blobs] = {}
        self._blobs_lost: set[tuple[str, int]] = set()

    def verify(self) -> Iterator[Damage]:
        claims = claims_of(self._subject.generation)
        for number in sorted(self._subject.segments | set(claims)):
            name = names.numbered(names.SEGMENT, number)
            if name in self._subject.files:
                yield from self._verify(number, name, claims.get(number, {}))
            else:
                for claim in claims.get(number, {}).values():
                    yield claim.damage(name, "the file is missing")
        yield from self._unused()

    def _verify(self, number: int, name: str, claims: dict[int, Claim]) -> Iterator[Damage]:
        subject = self._subject
        try:
            file = subject.pinned.get(number) or subject.directory.open(name)
        except FileNotFoundError:
            return  # A checkpoint has just made it useless: what is needed is pinned.
        try:
            seed = _header(subject, file, name, names.SEGMENT, number).seed
        except ConduitStoreError as error:
            yield Damage(name, 0, HEADER_BYTES, _reason(error))
            # What the header must have said is known, so its damage takes nothing else along.
            seed = Header(SEGMENT_KIND, subject.store_id, number).seed
        missing, passed = dict(claims), self._passed.setdefault(number, _Blobs())
        for piece in pieces(file, file.size(), seed, subject.on_read):
            claim = missing.pop(piece.offset, None)
            if isinstance(piece, Gap):
                end = piece.offset + piece.size_bytes
                hit = [missing.pop(at) for at in sorted(missing) if piece.offset < at < end]
                lost = [claim, *hit] if claim else hit
                for one in lost:
                    yield one.damage(name, "no whole frame")
                if not lost:
                    self._gaps.append((name, piece))
            elif claim is not None:
                yield from self._verify_leaf(claim, name, piece)
            elif piece.kind == FrameKind.BLOB:
                passed.add(piece)
        for claim in missing.values():
            yield claim.damage(name, "no leaf begins there")

    def _verify_leaf(self, claim: Claim, name: str, frame: Frame) -> Iterator[Damage]:
        reason = claim.fault(frame)
        if reason is not None:
            yield claim.damage(name, reason)
        elif claim.has_blobs:
            yield from self._verify_blobs(claim, frame)

    def _verify_blobs(self, claim: Claim, frame: Frame) -> Iterator[Damage]:
        _, _, keys, values = decode_leaf(frame.payload, frame.flags)
        for key, value in zip(keys, values, strict=True):
            if type(value) is not bytes and not self._has_blob(value):
                damage = claim.blob_damage(key, value, "no whole blob")
                if damage.file not in self._subject.files:
                    damage = claim.blob_damage(key, value, "the file is missing")
                self._blobs_lost.add((damage.file, damage.offset))
                yield damage

    def _has_blob(self, reference: BlobReference) -> bool:
        passed = self._passed.get(reference[0])
        return passed is not None and passed.has(*reference[1:])

    def _unused(self) -> Iterator[Damage]:
        """Damaged places that take neither a leaf nor a blob."""
        use = ", and nothing in use" if self._subject.is_newest else ""
        for name, (offset, size_bytes) in self._gaps:
            end = offset + size_bytes
            if not any(name == file and offset <= at < end for file, at in self._blobs_lost):
                yield Damage(name, offset, size_bytes, f"no whole frame{use}")


class _Blobs:
    """The whole blobs of one segment, in 24 bytes each."""

    def __init__(self) -> None:
        self._offsets, self._frame_bytes, self._sizes = array("Q"), array("Q"), array("Q")

    def add(self, frame: Frame) -> None:
        """Take note of a frame behind all the others, if its value can be read."""
        size = len(frame.payload)
        try:
            if frame.flags & COMPRESSED:
                size = zstandard.frame_content_size(frame.payload)
            decode_blob(frame.payload, frame.flags, size)
        except MemoryError:  # Not the bytes' fault: it must not look like damage.
            raise
        except Exception:  # noqa: BLE001 - whatever hostile bytes make the decoders raise
            return
        self._offsets.append(frame.offset)
        self._frame_bytes.append(frame.end - frame.offset)
        self._sizes.append(size)

    def has(self, offset: int, frame_bytes: int, size_bytes: int) -> bool:
        """Whether that blob is there."""
        at = bisect_left(self._offsets, offset)
        return at < len(self._offsets) and (offset, frame_bytes, size_bytes) == (
            self._offsets[at],
            self._frame_bytes[at],
            self._sizes[at],
        )


# Headers ------------------------------------------------------------------------------------------


def _header(subject: Subject, file: File, name: str, kind: str, number: int) -> Header:
    data = file.read_at(0, HEADER_BYTES)
    subject.on_read(len(data))
    header = decode_header(data, name, KINDS[kind])
    if (header.number, header.store_id) != (number, subject.store_id):
        raise CorruptedError(name, 0, "it belongs to another place or store")
    return header


def _reason(error: Any) -> str:
    return str(error).partition(": ")[2] or str(error)
