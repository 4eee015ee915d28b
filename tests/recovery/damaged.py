"""A small store of every kind of file, what it looked like after each commit, and damage to it."""

import copy
import random

import msgpack

from conduitstore.engine import embedded
from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.format import HEADER_BYTES, Frame, FrameKind, decode_header
from conduitstore.engine.embedded.leaf import decode_leaf
from conduitstore.engine.embedded.pieces import ignore, pieces
from conduitstore.testing.crash import content
from conduitstore.testing.disk import SimulatedDisk

SETTINGS = {
    "flush_every_ms": None,
    "leaf_entries_max": 4,
    "blob_bytes_min": 40,
    "segment_bytes_target": 1_500,
    "idgen_persist_interval": 10,
}


def open_on(disk, **settings):
    return embedded.open("store", files=disk, **SETTINGS | settings)


class Lived:
    """A disk with a store that was killed, and what it owes.

    Attributes:
        states: by sequence, what the store held.
        written: by tree and key, every value it ever had.
        count: the newest count that was given out.
        ids: all ids that were given out.
    """

    def __init__(self):
        self.disk = SimulatedDisk()
        self.states, self.written = {0: {"__default__": []}}, {}
        self.count, self.ids = 0, []

    def commit(self, db, tree, writes):
        def run(tx):
            self.count = tx.next_count()
            for key, value in writes:
                if value is None:
                    tx.open_tree(tree).remove(key)
                else:
                    tx.open_tree(tree).insert(key, value)
                    self.written.setdefault((tree, key), set()).add(value)

        db.transaction(run)
        self.ids.append(db.generate_id())
        self.states[db.sequence] = content(db)

    def write(self, db, seed, total=6):
        chance = random.Random(seed)
        for number in range(total):
            tree = ("t", "u", "__default__")[number % 3]
            size = chance.choice((1, 9, 60))
            writes = [(bytes([chance.randrange(30)]), chance.randbytes(size)) for _ in range(3)]
            self.commit(db, tree, [*writes, (bytes([chance.randrange(30)]), None)])

    def files(self, kind):
        return files_of(self.disk, kind)


def killed():
    """Two generations behind the log, whose every commit is on the platter."""
    lived = Lived()
    for seed in (1, 2):
        db = open_on(lived.disk)
        lived.write(db, seed, total=8)
        db.close()
    db = open_on(lived.disk)
    lived.write(db, 3)
    db.checkpoint()
    lived.write(db, 4)
    db.flush()
    lived.write(db, 5, total=2)  # Says that those before it were on the platter.
    db.flush()
    lived.disk.kill()
    return lived


def bytes_of(disk, name):
    return bytes(disk.directory("store")._inode(name).cached)


def replaced(disk, name, data):
    """A copy of the disk with other bytes in one file; None: without the file."""
    disk = copy.deepcopy(disk)
    directory = disk.directory("store")
    if data is None:
        directory.unlink(name)
        directory.sync()
        return disk
    inode = directory._inode(name)
    inode.cached, inode.platter = bytearray(data), bytes(data)
    return disk


def flipped(disk, name, at):
    data = bytes_of(disk, name)
    return replaced(disk, name, data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])


def files_of(disk, kind):
    found = disk.directory("store").names()
    return [name for name in found if (names.parse(name) or "_")[0] == kind]


def all_gone(disk, kind):
    for name in files_of(disk, kind):
        disk = replaced(disk, name, None)
    return disk


def frames_of(disk, name):
    """Every whole frame of a file whose header is."""
    file = disk.directory("store").open(name)
    header = decode_header(file.read_at(0, HEADER_BYTES), name, name[0].upper().encode())
    found = pieces(file, file.size(), header.seed, ignore)
    return [piece for piece in found if isinstance(piece, Frame)]


def without_frame(disk, name, offset):
    return flipped(disk, name, offset + 20)


def without_commit(disk, sequence):
    """The disk with the record of one commit damaged, in whichever log has it."""
    (found,) = [
        (name, frame.offset)
        for name in files_of(disk, names.LOG)
        for frame in frames_of(disk, name)
        if msgpack.unpackb(frame.payload)[0] == sequence
    ]
    return without_frame(disk, *found)


def leaves_of(disk):
    """File, offset, tree id, generation and keys of every leaf, oldest first."""
    found = []
    for name in files_of(disk, names.SEGMENT):
        for frame in frames_of(disk, name):
            if frame.kind == FrameKind.LEAF:
                tree_id, generation, keys, _ = decode_leaf(frame.payload, frame.flags)
                found.append((name, frame.offset, tree_id, generation, keys))
    return sorted(found, key=lambda leaf: leaf[3])


def salvaged(disk, **settings):
    """What it holds once opened, closed and opened strictly, and the account; ``disk`` stays."""
    disk = copy.deepcopy(disk)
    with open_on(disk, recover="salvage", **settings) as db:
        report, found = db.recovery_report, content(db)
        assert report.mode == "salvage"
        assert list(db.verify()) == []
    with open_on(disk, **settings) as db:
        assert content(db) == found
        assert db.recovery_report.mode == "strict"
        assert list(db.verify()) == []
    return found, report
