"""Where a leaf, or a blob, that does not read may still be.

1. In its own place, if only the header of its file is damaged or another's.
2. In the generation before, brought up to this one by the log: :mod:`.before`.
3. In a backup, where that has the same file of the same incarnation.
"""

from __future__ import annotations

from typing import NamedTuple

from conduitstore.operations import Damage

from .before import Before
from .blob import BLOB_REFERENCE_BYTES
from .claims import Claim, Places, Subject
from .columns import BlobReference

OWN, BEFORE, BACKUP = "the segment itself", "the generation before and the log", "the backup"
Place = tuple[int, int]
"""Segment number and offset."""


class NewBlob(NamedTuple):
    """A value that has to become a blob somewhere else than it was."""

    value: bytes


Entries = dict[bytes, "bytes | BlobReference | NewBlob"]
"""A leaf's, as they are to be stored."""


class Found(NamedTuple):
    """What is left of a leaf.

    ``sources`` says for the leaf and for each of its blobs that cannot stay where it is, by its
    place, where a copy was found; None: nowhere. A blob without a copy keeps its reference, and is
    among the ``lost``.
    """

    entries: Entries
    sources: dict[Place, str | None]
    lost: tuple[Damage, ...] = ()

    @property
    def is_mended(self) -> bool:
        """Whether a leaf of these entries is better than the one that is there."""
        return bool(self.entries) and any(self.sources.values())


class Copies:
    """The copies of one store."""

    def __init__(self, subject: Subject, backup: Subject | None) -> None:
        self._subject = subject
        self._places = Places(subject)
        self._before = Before(subject, self._places)
        self._backup = backup
        self._backup_places = Places(backup) if backup is not None else None

    def find(self, claim: Claim) -> Found:
        """Everything that any copy has of a leaf."""
        place = claim.row[0], claim.row[1]
        found = self._leaf(claim)
        if found is None:
            return Found({}, {place: None})
        source, entries = found
        is_there = source == OWN and self._places.is_sound(place[0])
        sources: dict[Place, str | None] = {} if is_there else {place: source}
        lost: list[Damage] = []
        for key, stored in entries.items():
            if isinstance(stored, bytes | NewBlob):
                continue
            number, offset, *_ = reference = stored
            value = self._places.blob(reference)
            if value is not None and self._places.is_sound(number):
                continue
            copy = (OWN, value) if value is not None else self._blob(claim, key, reference)
            sources[number, offset] = copy[0] if copy else None
            if copy:
                entries[key] = NewBlob(copy[1])
            elif number not in claim.segments and not self._places.is_sound(number):
                return Found({}, {place: None})  # A row that names it would be no store any more.
            else:
                lost.append(claim.blob_damage(key, reference, "no whole blob"))
        return Found(entries, sources, tuple(lost))

    def _leaf(self, claim: Claim) -> tuple[str, Entries] | None:
        found = self._places.leaf(claim)
        if found is not None:
            return OWN, dict(zip(*found, strict=True))
        rebuilt = self._before.entries(claim)
        if rebuilt is not None:
            entries = _fitted(claim, *rebuilt)
            if entries is not None:
                return BEFORE, entries
        if self._backup_places is not None and self._is_shared(claim.row[0]):
            found = self._backup_places.leaf(claim)
            if found is not None:
                return BACKUP, dict(zip(*found, strict=True))
        return None

    def _blob(self, claim: Claim, key: bytes, reference: BlobReference) -> tuple[str, bytes] | None:
        rebuilt = self._before.value(claim.tree_id, key)
        if rebuilt is not None and type(rebuilt) is not bytes:
            rebuilt = self._places.blob(rebuilt)
        if rebuilt is not None:
            return BEFORE, rebuilt
        if self._backup_places is not None and self._is_shared(reference[0]):
            found = self._backup_places.blob(reference)
            if found is not None:
                return BACKUP, found
        return None

    def _is_shared(self, number: int) -> bool:
        """Whether the backup's segment of that number is this store's."""
        backup, mine = self._backup, self._subject
        assert backup is not None
        life = mine.generation.incarnation_of(number)
        return backup.store_id == mine.store_id and (
            backup.generation.incarnation_of(number) == life
        )


def _fitted(claim: Claim, kept: Entries, logged: set[bytes]) -> Entries | None:
    """``kept`` if it is what the manifest says: so large, and with blobs where they were.

    From what size on a value of the log became a blob was a setting then: the one that fits.
    """
    sizes = sorted({len(kept[key]) for key in logged & kept.keys()})
    for blob_bytes_min in (*sizes, 1 << 62):
        fitted: Entries = {
            key: NewBlob(value)
            if key in logged and type(value) is bytes and len(value) >= blob_bytes_min
            else value
            for key, value in kept.items()
        }
        if (len(fitted), stored_bytes(fitted)) == (claim.row[3], claim.row[4]):
            return fitted
    return None


def stored_bytes(entries: Entries) -> int:
    """As :func:`.leaf.payload_bytes`."""
    values = (len(v) if type(v) is bytes else BLOB_REFERENCE_BYTES for v in entries.values())
    return sum(map(len, entries)) + sum(values)
