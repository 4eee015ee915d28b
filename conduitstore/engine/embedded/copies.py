"""Where the entries of a leaf that does not read may still be."""

from __future__ import annotations

from typing import Any

from conduitstore.errors import ConduitStoreError, CorruptedError

from . import names
from .blob import Blob
from .cache import Cache
from .claims import Claim, Places, Subject, claims_of, generation_before
from .format import Header, decode_header, frames
from .leaf import payload_bytes
from .manifest import Generation, LeafRow
from .replay import commit_of, operations
from .wal import KIND as LOG_KIND

Entries = dict[bytes, Any]
"""As a leaf stores them: values, and blobs that are in memory."""
_NO_CACHE = Cache(0)


class Copies:
    """The second copies of one store; see :mod:`.repair` for their order."""

    def __init__(self, subject: Subject, backup: Subject | None) -> None:
        self._subject = subject
        self._places = Places(subject)
        self._backup = backup
        self._before = generation_before(subject)

    def find(self, claim: Claim) -> tuple[str, Entries] | None:
        """A name for the first copy that is whole, and what it holds."""
        found = _read(self._places, claim)
        if found is not None:
            return "the segment itself", found
        found = self._rebuilt(claim)
        if found is not None:
            return "the generation before and the log", found
        if self._backup is not None and all(map(self._is_shared, claim.segments)):
            found = _read(Places(self._backup), claim)
            if found is not None:
                return "the backup", found
        return None

    def _is_shared(self, number: int) -> bool:
        """Whether the backup's segment of that number is this store's."""
        backup, mine = self._backup, self._subject
        assert backup is not None
        life = mine.generation.incarnation_of(number)
        return backup.store_id == mine.store_id and (
            backup.generation.incarnation_of(number) == life
        )

    def _rebuilt(self, claim: Claim) -> Entries | None:
        if self._before is None:
            return None
        entries: Entries = {}
        for rows in claims_of(self._before).values():
            for old in rows.values():
                if old.tree_id == claim.tree_id and _overlap(old, claim):
                    found = _read(self._places, old)
                    if found is None:
                        return None
                    entries |= found
        try:
            logged = self._replay(self._before, claim.tree_id, entries)
        except ConduitStoreError:
            return None
        kept = {key: entries[key] for key in sorted(entries) if claim.holds(key)}
        return _fitted(kept, logged, claim.row)

    def _replay(self, before: Generation, tree_id: int, entries: Entries) -> set[bytes]:
        """Bring a tree's entries from the generation before to this one; gives what changed."""
        subject, sequence = self._subject, before.sequence
        logged: set[bytes] = set()
        for number, name in _logs(subject, before.log_start):
            file = subject.directory.open(name)
            data = file.read_at(0, file.size())
            file.close()
            for frame in frames(data, _seed(subject, name, number, data, sequence)):
                found, _, _, ops = commit_of(name, frame.offset, frame)
                if found != sequence + 1 or found > subject.generation.sequence:
                    continue
                sequence = found
                for tree, key, value in operations(ops):
                    if tree != tree_id or type(key) is not bytes:
                        continue
                    logged.add(key)
                    entries.pop(key, None)
                    if value is not None:
                        entries[key] = value
        if sequence != subject.generation.sequence:
            raise CorruptedError(names.LOG, 0, f"no commit follows {sequence}")
        return logged


def _logs(subject: Subject, start: int) -> list[tuple[int, str]]:
    parsed = ((names.parse(name) or ("", 0), name) for name in subject.directory.names())
    return sorted((n, name) for (kind, n), name in parsed if kind == names.LOG and n >= start)


def _seed(subject: Subject, name: str, number: int, data: bytes, sequence: int) -> int:
    """As its header gives it, or as it must have."""
    try:
        return decode_header(data, name, LOG_KIND).seed
    except CorruptedError:
        return Header(LOG_KIND, subject.store_id, number, sequence + 1).seed


def _overlap(one: Claim, other: Claim) -> bool:
    return not (
        (one.high is not None and not other.is_first and one.high <= other.low)
        or (other.high is not None and not one.is_first and other.high <= one.low)
    )


def _read(places: Places, claim: Claim) -> Entries | None:
    """A leaf and its blobs from where a store has them; None where any of it is not whole."""
    found = places.leaf(claim)
    if found is None:
        return None
    entries: Entries = {}
    for key, stored in zip(*found, strict=True):
        value = stored if type(stored) is bytes else places.blob(stored)
        if value is None:
            return None
        entries[key] = value if value is stored else blob_of(value)
    return entries


def blob_of(value: bytes) -> Blob:
    """A blob that is in memory, and not yet in any segment."""
    return Blob(_NO_CACHE, value, size_bytes=len(value))


def _fitted(kept: Entries, logged: set[bytes], row: LeafRow) -> Entries | None:
    """``kept`` if it is as large as the manifest says.

    From what size on a value of the log became a blob was a setting then: the one that fits.
    """
    sizes = sorted({len(kept[key]) for key in logged & kept.keys()})
    for blob_bytes_min in (*sizes, 1 << 62):
        fitted: Entries = {
            key: blob_of(value) if key in logged and len(value) >= blob_bytes_min else value
            for key, value in kept.items()
        }
        if (len(fitted), payload_bytes(fitted)) == (row[3], row[4]):
            return fitted
    return None
