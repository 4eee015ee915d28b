"""Moving a whole store from engine to engine, through the stream of :mod:`.stream`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from conduitstore.errors import (
    ConduitStoreError,
    ConflictError,
    CorruptedError,
    InvalidArgumentError,
)
from conduitstore.kv import DEFAULT_TREE, Batch, Database, Item
from conduitstore.operations import ByteSource, OnEntries

from .stream import Content, End, encode_stream
from .stream_reader import STREAM_NAME, StreamReader

IMPORT_MARK = "__import__"
"""A tree of this name says that the store holds a part of an import and no more."""
SEQUENCE_GAP = 1 << 32
"""How far above both stores' sequences the importing one goes on: see :func:`sequence_behind`."""
BATCH_BYTES = 1 << 20
BATCH_ENTRIES_MAX = 10_000
PAGE_ENTRIES = 1_000
"""How many entries of a tree that is written to are walked before the next are looked up."""


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
    db: Database,
    stream: ByteSource | Iterable[bytes],
    advance: Callable[[End], None],
    *,
    over: bool = False,
    on_entries: OnEntries | None = None,
) -> int:
    """See :meth:`conduitstore.operations.Operations.import_`.

    ``advance`` makes the count and the ids go on from where the exported store's stood, and the
    sequence from :func:`sequence_behind`.
    """
    reader = StreamReader(stream)  # Whatever is no stream is refused before anything is changed.
    if not over:
        _begin(db)
    try:
        if over:
            db.open_tree(IMPORT_MARK)
            _take_over(db, reader, on_entries)
        else:
            for name, items in reader.trees():
                _take(db, name, _told(items, on_entries), iter(()))
        advance(reader.end)
        if over:
            _check_taken(db, reader.end, on_entries)
        db.drop_tree(IMPORT_MARK)
        db.flush()
    except BaseException:
        if not over:
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


def check_empty(db: Database, instead: str) -> None:
    """Refuse a store that holds anything, but for a part of an import; say what to do instead."""
    if IMPORT_MARK in db.tree_names():
        return
    full = [name for name in db.tree_names() if db.open_tree(name).first() is not None]
    if full:
        raise InvalidArgumentError(
            f"it goes into an empty store, and this one has entries in {full[0]!r}: choose another "
            f"directory or schema, or {instead}"
        )


def _begin(db: Database) -> None:
    check_empty(db, "import with over=True: then it holds what the stream does, and nothing else")
    if IMPORT_MARK in db.tree_names():
        _empty(db)
    else:
        db.open_tree(IMPORT_MARK)


def _take_over(db: Database, reader: StreamReader, on_entries: OnEntries | None) -> None:
    """Write what differs from the stream, whatever was there before."""
    kept = {IMPORT_MARK}
    for name, items in reader.trees():
        _take(db, name, _told(items, on_entries), _walk(db, name))
        kept.add(name)
    for name in db.tree_names():
        if name == DEFAULT_TREE and name not in kept:
            _take(db, name, iter(()), _walk(db, name))
        elif name not in kept:
            db.drop_tree(name)


def _take(db: Database, name: str, items: Iterator[Item], before: Iterator[Item]) -> None:
    """Turn a tree that holds ``before`` into one that holds ``items``, in bounded commits."""
    batch, size = Batch(), 0
    if name == IMPORT_MARK:
        raise CorruptedError(STREAM_NAME, 0, f"no store has a tree {name!r}")
    try:
        db.open_tree(name)
        for key, value in _differences(before, items):
            if value is None:
                batch.remove(name, key)
            else:
                batch.insert(name, key, value)
            size += len(key) + len(value or b"")
            if size >= BATCH_BYTES or len(batch) >= BATCH_ENTRIES_MAX:
                db.apply_batch(batch)
                batch, size = Batch(), 0
        db.apply_batch(batch)
    except InvalidArgumentError as error:
        raise CorruptedError(STREAM_NAME, 0, f"tree {name!r} cannot be: {error}") from error


def _differences(
    before: Iterator[Item], after: Iterator[Item]
) -> Iterator[tuple[bytes, bytes | None]]:
    """What makes ``after`` out of ``before``, both in order; None removes a key."""
    had = next(before, None)
    for key, value in after:
        while had is not None and had[0] < key:
            yield had[0], None
            had = next(before, None)
        if had is None or had[0] != key:
            yield key, value
            continue
        if had[1] != value:
            yield key, value
        had = next(before, None)
    while had is not None:
        yield had[0], None
        had = next(before, None)


def _walk(db: Database, name: str) -> Iterator[Item]:
    """A tree that is written to up to where this has come: no instant of it is held for long."""
    tree, after = db.open_tree(name), b""
    while True:
        last = None
        for last in tree.range(after, limit=PAGE_ENTRIES):
            yield last
        if last is None:
            return
        after = last[0] + b"\0"


def _told(items: Iterator[Item], on_entries: OnEntries | None) -> Iterator[Item]:
    """The same items; tells from time to time how many more there were."""
    total = 0
    for total, item in enumerate(items, 1):
        yield item
        if on_entries is not None and total % PAGE_ENTRIES == 0:
            on_entries(PAGE_ENTRIES)
    if on_entries is not None:
        on_entries(total % PAGE_ENTRIES)


def _check_taken(db: Database, end: End, on_entries: OnEntries | None) -> None:
    """Read back what was taken in: an import over what is there is done when it adds up."""
    content = Content()
    with db.snapshot() as view:
        for name in view.tree_names():
            content.begin(name)
            for item in _told(iter(view.open_tree(name)), on_entries):
                content.add([*item])
    if (content.entries_total, content.checksum) != (end.entries_total, end.checksum):
        raise ConflictError(
            f"{end.entries_total} entries with checksum {end.checksum:08x} came, and the store "
            f"holds {content.entries_total} with {content.checksum:08x}: somebody else writes to "
            "it; do it again while nobody does"
        )


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
