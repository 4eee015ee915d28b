"""Stores that somebody made up: payloads in frames whose checksums hold, used in every way."""

import logging

import msgpack

from conduitstore.engine import embedded
from conduitstore.engine.embedded.format import FrameKind, Header, encode_frame
from conduitstore.engine.embedded.leaf import encode_leaf
from conduitstore.engine.embedded.manifest import Ceilings, Generation
from conduitstore.errors import ConduitStoreError
from conduitstore.testing.damage import disk_of

STORE_ID = b"a store made up "
SETTINGS = {"flush_every_ms": None, "leaf_entries_max": 4, "blob_bytes_min": 30}
logging.getLogger("conduitstore").addHandler(logging.NullHandler())
logging.getLogger("conduitstore").propagate = False  # It warns of thousands of made-up stores.


def file(kind, number, *frames, first=0):
    """A file of that kind, with its name."""
    header = Header(kind, STORE_ID, number, first)
    name = {b"M": "manifest", b"L": "log", b"S": "segment"}[kind] + f"-{number:08x}"
    data = header.encode()
    for frame in frames:
        data += encode_frame(header.seed, len(data), *frame)
    return {name: data}


def generation(leaves, **others):
    """One whose trees have these leaf rows."""
    fields = {
        "generation": 4, "sequence": 2, "log_start": 2, "previous_log_start": 2, "count": 5,
        "drawn": 5, "ids": 7, "ceilings": Ceilings(9, 9), "is_clean": False, "fork": 0,
        "incarnations": ((1, 77),), "trees": {0: "__default__", 1: "t"}, "next_tree_id": 2,
    }  # fmt: skip
    return Generation(**fields | others, leaves=leaves)


def commit(sequence, *ops):
    return msgpack.packb([sequence, sequence - 1, 5, *ops])


LEAF, _ = encode_leaf(1, 3, [b"ka", b"kb"], [b"value", b"another"], None)
BLOB = b"a long value " * 5
BLOB_FRAME = 16 + len(BLOB)
WITH_BLOB, _ = encode_leaf(1, 3, [b"ka", b"kb"], [b"value", (3, 64, BLOB_FRAME, len(BLOB))], None)
COMMITS = [commit(3, 1, b"kc", b"3"), commit(4, 2, 0, "new", 2, b"k", b"v"), commit(5, 2, 1, None)]


def image(*, leaf=LEAF, flags=0, blob=BLOB, whole=None, changes=None, ceilings=None, log=None):
    """A store with one part of it made up; the flags are of the blob, or else of the leaf."""
    has_blob = leaf == WITH_BLOB
    frames = [(FrameKind.BLOB, blob, flags)] if has_blob else []
    begin = 64 + (16 + len(blob) if has_blob else 0)
    leaf_flags = 0 if has_blob else flags
    segment = file(b"S", 3, *frames, (FrameKind.LEAF, leaf, leaf_flags))
    size = 16 + len(leaf)
    blobs = (3, 16 + len(blob)) if has_blob else ()
    row = (3, begin, size, 2, 16, *blobs)
    made = whole if whole is not None else generation({1: {b"": row}}).encode()
    manifest = [(FrameKind.WHOLE, made)]
    manifest += [(FrameKind.CHANGES, changes)] if changes is not None else []
    manifest += [(FrameKind.CEILINGS, ceilings)] if ceilings is not None else []
    commits = [(FrameKind.COMMIT, one) for one in (COMMITS if log is None else log)]
    return segment | file(b"M", 4, *manifest) | file(b"L", 2, *commits, first=3)


def with_blob(leaf):
    """A store whose one leaf, whatever it is, has a blob as the manifest says."""
    segment = file(b"S", 3, (FrameKind.BLOB, BLOB), (FrameKind.LEAF, leaf))
    row = (3, 64 + BLOB_FRAME, 16 + len(leaf), 2, 16, 3, BLOB_FRAME)
    return image(whole=generation({1: {b"": row}}).encode(), log=[]) | segment


def use(files):
    """Open, read, verify and repair it in every way; only errors with a type are right."""
    for how in (_strict, _read_only, _verify, _repair, _prefix, _salvage, _restore):
        try:
            how(disk_of(files))
        except ConduitStoreError:
            continue


def _read(db):
    for name in db.tree_names():
        tree = db.open_tree(name)
        for items in (tree.range(), tree.range(reverse=True), tree.keys()):
            try:
                list(items)
            except ConduitStoreError:
                continue
        len(tree)
        for key in (b"ka", b"kb", b"k"):
            try:
                tree.get(key)
            except ConduitStoreError:
                continue


def _strict(disk):
    db = embedded.open("store", files=disk, **SETTINGS)
    try:
        _read(db)
        db.current_count()
        db.insert(b"after", b"1")
        db.generate_id()
        list(db.verify())
        db.checkpoint()
        db.backup("backup")
        db.close()
    finally:
        db.abandon()


def _read_only(disk):
    _read(embedded.open("store", files=disk, read_only=True))


def _verify(disk):
    list(embedded.verify("store", files=disk))


def _repair(disk):
    embedded.repair("store", files=disk)
    _verify(disk)


def _recovered(disk, mode):
    db = embedded.open("store", files=disk, recover=mode, **SETTINGS)
    _read(db)
    str(db.recovery_report)
    db.abandon()


def _prefix(disk):
    _recovered(disk, "prefix")


def _salvage(disk):
    _recovered(disk, "salvage")


def _restore(disk):
    embedded.restore("store", "new", files=disk)
