"""Opening a directory: gates, lock, manifest, index, log. Nothing is changed before the gates.

How a damaged one is opened is next door, in :mod:`.opening`.

1. A directory with files and no manifest is not ours, unless it is a creation that was cut short.
2. Take the lock.
3. Read the newest manifest and open every segment it names.
4. Replay the log, commit by commit, while the sequence has no gap. What lies behind the first gap
   was never promised, unless a later frame says that it was on the platter: then it is damage.

The caller then starts a new log and publishes a first generation of its own, with what was
replayed: only that makes the store ready, and a crash before it changes nothing.
"""

from __future__ import annotations

import logging
import os
import platform
from dataclasses import dataclass, replace

from conduitstore.errors import UnsupportedFormatError
from conduitstore.kv import DEFAULT_TREE
from conduitstore.operations import Cut, Damage, RecoveryReport

from . import index, names
from .cache import Cache
from .collector import collector_at_rest
from .config import Settings
from .counters import first_numbers
from .files import Directory, File
from .forest import DEFAULT_TREE_ID, Forest
from .format import HEADER_BYTES, decode_header
from .leaf import Leaf
from .location import Location
from .loss import Loss
from .manifest import KIND as MANIFEST_KIND
from .manifest import Ceilings, Generation, LeafRow, read_manifest, segments_in
from .replay import Replay
from .segment import Segment

log = logging.getLogger("conduitstore")

NOTHING_YET = Generation(
    generation=0,
    sequence=0,
    log_start=1,
    previous_log_start=1,
    count=0,
    drawn=0,
    ids=0,
    ceilings=Ceilings(),
    is_clean=True,
    fork=0,
    incarnations=(),
    trees={DEFAULT_TREE_ID: DEFAULT_TREE},
    next_tree_id=DEFAULT_TREE_ID + 1,
)


@dataclass(slots=True)
class Recovered:
    """What a directory holds, locked and read."""

    directory: Directory
    lock: File | None  # None: open for reading only
    store_id: bytes
    generation: Generation
    segments: dict[int, Segment]
    last_number: int  # of any file, ever
    is_new: bool


@dataclass(slots=True)
class Replayed:
    """What a store begins from: a directory, and all that it holds, in a forest."""

    found: Recovered
    forest: Forest
    cuts: tuple[Cut, ...] = ()
    loss: Loss | None = None
    mended: tuple[Damage, ...] = ()

    def close(self) -> None:
        """Let go of the directory that was opened for writing."""
        assert self.found.lock is not None
        self.found.lock.close()


@collector_at_rest()
def strict(directory: Directory, lock: File | None, settings: Settings) -> Replayed:
    """Steps 3 and 4.

    Raises:
        UnsupportedFormatError: not a store, or a newer release's.
        CorruptedError: a manifest or segment is damaged, or a commit that was on the platter.
    """
    found = read_directory(directory, lock)
    forest = empty_forest(settings, Cache(settings.cache_capacity_bytes))
    plant(forest, found)
    cuts = replay(forest, found)
    if found.generation.is_clean and forest.sequence > found.generation.sequence:
        # Commits behind a clean close: the manifest of whoever made them is gone.
        found.generation = found.generation.unsure()
    return Replayed(found, forest, cuts)


def report(replayed: Replayed) -> RecoveryReport:
    """What it took to open a store."""
    old, forest, loss = replayed.found.generation, replayed.forest, replayed.loss
    drawn, ids = first_numbers(old, forest.count)
    found = RecoveryReport(
        was_unclean=not old.is_clean,
        was_backup=old.fork > 0,
        sequence=forest.sequence,
        commits_replayed=forest.sequence - old.sequence,
        cuts=replayed.cuts,
        count=drawn,
        next_id=ids,
        mended=replayed.mended,
    )
    if loss is None:
        return found
    return replace(
        found,
        sequence=loss.sequence,
        commits_replayed=loss.commits_replayed,
        mode=loss.mode,
        commits_lost=loss.commits_lost,
        damages=loss.damages,
        set_aside=tuple(name + names.DAMAGED for name in loss.aside),
        trees=loss.trees,
    )


def empty_forest(settings: Settings, cache: Cache) -> Forest:
    """A forest without a tree, as the settings want it."""
    return Forest(
        cache,
        leaf_entries_max=settings.leaf_entries_max,
        leaf_bytes_max=settings.leaf_bytes_max,
        blob_bytes_min=settings.blob_bytes_min,
    )


def lock_directory(directory: Directory) -> File:
    """Take the lock of a directory, or say who has it; close the file to let go."""
    return directory.lock(names.LOCK, f"process {os.getpid()} on {platform.node()}\n")


def check_ours(directory: Directory, *, writes: bool = True) -> bool:
    """Whether a store is there, of a format we know; False: a new one may be made here."""
    found = directory.names()
    strangers = [name for name in found if not names.is_ours(name)]
    if newest_number := newest_manifest(found):
        newest = names.numbered(names.MANIFEST, newest_number)
        header = decode_header(_beginning(directory, newest), newest, MANIFEST_KIND)
        if writes and header.read_only_flags:
            raise UnsupportedFormatError(
                f"{newest} has flags {header.read_only_flags:#x} that this release does not know: "
                "the store may only be read; write to it with the release that made it"
            )
        for name in strangers:
            log.warning("%s holds a file that is none of ours: %s", directory.path, name)
        return True
    # Until its first manifest has a name a store has no commits: only an empty log, if that.
    full = [
        name
        for name in found
        if names.is_set_aside(name)
        or (names.parse(name) and len(_beginning(directory, name)) > HEADER_BYTES)
    ]
    if strangers or full:
        raise UnsupportedFormatError(
            f"{directory.path} is not a store and not empty "
            f"({', '.join((strangers + full)[:3])}): name another directory"
        )
    return False


def last_number_of(found: list[str]) -> int:
    """The highest number of any file.

    A leftover's counts too: what a crash began under it must not be begun again. So does that of
    a file that was set aside.
    """
    bare = (name.removesuffix(names.NEW).removesuffix(names.DAMAGED) for name in found)
    parsed = [names.parse(name) or ("", 0) for name in bare]
    return max((number for _, number in parsed), default=0)


def newest_manifest(found: list[str]) -> int:
    """The number of the manifest that counts; 0: there is none."""
    return max((number for number, _ in names.of_kind(names.MANIFEST, found)), default=0)


def _beginning(directory: Directory, name: str) -> bytes:
    file = directory.open(name)
    data = file.read_at(0, HEADER_BYTES + 1)
    file.close()
    return data


def read_directory(directory: Directory, lock: File | None = None) -> Recovered:
    """Step 3; without the lock, what is named may be gone already."""
    exists = check_ours(directory, writes=lock is not None)
    found = directory.names()
    last_number = last_number_of(found)
    if not exists:
        # A creation that was cut short may have left an empty log of another store id behind.
        nothing = replace(
            NOTHING_YET, log_start=last_number + 1, previous_log_start=last_number + 1
        )
        return Recovered(directory, lock, os.urandom(16), nothing, {}, last_number, is_new=True)
    header, generation = read_manifest(directory, newest_manifest(found))
    named = segments_in(generation.leaves)
    segments = {n: Segment.open(directory, n, header.store_id) for n in sorted(named)}
    return Recovered(
        directory, lock, header.store_id, generation, segments, last_number, is_new=False
    )


def replay(forest: Forest, recovered: Recovered) -> tuple[Cut, ...]:
    """Step 4; gives the ends of files that were not used.

    Raises:
        CorruptedError: a commit that was on the platter cannot be read.
    """
    if recovered.is_new:
        return ()
    start = recovered.generation.log_start
    log_replay = Replay(forest, recovered.directory, recovered.store_id, start)
    log_replay.advance()
    log_replay.check()
    if log_replay.damage is not None:
        log.warning(
            "%s ends at byte %d in a commit that was never durable: it is cut", *log_replay.damage
        )
    return tuple(log_replay.cuts.values())


def plant(forest: Forest, recovered: Recovered) -> None:
    """Put a generation's trees into an empty forest; no leaf is read yet."""
    generation = recovered.generation
    for tree_id, name in generation.trees.items():
        rows = sorted(generation.leaves.get(tree_id, {}).items())
        parts = [(low, _leaf(recovered.segments, row)) for low, row in rows if row]
        forest.roots[tree_id] = index.build(parts)
        forest.ids[name] = tree_id
    forest.next_tree_id = generation.next_tree_id
    forest.count = generation.count
    forest.sequence = generation.sequence


def _leaf(segments: dict[int, Segment], row: LeafRow) -> Leaf:
    held: tuple[tuple[Segment, int], ...] = ()
    if len(row) > 5:
        held = tuple(zip(map(segments.__getitem__, row[5::2]), row[6::2], strict=True))
    location = Location(segments[row[0]], row[1], row[2], row[3], held)
    return Leaf(None, None, size_bytes=row[4], location=location)
