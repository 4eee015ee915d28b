"""How large a store is, from its index and its directory: no entry is read."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from conduitstore.operations import Stats, TreeStats

from . import index
from .blob import blobs_of
from .files import Directory
from .leaf import Leaf

if TYPE_CHECKING:
    from .database import Database


def stats(db: Database) -> Stats:
    """See :class:`conduitstore.operations.Stats`."""
    db.check_handle()
    frozen = db.forest.freeze()
    leaves = {
        name: [leaf for _, leaf in index.leaves(frozen.roots[tree_id])]
        for name, tree_id in frozen.ids.items()
    }
    dirty = [leaf for run in leaves.values() for leaf in run if leaf.location is None]
    blobs = [blob for leaf in dirty for blob in blobs_of(leaf.entries or {})]
    sizes = file_sizes(db.directory)
    generation = db.generation
    live_bytes, checkpoint_bytes = db.space
    return Stats(
        trees={
            name: TreeStats(
                sum(leaf.entries_total for leaf in run),
                sum(leaf.size_bytes for leaf in run),
                blob_bytes=sum(map(_blob_bytes, run)),
            )
            for name, run in sorted(leaves.items())
        },
        sequence=frozen.sequence,
        durable_sequence=db.durable_sequence,
        count=frozen.count,
        generation=generation.generation,
        incarnation=generation.incarnations[-1][1],
        size_on_disk_bytes=sum(sizes.values()),
        files_total=len(sizes),
        log_bytes=db.log_bytes,
        dirty_bytes=sum(leaf.memory_bytes for leaf in dirty)
        + sum(blob.memory_bytes for blob in blobs if blob.location is None),
        live_bytes=live_bytes,
        checkpoint_bytes=checkpoint_bytes,
        index_bytes=sum(index.memory_bytes(root) for root in frozen.roots.values()),
        cache_bytes=db.forest.cache.resident_bytes,
        cache_loads_total=db.forest.cache.loads_total,
    )


def _blob_bytes(leaf: Leaf) -> int:
    if leaf.location is not None:
        return sum(frames_bytes for _, frames_bytes in leaf.location.blobs)
    return sum(
        blob.size_bytes if blob.location is None else blob.location.frame_bytes
        for blob in blobs_of(leaf.entries or {})
    )


def file_sizes(directory: Directory) -> dict[str, int]:
    """Bytes of every file by name; one that a checkpoint unlinks meanwhile is left out."""
    sizes = {}
    for name in directory.names():
        with suppress(FileNotFoundError):
            file = directory.open(name)
            sizes[name] = file.size()
            file.close()
    return sizes
