"""Mending a closed store: what does not read, a leaf or a blob of it, is made again from a copy.

Where copies are looked for, see :mod:`.copies`. A leaf is mended as far as there are copies of it:
a blob that is in none keeps its reference, and is reported, while its neighbours are read again.
What was made again has as many entries and bytes as the manifest says. It goes into a new segment,
and a new manifest names it. Until that is published nothing has changed, and nothing that was there
is overwritten. What no copy has stays as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from itertools import count as counting

import zstandard

from conduitstore.operations import Damage, OnRead

from . import names
from .blob import encode_blob
from .claims import Claim, ClaimsByKey, Subject, claims_of
from .closed import check_store, subject_of
from .columns import BlobReference
from .copies import OWN, Copies, Entries, Found, NewBlob, stored_bytes
from .files import Directory, FileSystem
from .format import FrameKind
from .leaf import encode_leaf
from .manifest import LeafRow, LeafRows, Manifest
from .pieces import ignore
from .recovery import last_number_of, lock_directory
from .segment import SegmentWriter
from .verify import verify

SEGMENT_BYTES = 64 << 20
"""About how large the segments are that a repair writes."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A damage, and where a whole copy was found; None: nowhere, it is as it was."""

    damage: Damage
    source: str | None

    @property
    def is_lost(self) -> bool:
        """Whether keys are missing: a damaged end of a log or an unused leaf takes none."""
        return self.source is None and self.damage.tree is not None

    def __str__(self) -> str:
        return f"{self.damage}; {f'repaired from {self.source}' if self.source else 'not repaired'}"


def repair(filesystem: FileSystem, path: str, backup: str | None, on_read: OnRead) -> list[Repair]:
    """Mend what can be mended; gives every damage there was."""
    directory = check_store(filesystem, path, writes=True)
    lock = lock_directory(directory)
    try:
        subject, other = subject_of(directory, on_read), None
        if backup is not None:
            other = subject_of(check_store(filesystem, backup, writes=False), ignore)
        return _Mending(subject, Copies(subject, other)).run(list(verify(subject)))
    finally:
        lock.close()


def _unseen(found: list[Damage], copies: Iterable[Found]) -> list[Damage]:
    """Blobs that are lost, as only a leaf could tell that did not read either."""
    told = {(damage.file, damage.offset) for damage in found if damage.tree is not None}
    lost = chain.from_iterable(copy.lost for copy in copies)
    return [damage for damage in lost if (damage.file, damage.offset) not in told]


def _is_of(damage: Damage, blob: Damage) -> bool:
    """Whether a damage that takes no key, as far as anybody saw, is that of a lost blob."""
    begin, end = damage.offset, damage.offset + damage.size_bytes
    is_behind_header = damage.tree is None and begin > 0
    return is_behind_header and damage.file == blob.file and begin <= blob.offset < end


def mend(directory: Directory) -> list[Repair]:
    """Mend what the store itself has copies of; its lock is held."""
    subject = subject_of(directory, ignore)
    return _Mending(subject, Copies(subject, None)).run(list(verify(subject)))


class _Mending:
    """One repair of one store."""

    def __init__(self, subject: Subject, copies: Copies) -> None:
        self._subject = subject
        self._copies = copies
        self._by_key = ClaimsByKey(subject.generation)
        self._by_file: dict[str, list[Claim]] = {}
        for rows in claims_of(subject.generation).values():
            for claim in rows.values():
                for number in claim.segments:
                    name = names.numbered(names.SEGMENT, number)
                    self._by_file.setdefault(name, []).append(claim)
        self._ids = {name: tree_id for tree_id, name in subject.generation.trees.items()}
        self._numbers = counting(last_number_of(subject.directory.names()) + 1)
        self._generation = subject.generation.generation + 1
        self._writers: list[SegmentWriter] = []
        self._compressor = zstandard.ZstdCompressor(level=3)

    def run(self, found: list[Damage]) -> list[Repair]:
        """Mend and publish; gives every damage, and what became of it."""
        leaves = {tree_id: dict(rows) for tree_id, rows in self._subject.generation.leaves.items()}
        copies: dict[Claim, Found] = {}
        for claim in (claim for damage in found for claim in self._taken_by(damage)):
            if claim in copies:
                continue
            copy = self._copies.find(claim)
            if copy.is_mended:
                leaves[claim.tree_id][claim.low] = self._write(claim.tree_id, copy.entries)
            copies[claim] = copy._replace(entries={})
        if self._writers:
            self._publish(leaves)
        unseen = _unseen(found, copies.values())
        known = [damage for damage in found if not any(_is_of(damage, one) for one in unseen)]
        return [
            *(Repair(damage, self._source(damage, copies)) for damage in known),
            *(Repair(damage, None) for damage in unseen),
        ]

    def _taken_by(self, damage: Damage) -> list[Claim]:
        """The leaves that a damage takes away, or a blob of theirs: one, or all in a file."""
        if damage.tree is not None:
            low = damage.low or b""
            return self._by_key.within(self._ids[damage.tree], low, low + b"\0")
        return self._by_file.get(damage.file, []) if damage.offset == 0 else []

    def _source(self, damage: Damage, copies: dict[Claim, Found]) -> str | None:
        found = [copies[claim].sources for claim in self._taken_by(damage)]
        if damage.tree is not None:
            _, number = names.parse(damage.file) or ("", 0)
            return found[0].get((number, damage.offset))
        # The file's header is needed no more once everything behind it has another place.
        is_needed = not found or any(None in sources.values() for sources in found)
        return None if is_needed else OWN

    def _write(self, tree_id: int, entries: Entries) -> LeafRow:
        """A leaf, and its blobs that are new, into a new segment; gives its row."""
        blob_bytes: Counter[int] = Counter()
        stored: list[bytes | BlobReference] = []
        for value in entries.values():
            kept = self._write_blob(value.value) if isinstance(value, NewBlob) else value
            if type(kept) is not bytes:
                blob_bytes[kept[0]] += kept[2]
            stored.append(kept)
        payload, flags = encode_leaf(
            tree_id, self._generation, list(entries), stored, self._compressor
        )
        place = self._put(FrameKind.LEAF, payload, flags)
        flat = chain.from_iterable(blob_bytes.items())
        return (*place, len(entries), stored_bytes(entries), *flat)

    def _write_blob(self, value: bytes) -> BlobReference:
        return (*self._put(FrameKind.BLOB, *encode_blob(value, self._compressor)), len(value))

    def _put(self, kind: FrameKind, payload: bytes, flags: int) -> tuple[int, int, int]:
        if not self._writers or self._writers[-1].segment.size_bytes >= SEGMENT_BYTES:
            subject = self._subject
            new = SegmentWriter(subject.directory, next(self._numbers), subject.store_id)
            self._writers.append(new)
        segment, offset, frame_bytes = self._writers[-1].add(kind, payload, flags)
        return segment.number, offset, frame_bytes

    def _publish(self, leaves: LeafRows) -> None:
        subject, before = self._subject, self._subject.generation
        for writer in self._writers:
            writer.sync()
        subject.directory.sync()
        manifest = Manifest(subject.directory, subject.store_id, next(self._numbers))
        manifest.publish(
            replace(
                before,
                generation=self._generation,
                previous_log_start=before.log_start,
                leaves=leaves,
            )
        )
        manifest.close()
