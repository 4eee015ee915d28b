"""The generation before this one, whose leaves and log are kept, brought up to this one."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from conduitstore.errors import ConduitStoreError

from .claims import Claim, ClaimsByKey, Places, Subject, generation_before
from .history import commits_behind
from .replay import operations

Writes = dict[int, dict[bytes, bytes | None]]
"""By tree, what the newest commit says of a key; None: it was removed."""


class Before:
    """What leaves were before, and what commits have made of them since."""

    def __init__(self, subject: Subject, places: Places) -> None:
        self._subject = subject
        self._places = places
        self._generation = generation_before(subject)

    @cached_property
    def _claims(self) -> ClaimsByKey | None:
        return ClaimsByKey(self._generation) if self._generation is not None else None

    @cached_property
    def _writes(self) -> Writes | None:
        """All that was written since; None where a commit is missing."""
        before, subject = self._generation, self._subject
        if before is None:
            return None
        writes: Writes = {}
        last, newest = before.sequence, subject.generation.sequence
        log = commits_behind(subject.directory, subject.store_id, last, start=before.log_start)
        try:
            for sequence, ops in log:
                if sequence > newest:
                    break
                last = sequence
                for tree_id, key, value in operations(ops):
                    if type(key) is bytes:
                        writes.setdefault(tree_id, {})[key] = value
        except ConduitStoreError:
            return None
        return writes if last == newest else None

    def value(self, tree_id: int, key: bytes) -> Any:
        """A key's value, or a list: a reference to the blob that it was; None: nobody knows."""
        if self._writes is None or self._claims is None:
            return None
        written = self._writes.get(tree_id, {})
        if key in written:
            return written[key]
        for claim in self._claims.within(tree_id, key, key + b"\0"):
            keys, values = self._places.leaf(claim) or ([], [])
            if key in keys:
                return values[keys.index(key)]
        return None

    def entries(self, claim: Claim) -> tuple[dict[bytes, Any], set[bytes]] | None:
        """What is left of a leaf of this generation, in order, and which keys a commit wrote.

        Where it has as many entries as the leaf, it is all of it: none of them is another one's.
        """
        if self._writes is None or self._claims is None:
            return None
        low = None if claim.is_first else claim.low
        entries: dict[bytes, Any] = {}
        for old in self._claims.within(claim.tree_id, low, claim.high):
            entries |= zip(*(self._places.leaf(old) or ([], [])), strict=True)
        written = self._writes.get(claim.tree_id, {})
        entries |= written
        kept = {k: entries[k] for k in sorted(entries) if claim.holds(k) and entries[k] is not None}
        return kept, set(written)
