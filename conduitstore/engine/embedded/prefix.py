"""Opening a damaged store as it was before the damage: a prefix of its history, without a gap.

- The newest generation that manifests still give whole, and whose segments are all there, is the
  beginning; the log is replayed from there up to the first commit that cannot be read.
- A generation older than the newest that anything tells of serves only where the log leads from it
  as far as that one: else what lies between is in leaves that nobody finds without salvaging.
- Nothing is guessed: where no generation serves, this is refused.
"""

from __future__ import annotations

from conduitstore.errors import ConduitStoreError, CorruptedError
from conduitstore.operations import Damage

from . import names, recovery
from .cache import Cache
from .config import Settings
from .files import File
from .forest import Forest
from .loss import Loss
from .manifest import Generation, segments_in
from .recovery import Recovered, Replayed
from .remains import Known, Remains, reason_of
from .replay import Replay, commit_of
from .segment import Segment


def read(
    remains: Remains, lock: File | None, settings: Settings, refusal: ConduitStoreError
) -> Replayed:
    """The newest prefix there is.

    Raises:
        CorruptedError: there is none that can be told from something else.
    """
    generations, known = remains.generations()
    for generation in generations:
        try:
            found = _open(remains, lock, generation)
            forest = _replayed(remains, found, settings)
        except CorruptedError as error:
            refusal = error
            remains.note(error.file, error.offset, 0, reason_of(error))
            continue
        if forest.sequence >= known.newest_sequence:
            return _with_loss(remains, found, forest, known)
    file, offset = getattr(refusal, "file", names.MANIFEST), getattr(refusal, "offset", 0)
    raise CorruptedError(
        file,
        offset,
        f"no prefix of the history can be made out ({refusal}): repair the store, restore a "
        'backup, or open it with recover="salvage"',
    ) from refusal


def _open(remains: Remains, lock: File | None, generation: Generation) -> Recovered:
    directory, store_id = remains.directory, remains.store_id
    named = sorted(segments_in(generation.leaves))
    return Recovered(
        directory,
        lock,
        store_id,
        generation,
        {number: Segment.open(directory, number, store_id) for number in named},
        recovery.last_number_of(directory.names()),
        is_new=False,
    )


def _replayed(remains: Remains, found: Recovered, settings: Settings) -> Forest:
    """The trees of a generation, and every commit behind it that leads on from there.

    Raises:
        CorruptedError: a leaf that a commit changes cannot be read.
    """
    upto = 1 << 64
    while True:
        forest = recovery.empty_forest(settings, Cache(settings.cache_capacity_bytes))
        recovery.plant(forest, found)
        start = found.generation.log_start
        replay = Replay(forest, remains.directory, remains.store_id, start)
        replay.upto = upto
        try:
            replay.advance()
        except CorruptedError as error:
            if not error.file.startswith(names.LOG):
                raise
            if upto > forest.sequence:
                # Of a commit that could not be applied a part may be in there: once more, up to it.
                upto = forest.sequence
                continue
            remains.note(error.file, error.offset, 0, reason_of(error))
        return forest


def _with_loss(remains: Remains, found: Recovered, forest: Forest, known: Known) -> Replayed:
    kept = forest.sequence
    unused = _behind(remains, found.generation.log_start, kept)
    newest = max(kept, known.newest_sequence, *(last for _, last in unused.values()))
    for name, (damage, _) in unused.items():
        if damage is not None:
            remains.damages.append(damage)
        remains.spoiled.add(name)
    named = segments_in(found.generation.leaves)
    if newest > kept:  # Somebody may want to look for the rest in leaves that nobody names.
        remains.spoiled |= {name for _, name in remains.files[names.SEGMENT]}
    loss = Loss(
        mode="prefix",
        sequence=kept,
        commits_replayed=kept - found.generation.sequence,
        commits_lost=newest - kept,
        damages=tuple(remains.damages),
        aside=remains.spoiled_files(but=named),
    )
    found.generation = known.safe(found.generation)
    forest.sequence = newest + known.gap
    return Replayed(found, forest, loss=loss)


def _behind(remains: Remains, start: int, kept: int) -> dict[str, tuple[Damage | None, int]]:
    """The logs with commits behind the last one kept: those that verify, and the newest known."""
    found: dict[str, tuple[Damage | None, int]] = {}
    for number, name in remains.files[names.LOG]:
        if number < start:
            continue
        begin, end, total, newest = 0, 0, 0, kept
        for frame in remains.frames(names.LOG, number, name):
            try:
                sequence, durable, _, _ = commit_of(name, frame.offset, frame)
            except CorruptedError:
                continue
            newest = max(newest, sequence, durable)
            if sequence > kept:
                begin, end, total = begin or frame.offset, frame.end, total + 1
        if newest > kept:
            reason = f"{total} commits behind a damage, the last one known is {newest}"
            damage = Damage(name, begin, end - begin, reason) if total else None
            found[name] = damage, newest
    return found
