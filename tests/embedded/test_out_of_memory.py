"""Lack of memory in any decoder is told as that: it is no damage, and nothing is lost for it."""

import copy
from types import SimpleNamespace

import msgpack
import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import compression, names
from conduitstore.errors import CorruptedError
from conduitstore.testing.crash import content
from conduitstore.testing.disk import SimulatedDisk

SETTINGS = {
    "flush_every_ms": None,
    "leaf_entries_max": 4,
    "blob_bytes_min": 300,
    "idgen_persist_interval": 5,
}


def open_on(disk, **settings):
    return embedded.open("store", files=disk, **SETTINGS | settings)


def lived():
    """Two generations of compressed leaves and blobs, ceilings, and a log that changes them."""
    disk = SimulatedDisk()
    for turn in range(3):
        db = open_on(disk)
        for number in range(8):
            db.open_tree("t").insert(
                bytes([number, turn % 2]), b"value" * (80 if number % 3 else 9)
            )
        db.reserve_ids(20)
        db.flush()
        db.insert(b"one more", b"")
        found = content(db)
        if turn == 2:
            disk.kill()  # Its commits are durable, and one says so of those before it.
        else:
            db.close()
    return disk, found


LIVED, CONTENT = lived()


def file_of(disk, kind):
    return names.of_kind(kind, disk.directory("store").names())[-1][1]


def flipped(*places):
    """A copy of the disk with a byte of the newest file of each kind wrong."""
    disk = copy.deepcopy(LIVED)
    for kind, at in places:
        inode = disk.directory("store")._inode(file_of(disk, kind))
        inode.cached[at] ^= 0x10
        inode.platter = bytes(inode.cached)
    return disk


DISKS = {
    "whole": lambda: copy.deepcopy(LIVED),
    "a log's header and a commit": lambda: flipped((names.LOG, 3), (names.LOG, -300)),
    "a commit": lambda: flipped((names.LOG, 100)),
    "a leaf": lambda: flipped((names.SEGMENT, -5)),
    "a blob": lambda: flipped((names.SEGMENT, 90)),
    "a segment's header": lambda: flipped((names.SEGMENT, 3)),
    "a manifest": lambda: flipped((names.MANIFEST, -5)),
    "a manifest and a log's header": lambda: flipped((names.MANIFEST, -5), (names.LOG, 3)),
}


def read(db):
    found = content(db)
    db.abandon()
    return found


def backed_up(disk):
    with open_on(disk) as db:
        db.backup("backup")
    embedded.restore("backup", "restored", files=disk)


DO = {
    "open": lambda disk: read(open_on(disk)),
    "read": lambda disk: content(open_on(disk, read_only=True)),
    "prefix": lambda disk: read(open_on(disk, recover="prefix")),
    "salvage": lambda disk: read(open_on(disk, recover="salvage")),
    "verify": lambda disk: list(embedded.verify("store", files=disk)),
    "repair": lambda disk: embedded.repair("store", files=disk),
    "back up": backed_up,
}


class Decoders:
    """Every decoder of msgpack and zstd, of which the n-th call finds no memory."""

    def __init__(self, monkeypatch):
        self.left = 0
        decompress = compression._mine.decompressor.decompress
        zstd = SimpleNamespace(decompress=self.counted(decompress))
        monkeypatch.setattr(compression, "_mine", SimpleNamespace(decompressor=zstd))
        monkeypatch.setattr(msgpack, "unpackb", self.counted(msgpack.unpackb))
        monkeypatch.setattr(msgpack, "Unpacker", self.unpacker(msgpack.Unpacker))

    def counted(self, decode):
        def call(*args, **options):
            self.left -= 1
            if self.left == 0:
                raise MemoryError
            return decode(*args, **options)

        return call

    def unpacker(self, made):
        def make():
            real = made()
            return SimpleNamespace(
                feed=real.feed,
                read_array_header=real.read_array_header,
                unpack=self.counted(real.unpack),
            )

        return make


@pytest.mark.parametrize("damage", DISKS)
@pytest.mark.parametrize("action", DO)
def test_no_memory_is_no_damage(monkeypatch, damage, action, faults):
    try:
        wanted = DO[action](DISKS[damage]())
    except CorruptedError:
        wanted = CorruptedError
    decoders, at = Decoders(monkeypatch), 0
    while True:
        disk, at = DISKS[damage](), at + 1
        decoders.left = at
        try:
            found = DO[action](disk)
        except MemoryError:
            faults["told"] += 1
            disk.kill()
            assert damage != "whole" or read(open_on(disk)) == CONTENT
            continue
        except CorruptedError:
            found = CorruptedError
        assert decoders.left > 0, f"lack of memory in call {at} was not told"
        assert found == wanted
        break
