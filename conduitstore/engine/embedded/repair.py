"""Mending a closed store: a leaf that does not read is made again out of a second copy.

Copies are looked for in this order:

- the segment itself, where only its header is damaged;
- the generation before, whose leaves and log are kept, with the log replayed up to this generation;
- a backup, where it has the same frame of the same incarnation.

What was made again has as many entries and bytes as the manifest says. It goes into a new segment,
and a new manifest names it. Until that is published nothing has changed, and nothing that was there
is overwritten. What no copy has stays as it was, and is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import zstandard

from conduitstore.errors import InvalidArgumentError
from conduitstore.operations import Damage, OnRead

from . import names
from .copies import Copies, Entries
from .files import Directory, FileSystem
from .leaf import Leaf, encode_leaf, payload_bytes
from .manifest import LeafRow, Manifest, read_manifest
from .pieces import ignore
from .recovery import check_ours, last_number_of, lock_directory, newest_manifest
from .segment import SegmentWriter
from .verify import Claim, Subject, claims_of, generation_before, verify

Mended = list[tuple[Claim, Entries]]


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


def verify_directory(filesystem: FileSystem, path: str, on_read: OnRead) -> Iterator[Damage]:
    """:func:`.verify.verify` for a store that is not open; it may be too damaged to be."""
    directory = _ours(filesystem, path, writes=False)
    lock = lock_directory(directory)
    try:
        yield from verify(_subject(directory, on_read))
    finally:
        lock.close()


def repair(filesystem: FileSystem, path: str, backup: str | None, on_read: OnRead) -> list[Repair]:
    """Mend what can be mended; gives every damage there was."""
    directory = _ours(filesystem, path, writes=True)
    lock = lock_directory(directory)
    try:
        subject = _subject(directory, on_read)
        other = (
            _subject(_ours(filesystem, backup, writes=False), ignore)
            if backup is not None
            else None
        )
        repairs, mended = _mend(subject, Copies(subject, other), list(verify(subject)))
        if mended:
            _publish(subject, mended)
        return repairs
    finally:
        lock.close()


def _ours(filesystem: FileSystem, path: str, *, writes: bool) -> Directory:
    directory = filesystem.directory(path)
    if directory is None or not check_ours(directory, writes=writes):
        raise InvalidArgumentError(f"there is no store at {path}")
    return directory


def _subject(directory: Directory, on_read: OnRead) -> Subject:
    """What a directory is meant to hold, by its newest manifest."""
    header, generation = read_manifest(directory, newest_manifest(directory.names()))
    subject = Subject(
        directory,
        header.store_id,
        generation,
        on_read,
        files=directory.names(),
        segments=set(claims_of(generation)),
    )
    before = generation_before(subject)
    if before is not None:
        subject.segments |= set(claims_of(before))
    return subject


def _mend(subject: Subject, copies: Copies, found: list[Damage]) -> tuple[list[Repair], Mended]:
    leaves = {
        (names.numbered(names.SEGMENT, number), offset): claim
        for number, rows in claims_of(subject.generation).items()
        for offset, claim in rows.items()
    }
    sources: dict[tuple[str, int], str | None] = {}
    mended: Mended = []
    for place in _places(found, leaves):
        copy = copies.find(leaves[place])
        sources[place] = copy[0] if copy else None
        if copy is not None:
            mended.append((leaves[place], copy[1]))
    repairs = []
    for damage in found:
        # A file's header is mended when every leaf behind it has another place.
        behind = [sources[place] for place in _places([damage], leaves)]
        repairs.append(Repair(damage, behind[0] if behind and all(behind) else None))
    return repairs, mended


def _places(
    found: list[Damage], leaves: dict[tuple[str, int], Claim]
) -> dict[tuple[str, int], None]:
    """The leaves that these damages take away: one, or all in a file whose header is damaged."""
    places: dict[tuple[str, int], None] = {}
    for damage in found:
        if damage.tree is not None:
            places[damage.file, damage.offset] = None
        elif damage.offset == 0:
            places |= dict.fromkeys(place for place in leaves if place[0] == damage.file)
    return places


def _publish(subject: Subject, mended: Mended) -> None:
    directory, generation = subject.directory, subject.generation
    number = last_number_of(directory.names()) + 1
    compressor = zstandard.ZstdCompressor(level=3)
    writer = SegmentWriter(directory, number, subject.store_id)
    leaves = {tree_id: dict(rows) for tree_id, rows in generation.leaves.items()}
    for claim, entries in mended:
        leaf = Leaf(list(entries), entries, size_bytes=payload_bytes(entries))
        payload, flags = encode_leaf(
            claim.tree_id, generation.generation + 1, list(entries), entries, compressor
        )
        location = writer.add(leaf, payload, flags)
        row: LeafRow = (
            number, location.offset, location.frame_bytes, len(entries), leaf.size_bytes
        )  # fmt: skip
        leaves[claim.tree_id][claim.low] = row
    writer.sync()
    directory.sync()
    manifest = Manifest(directory, subject.store_id, number + 1)
    manifest.publish(
        replace(
            generation,
            generation=generation.generation + 1,
            previous_log_start=generation.log_start,
            leaves=leaves,
        )
    )
    manifest.close()
