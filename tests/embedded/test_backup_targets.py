"""What lies in the directory that a backup goes to: the store's own, older, newer or damaged."""

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import names
from conduitstore.errors import (
    CorruptedError,
    InvalidArgumentError,
)
from conduitstore.testing.damage import disk_of, image_of, write
from conduitstore.testing.disk import SimulatedDisk

SETTINGS = {"flush_every_ms": None, "leaf_entries_max": 4}


@pytest.fixture(autouse=True, params=[4, 4096], ids=["blobs", "no blobs"])
def blobs(request, monkeypatch):
    """Values beside their leaves, and in them."""
    monkeypatch.setitem(SETTINGS, "blob_bytes_min", request.param)


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk, path="store", **settings):
    return embedded.open(path, files=disk, **SETTINGS | settings)


def fill(db, seed=0, total=40):
    for number in range(total):
        db.open_tree("t").insert(bytes([number]), bytes([seed]) * 50)


def content(db):
    return {name: list(db.open_tree(name)) for name in db.tree_names()}


def segments(disk, path):
    found = disk.directory(path).names()
    return [name for name in found if (names.parse(name) or ("",))[0] == names.SEGMENT]


def damage(disk, path, name, at=-5):
    inode = disk.directory(path)._inode(name)
    inode.cached[at] ^= 1
    inode.platter = bytes(inode.cached)


def test_the_backup_of_a_later_state_is_kept(disk):
    """The store was put back to what it was some time ago: its backup knows more."""
    db = open_on(disk)
    fill(db)
    db.close()
    before = image_of(disk.directory("store"))
    db = open_on(disk)
    fill(db, seed=1)
    later = content(db)
    db.backup("backup")
    db.close()
    back = disk_of(before)
    write(back, image_of(disk.directory("backup")), "backup")
    with open_on(back) as db, pytest.raises(InvalidArgumentError, match="a later state"):
        db.backup("backup")
    with open_on(back, "backup") as copy:
        assert content(copy) == later


def test_a_damaged_backup_is_named_and_stays_unlocked(disk):
    db = open_on(disk)
    fill(db)
    db.backup("backup")
    (manifest,) = [n for n in disk.directory("backup").names() if n.startswith("manifest")]
    damage(disk, "backup", manifest)
    with pytest.raises(CorruptedError, match=manifest):
        db.backup("backup")
    damage(disk, "backup", manifest)
    assert db.backup("backup").files == ()


@pytest.mark.parametrize("how", ["cut", "another's"])
def test_a_segment_of_the_backup_that_is_not_the_stores_is_copied_again(disk, how):
    db = open_on(disk)
    fill(db)
    db.backup("backup")
    with open_on(disk, "other") as other:
        fill(other)
    (name,) = segments(disk, "backup")
    inode = disk.directory("backup")._inode(name)
    if how == "cut":
        inode.truncate(len(inode.cached) - 1)
    else:
        (strange,) = segments(disk, "other")
        inode.cached = bytearray(disk.directory("other")._inode(strange).cached)
    assert db.backup("backup").files == (name,)
    with open_on(disk, "backup") as copy:
        assert list(copy.verify()) == []
        assert content(copy) == content(db)
