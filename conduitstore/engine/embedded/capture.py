"""An instant of an open store as its files show it, held for as long as somebody reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conduitstore.operations import OnRead

from . import index, names
from .checkpoint import row_of
from .claims import Subject
from .files import File
from .manifest import Generation, LeafRow, LeafRows

if TYPE_CHECKING:
    from .frozen import Frozen
    from .lifecycle import Store


def subject(db: Store, on_read: OnRead) -> Subject:
    """Everything on the disk, to be verified while commits and checkpoints go on."""
    db.check_handle()
    with db.checkpoint_lock, db.writer_lock:
        db.check_handle()
        generation, pinned = clean_leaves(db, db.forest.freeze())
        manifest = db.checkpointer.manifest
        assert manifest is not None
        return Subject(
            db.directory,
            db.store_id,
            generation,
            on_read,
            files=db.directory.names(),
            segments=db.checkpointer.needed_segments(),
            ends={
                names.numbered(names.LOG, db.log.number): db.log.file_bytes,
                manifest.name: manifest.size_bytes,
            },
            pinned=pinned,
        )


def checkpointed(db: Store) -> tuple[Generation, dict[int, File]]:
    """Everything committed so far, in segments, and their files."""
    with db.checkpoint_lock:
        generation, pinned = clean_leaves(db, db.checkpointed())
    rows: LeafRows = {
        tree_id: {low: row for low, row in lows.items() if row}
        for tree_id, lows in generation.leaves.items()
    }
    ceilings = generation.ceilings.raised_to(db.counters.ceilings)
    return replace(generation, leaves=rows, ceilings=ceilings), pinned


def clean_leaves(db: Store, frozen: Frozen) -> tuple[Generation, dict[int, File]]:
    """The newest generation with its leaves, and their files, which stay open while they are held.

    A leaf that has changed since has no row but still bounds its neighbours' ranges. Call it under
    the checkpoint lock: a checkpoint gives leaves their places.
    """
    rows: LeafRows = {}
    pinned: dict[int, File] = {}
    for tree_id in frozen.ids.values():
        lows: dict[bytes, LeafRow | None] = {}
        for low, leaf in index.leaves(frozen.roots[tree_id]):
            lows[low] = None
            if leaf.location is not None:
                lows[low] = row_of(leaf.location, leaf)
                pinned |= {segment.number: segment.file for segment in leaf.location.segments}
        rows[tree_id] = lows
    trees = {tree_id: name for name, tree_id in frozen.ids.items()}
    return replace(db.generation, leaves=rows, trees=trees), pinned
