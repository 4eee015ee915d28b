"""Where the entries of a leaf that does not read may still be."""

from __future__ import annotations

from conduitstore.errors import ConduitStoreError, CorruptedError

from . import names
from .format import HEADER_BYTES, Header, decode_frame, decode_header, frames
from .leaf import decode_leaf, payload_bytes
from .manifest import Generation
from .replay import commit_of, operations
from .segment import KIND
from .verify import Claim, Subject, claims_of, generation_before
from .wal import KIND as LOG_KIND

Entries = dict[bytes, bytes]


class Copies:
    """The second copies of one store; see :mod:`.repair` for their order."""

    def __init__(self, subject: Subject, backup: Subject | None) -> None:
        self._subject = subject
        self._backup = backup
        self._before = generation_before(subject)

    def find(self, claim: Claim) -> tuple[str, Entries] | None:
        """A name for the first copy that is whole, and what it holds."""
        found = _read(self._subject, claim)
        if found is not None:
            return "the segment itself", found
        found = self._rebuilt(claim)
        if found is not None:
            return "the generation before and the log", found
        if self._backup is not None and self._is_shared(claim.row[0]):
            found = _read(self._backup, claim)
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
                    found = _read(self._subject, old)
                    if found is None:
                        return None
                    entries |= found
        try:
            self._replay(self._before, claim.tree_id, entries)
        except ConduitStoreError:
            return None
        kept = {key: entries[key] for key in sorted(entries) if claim.holds(key)}
        return kept if (len(kept), payload_bytes(kept)) == (claim.row[3], claim.row[4]) else None

    def _replay(self, before: Generation, tree_id: int, entries: Entries) -> None:
        """Bring a tree's entries from the generation before to this one."""
        subject, sequence = self._subject, before.sequence
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
                    entries.pop(key, None)
                    if value is not None:
                        entries[key] = value
        if sequence != subject.generation.sequence:
            raise CorruptedError(names.LOG, 0, f"no commit follows {sequence}")


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


def _read(subject: Subject, claim: Claim) -> Entries | None:
    """A leaf from where a store's segment has it; None where it is not whole."""
    number, offset, frame_bytes, *_ = claim.row
    try:
        file = subject.directory.open(names.numbered(names.SEGMENT, number))
    except FileNotFoundError:
        return None
    header, data = file.read_at(0, HEADER_BYTES), file.read_at(offset, frame_bytes)
    file.close()
    try:
        seed = decode_header(header, file.name, KIND).seed
    except CorruptedError:
        seed = Header(KIND, subject.store_id, number).seed
    frame = decode_frame(data, 0, seed)
    if frame is None or claim.fault(frame) is not None:
        return None
    _, _, keys, values = decode_leaf(frame.payload, frame.flags)
    return dict(zip(keys, values, strict=True))
