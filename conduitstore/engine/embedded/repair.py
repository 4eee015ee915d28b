"""Mending a closed store: what does not read, a leaf or a blob of it, is made again from a copy.

Copies are looked for in this order:

- the segment itself, where only its header is damaged;
- the generation before, whose leaves and log are kept, with the log replayed up to this generation;
- a backup, where it has the same frame of the same incarnation.

What was made again has as many entries and bytes as the manifest says. It goes into a new segment,
and a new manifest names it. Until that is published nothing has changed, and nothing that was there
is overwritten. What no copy has stays as it was, and is reported.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import partial
from itertools import count as counting

import zstandard

from conduitstore.operations import Damage, OnRead

from . import names
from .blob import entries_of
from .cache import Cache
from .checkpoint import row_of
from .claims import Claim, Subject, claims_of
from .closed import check_store, subject_of
from .copies import Copies, Entries
from .files import FileSystem
from .leaf import Leaf, payload_bytes
from .leafwriter import LeafWriter
from .manifest import Manifest
from .pieces import ignore
from .recovery import last_number_of, lock_directory
from .verify import verify

Mended = list[tuple[Claim, Entries]]
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
        repairs, mended = _mend(subject, Copies(subject, other), list(verify(subject)))
        if mended:
            _publish(subject, mended)
        return repairs
    finally:
        lock.close()


def _mend(subject: Subject, copies: Copies, found: list[Damage]) -> tuple[list[Repair], Mended]:
    leaves = _Leaves(subject)
    copied: dict[Claim, str | None] = {}
    mended: Mended = []
    for claim in (claim for damage in found for claim in leaves.taken_by(damage)):
        if claim in copied:
            continue
        copy = copies.find(claim)
        copied[claim] = copy[0] if copy else None
        if copy is not None:
            mended.append((claim, copy[1]))
    repairs = []
    for damage in found:
        # A file's header is mended when every leaf behind it has another place.
        behind = [copied[claim] for claim in leaves.taken_by(damage)]
        repairs.append(Repair(damage, behind[0] if behind and all(behind) else None))
    return repairs, mended


class _Leaves:
    """The leaves of the newest generation, by what may be damaged of them."""

    def __init__(self, subject: Subject) -> None:
        self._by_file: dict[str, list[Claim]] = {}
        self._by_tree: dict[str, list[Claim]] = {}
        for rows in claims_of(subject.generation).values():
            for claim in rows.values():
                self._by_tree.setdefault(claim.tree, []).append(claim)
                for number in claim.segments:
                    name = names.numbered(names.SEGMENT, number)
                    self._by_file.setdefault(name, []).append(claim)
        for claims in self._by_tree.values():
            claims.sort(key=_low)

    def taken_by(self, damage: Damage) -> list[Claim]:
        """Those that a damage takes away, or a value of theirs: one, or all behind a header."""
        if damage.tree is not None:
            claims = self._by_tree[damage.tree]
            at = bisect_right(claims, damage.low, key=_low) if damage.low is not None else 1
            return [claims[max(at, 1) - 1]]
        return self._by_file.get(damage.file, []) if damage.offset == 0 else []


def _low(claim: Claim) -> bytes:
    return claim.low


def _publish(subject: Subject, mended: Mended) -> None:
    directory, generation = subject.directory, subject.generation
    numbers = counting(last_number_of(directory.names()) + 1)
    writer = LeafWriter(
        directory,
        subject.store_id,
        partial(next, numbers),
        generation=generation.generation + 1,
        compressor=zstandard.ZstdCompressor(level=3),
        target_bytes=SEGMENT_BYTES,
        cache=Cache(0),
        named=frozenset(),
        victims=frozenset(),
    )
    leaves = {tree_id: dict(rows) for tree_id, rows in generation.leaves.items()}
    for claim, entries in mended:
        leaf = Leaf(list(entries), entries_of(entries), size_bytes=payload_bytes(entries))
        writer.add(claim.tree_id, leaf)
        leaves[claim.tree_id][claim.low] = row_of(writer.located[leaf], leaf)
    writer.sync()
    directory.sync()
    manifest = Manifest(directory, subject.store_id, next(numbers))
    manifest.publish(
        replace(
            generation,
            generation=generation.generation + 1,
            previous_log_start=generation.log_start,
            leaves=leaves,
        )
    )
    manifest.close()
