"""Moving a whole store from engine to engine, through the stream of :mod:`.stream`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from conduitstore.errors import ConduitStoreError, CorruptedError, InvalidArgumentError
from conduitstore.kv import DEFAULT_TREE, Batch, Database, Item
from conduitstore.operations import ByteSource

from .stream import End, encode_stream
from .stream_reader import STREAM_NAME, StreamReader

IMPORT_MARK = "__import__"
"""A tree of this name says that the store holds a part of an import and no more."""
SEQUENCE_GAP = 1 << 32
"""How far above both stores' sequences the importing one goes on: see :func:`sequence_behind`."""
BATCH_BYTES = 1 << 20
BATCH_ENTRIES_MAX = 10_000


def export_stream(
    db: Database, positions: Callable[[], tuple[int, int]], compression_level: int
) -> Iterator[bytes]:
    """See :meth:`conduitstore.operations.Operations.export`; the snapshot is taken at once.

    ``positions`` gives the newest count drawn and the next id.
    """
    if type(compression_level) is not int or not 0 <= compression_level <= 22:
        raise InvalidArgumentError(f"a compression level is 0 to 22, not {compression_level!r}")
    if IMPORT_MARK in db.tree_names():
        raise InvalidArgumentError("the store holds a part of an import: import the stream again")
    view = db.snapshot()
    drawn, next_id = positions()  # After the snapshot: at or above what it shows.

    def pieces() -> Iterator[bytes]:
        with view:
            yield from encode_stream(view, drawn, next_id, compression_level)

    return pieces()


def import_stream(
    db: Database, stream: ByteSource | Iterable[bytes], advance: Callable[[End], None]
) -> int:
    """See :meth:`conduitstore.operations.Operations.import_`.

    ``advance`` makes the count and the ids go on from where the exported store's stood, and the
    sequence from :func:`sequence_behind`.
    """
    reader = StreamReader(stream)  # Whatever is no stream is refused before anything is changed.
    _begin(db)
    try:
        for name, items in reader.trees():
            _take(db, name, items)
        advance(reader.end)
        db.drop_tree(IMPORT_MARK)
        db.flush()
    except BaseException:
        with suppress(ConduitStoreError):
            _empty(db)
            db.drop_tree(IMPORT_MARK)
        raise
    return reader.end.entries_total


def sequence_behind(end: End, sequence: int) -> int:
    """From where a store that has come to ``sequence`` goes on behind an import.

    Above all that the exported store has reached, or will in years: where a subscriber of that
    stopped is no place in this one's history, and is refused.
    """
    return max(end.sequence, sequence) + SEQUENCE_GAP


def _begin(db: Database) -> None:
    if IMPORT_MARK in db.tree_names():
        _empty(db)
        return
    full = [name for name in db.tree_names() if db.open_tree(name).first() is not None]
    if full:
        raise InvalidArgumentError(
            f"a stream goes into an empty store, and this one has entries in {full[0]!r}"
        )
    db.open_tree(IMPORT_MARK)


def _take(db: Database, name: str, items: Iterator[Item]) -> None:
    batch, size = Batch(), 0
    if name == IMPORT_MARK:
        raise CorruptedError(STREAM_NAME, 0, f"no store has a tree {name!r}")
    try:
        db.open_tree(name)
        for key, value in items:
            batch.insert(name, key, value)
            size += len(key) + len(value)
            if size >= BATCH_BYTES or len(batch) >= BATCH_ENTRIES_MAX:
                db.apply_batch(batch)
                batch, size = Batch(), 0
        db.apply_batch(batch)
    except InvalidArgumentError as error:
        raise CorruptedError(STREAM_NAME, 0, f"tree {name!r} cannot be: {error}") from error


def _empty(db: Database) -> None:
    """Take everything away but the mark, a bounded piece at a time."""
    for name in db.tree_names():
        if name not in (DEFAULT_TREE, IMPORT_MARK):
            db.drop_tree(name)
    tree = db.open_tree(DEFAULT_TREE)
    while keys := list(islice(tree.keys(), BATCH_ENTRIES_MAX)):
        batch = Batch()
        for key in keys:
            batch.remove(tree, key)
        db.apply_batch(batch)
