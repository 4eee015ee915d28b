"""Repair blob by blob: what one of them has lost its neighbours do not lose with it."""

import copy

import pytest
from damaged import leaves_of

from conduitstore.engine import embedded
from conduitstore.engine.embedded import history, index, names
from conduitstore.engine.embedded.blob import Blob
from conduitstore.errors import CorruptedError
from conduitstore.testing.disk import SimulatedDisk

SETTINGS = {
    "flush_every_ms": None,
    "compression_level": 0,
    "log_keep_bytes": 0,
    "blob_bytes_min": 30,
    "leaf_entries_max": 6,
}
BEFORE = "the generation before and the log"


def open_on(disk, path="store", **settings):
    return embedded.open(path, files=disk, **SETTINGS | settings)


def value(key, seed):
    return bytes([key, seed]) * 20


def places(disk):
    """By key, where its blob lies; and where the leaf does."""
    with open_on(copy.deepcopy(disk)) as db:
        ((_, leaf),) = index.leaves(db.forest.roots[db.tree_id])
        _, entries = db.forest.cache.contents(leaf)
        at = leaf.location
        blobs = {
            key: (stored.location.segment.file.name, stored.location.offset)
            for key, stored in dict.items(entries)
            if type(stored) is Blob
        }
    return blobs, (at.segment.file.name, at.offset)


def damage(disk, name, offset, path="store"):
    inode = disk.directory(path)._inode(name)
    inode.cached[offset + 20] ^= 0x10
    inode.platter = bytes(inode.cached)


def content(db):
    """What can be read of each key."""
    found = {}
    for key in db.keys():  # noqa: SIM118 - which reads no blob
        try:
            found[key] = db.get(key)
        except CorruptedError:
            found[key] = None
    return found


@pytest.fixture
def disk():
    """A leaf of small values, older blobs (2, 3) and newer ones (4, 5): only these have copies."""
    disk = SimulatedDisk()
    with open_on(disk) as db:
        for key in (2, 3):
            db.insert(bytes([key]), value(key, 1))
        db.insert(b"\0", b"small")
    for _ in range(2):
        open_on(disk).close()
    with open_on(disk) as db:
        for key in (4, 5):
            db.insert(bytes([key]), value(key, 2))
        db.insert(b"\1", b"small")
    return disk


def expected(*, without=()):
    found = {b"\0": b"small", b"\1": b"small"}
    found |= {bytes([key]): value(key, 1 if key < 4 else 2) for key in (2, 3, 4, 5)}
    return {key: None if key[0] in without else value for key, value in found.items()}


def repaired(disk, **arguments):
    """By first byte of the key, or None for a leaf, where a copy was."""
    found = embedded.repair("store", files=disk, **arguments)
    return {one.damage.low and one.damage.low[0]: one.source for one in found if one.damage.tree}


def test_each_blob_is_mended_by_itself(disk):
    blobs, _ = places(disk)
    for key in (2, 4, 5):
        damage(disk, *blobs[bytes([key])])
    assert repaired(disk) == {2: None, 4: BEFORE, 5: BEFORE}
    with open_on(disk) as db:
        assert content(db) == expected(without=(2,))
        (left,) = db.verify()
        assert (left.low, left.high, "blob" in left.reason) == (b"\2", b"\2\0", True)
    assert repaired(disk) == {2: None}, "nothing more, and nothing less, when it is asked again"


def test_a_leaf_is_mended_though_a_blob_of_it_is_lost(disk):
    blobs, leaf = places(disk)
    damage(disk, *blobs[b"\2"])
    damage(disk, *leaf)
    found = embedded.repair("store", files=disk)
    assert {(one.damage.low, one.source) for one in found} == {(None, BEFORE), (b"\2", None)}
    assert [one.is_lost for one in found] == [False, True], "the leaf that was lost tells of it"
    assert (found[1].damage.file, found[1].damage.offset) == blobs[b"\2"]
    with open_on(disk) as db:
        assert content(db) == expected(without=(2,))
        assert [d.low for d in db.verify()] == [b"\2"]


def test_what_the_store_has_lost_a_backup_has(disk):
    with open_on(disk) as db:
        db.backup("backup")
    blobs, _ = places(disk)
    for key in (2, 3, 4):
        damage(disk, *blobs[bytes([key])])
    damage(disk, *blobs[b"\3"], path="backup")
    assert repaired(disk, backup="backup") == {2: "the backup", 3: None, 4: "the backup"}
    with open_on(disk) as db:
        assert content(db) == expected(without=(3,))


def test_commits_behind_the_newest_generation_do_not_count(disk):
    db = open_on(disk)
    db.insert(b"\4", value(4, 7))
    db.checkpoint()
    db.insert(b"\4", value(4, 2))
    db.insert(b"\6", b"in the log")
    disk.kill()
    name = max(n for n in disk.directory("store").names() if n.startswith(names.SEGMENT))
    inode = disk.directory("store")._inode(name)
    for at in range(64, len(inode.cached), 30):
        inode.cached[at] ^= 1
    assert repaired(disk) == {None: BEFORE}
    with open_on(disk) as db:
        assert content(db) == expected() | {b"\6": b"in the log"}


@pytest.mark.parametrize("gone", ["record", "log"])
def test_where_the_log_has_a_gap_nothing_is_made_of_what_was_before(disk, gone):
    """A value from before the gap may be an old one."""
    with open_on(disk) as db:
        for seed in (5, 6, 7):
            db.insert(b"\4", value(4, seed))
    blobs, leaf = places(disk)
    logs = [n for n in disk.directory("store").names() if n.startswith(names.LOG)]
    inodes = {name: disk.directory("store")._inode(name) for name in logs}
    (log,) = [name for name, inode in inodes.items() if value(4, 6) in inode.cached]
    if gone == "log":
        disk.directory("store").unlink(log)
    else:
        inodes[log].cached[inodes[log].cached.find(value(4, 6))] ^= 1
    damage(disk, *blobs[b"\4"])
    assert repaired(copy.deepcopy(disk)) == {4: None}
    damage(disk, *leaf)
    assert repaired(disk) == {None: None}


def test_a_leaf_is_not_made_again_without_what_only_an_older_one_had(disk):
    with open_on(disk) as db:
        db.insert(b"\0", b"new")
    _, newest = places(disk)
    older = [leaf[:2] for leaf in leaves_of(disk) if b"\1" in leaf[4] and leaf[:2] != newest]
    assert older
    damage(disk, *newest)
    assert repaired(copy.deepcopy(disk)) == {None: BEFORE}
    for place in older:
        damage(disk, *place)
    assert repaired(disk) == {None: None}


def test_what_would_name_a_file_that_is_gone_is_left_as_it_is():
    """A blob was moved; the leaf that says where to is lost, and then its old place too."""
    disk = SimulatedDisk()
    with open_on(disk) as db:
        db.insert(b"\2", value(2, 1))
        db.insert(b"\0", b"small")
        for key in range(30):
            db.open_tree("bulk").insert(bytes([key]), value(key, 1))
    blobs, _ = places(disk)
    db = open_on(disk)
    db.insert(b"\0", b"moves the leaf to another file")
    db.checkpoint()
    db.insert(b"\0", b"other")
    for key in range(30):
        db.open_tree("bulk").insert(bytes([key]), value(key, 2))
    db.checkpoint()
    disk.kill()
    moved, leaf = places(disk)
    (old, at), (new, _) = blobs[b"\2"], moved[b"\2"]
    assert old != new
    assert old in disk.directory("store").names()
    damage(disk, *leaf)
    assert repaired(copy.deepcopy(disk)) == {None: BEFORE}
    damaged = copy.deepcopy(disk)
    damage(damaged, old, at)
    assert repaired(damaged) == {None: BEFORE, 2: None}
    with open_on(damaged) as db:
        assert content(db) == {b"\0": b"other", b"\2": None}
    disk.directory("store").unlink(old)
    assert repaired(disk) == {None: None}
    open_on(disk).close()


def test_only_the_header_of_a_file_with_a_lost_blob(disk):
    """What can be read moves away; the file stays, for the one that cannot."""
    blobs, _ = places(disk)
    name, at = blobs[b"\2"]
    damage(disk, name, at)
    damage(disk, name, 0)
    sources = [(one.damage.offset, one.source) for one in embedded.repair("store", files=disk)]
    assert sorted(sources) == [(0, None), (at, None)]
    found = embedded.repair("store", files=disk)
    assert {one.damage.offset for one in found if one.is_lost} == {at}


def test_every_blob_is_read_once(disk):
    with open_on(disk) as db:
        for key in range(10, 40):
            db.insert(bytes([key]), bytes([key]) * 10_000)
        db.checkpoint()
        size = db.size_on_disk()
    read = []
    assert list(embedded.verify("store", files=disk, on_read=read.append)) == []
    assert sum(read) < size * 1.1


def test_the_log_is_read_once_however_much_is_damaged(disk, monkeypatch):
    with open_on(disk) as db:
        for key in range(10, 60):
            db.insert(bytes([key]), value(key, 3))
    reads = []
    read = history._read
    monkeypatch.setattr(history, "_read", lambda *a: reads.append(a[1]) or read(*a))
    before = disk.directory("store").names()
    newest = max(name for name in before if name.startswith(names.SEGMENT))
    inode = disk.directory("store")._inode(newest)
    for at in range(64, len(inode.cached), 30):
        inode.cached[at] ^= 1
    found = embedded.repair("store", files=disk)
    assert len(found) > 9
    assert {one.source for one in found if one.damage.tree} == {BEFORE}
    assert len(reads) == len(set(reads))
    with open_on(disk) as db:
        assert content(db) == expected() | {bytes([k]): value(k, 3) for k in range(10, 60)}
