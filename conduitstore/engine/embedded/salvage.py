"""Opening whatever verifies of a damaged store.

1. Read every byte of every file: leaves and blobs, generations, commits.
2. For each tree find out which leaf counts where, and make a tree of them: :mod:`.salvagedtrees`.
3. Apply the log, past any damage, where it is newer than those leaves: :mod:`.salvagedlog`.

What is found is always something that was written once. It may be older than the newest: a key may
have a former value, or be there although it was removed. What could not be read is in the account.
Nothing of the old files is deleted: what the new generation does without is set aside.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from . import index, names, recovery
from .cache import Cache
from .config import Settings
from .files import File
from .forest import Forest
from .loss import Loss
from .manifest import Generation
from .recovery import NOTHING_YET, Recovered, Replayed
from .remains import Known, Remains
from .salvagedlog import SalvagedLog
from .salvagedtrees import SalvagedTrees
from .scan import Scan


def read(
    remains: Remains, lock: File | None, settings: Settings, whole: Replayed | None
) -> Replayed:
    """What there is; or ``whole``, what a strict open found, if no leaf or blob of it is wrong."""
    cache = Cache(settings.cache_capacity_bytes)
    scan = Scan(remains, cache)
    if whole is not None and _is_whole(scan, whole.found.generation):
        return whole
    generations, known = remains.generations()
    base = generations[0] if generations else None
    forest = recovery.empty_forest(settings, cache)
    trees = SalvagedTrees(remains, scan, base, known)
    trees.plant(forest)
    log = SalvagedLog(remains, forest, known, trees.sequence_at)
    log.apply()
    return _replayed(remains, lock, scan, forest, trees, log)


def _is_whole(scan: Scan, generation: Generation) -> bool:
    claimed = scan.claimed(generation)
    return all(leaf is not None and scan.is_whole(leaf) for _, leaf in claimed)


def _replayed(
    remains: Remains,
    lock: File | None,
    scan: Scan,
    forest: Forest,
    trees: SalvagedTrees,
    log: SalvagedLog,
) -> Replayed:
    used = _used(forest)
    spoiled = {n for n in used if names.numbered(names.SEGMENT, n) in remains.spoiled}
    loss = Loss(
        mode="salvage",
        sequence=forest.sequence,
        commits_replayed=log.applied_total,
        commits_lost=log.missing_total,
        damages=(*trees.damages, *remains.damages),
        aside=_unused(remains, used - spoiled),
        condemned=frozenset(spoiled),
        trees={
            name: sum(leaf.entries_total for _, leaf in index.leaves(forest.roots[tree_id]))
            for name, tree_id in sorted(forest.ids.items())
        },
    )
    last_number = recovery.last_number_of(remains.directory.names())
    found = Recovered(
        remains.directory,
        lock,
        remains.store_id,
        _generation(trees.base, trees.known, scan, last_number + 1),
        {number: scan.segments[number] for number in used},
        last_number,
        is_new=False,
    )
    forest.sequence = log.newest + trees.known.gap
    return Replayed(found, forest, loss=loss)


def _generation(base: Generation | None, known: Known, scan: Scan, log_start: int) -> Generation:
    """What there was before the generation that will be published; without its leaves."""
    newest = max((leaf.generation for leaf in scan.leaves.values()), default=0)
    found = known.safe(base or NOTHING_YET)
    return replace(
        found,
        generation=max(found.generation, newest),
        log_start=log_start,
        previous_log_start=log_start,
        leaves={},
    )


def _used(forest: Forest) -> set[int]:
    """The numbers of the segments that a tree's leaves, as they are, and their blobs lie in."""
    leaves = chain.from_iterable(index.leaves(root) for root in forest.roots.values())
    locations = [leaf.location for _, leaf in leaves if leaf.location is not None]
    return {segment.number for location in locations for segment in location.segments}


def _unused(remains: Remains, used: set[int]) -> tuple[str, ...]:
    """The files that nothing in the new generation lies in."""
    numbered = chain.from_iterable(remains.files.values())
    kept = {names.numbered(names.SEGMENT, number) for number in used}
    return tuple(sorted({name for _, name in numbered} - kept))
