"""The same damage to what leaves a store: backups, and exported streams."""

import io
import logging
import os
import random
from functools import partial

import pytest

from conduitstore.engine import embedded
from conduitstore.errors import ConduitStoreError, CorruptedError, UnsupportedFormatError
from conduitstore.kv import DEFAULT_TREE
from conduitstore.testing import MemoryDatabase
from conduitstore.testing.crash import content
from conduitstore.testing.damage import cuts, disk_of, flips, image_of, mixups, write
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.testing.rot import SETTINGS, lived, open_on

EVERY = int(os.environ.get("ROT_EVERY", "29"))


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr(logging.getLogger("conduitstore"), "disabled", True)


# Backups ------------------------------------------------------------------------------------------


def backed_up(seed):
    """Files of a backup, and what was in the store."""
    disk = disk_of(lived(seed).image)
    with open_on(disk, SETTINGS) as db:
        db.backup("backup")
        return image_of(disk.directory("backup")), content(db)


BACKUP, WHOLE = backed_up(3)
STRANGE = backed_up(4)[0]


def read(db):
    """What it holds: each tree that can be read."""
    found = {}
    for name in db.tree_names():
        try:
            found[name] = list(db.open_tree(name))
        except CorruptedError as error:
            if error.file not in BACKUP:
                raise
    return found


def opened(disk):
    return embedded.open("store", files=disk, flush_every_ms=None)


def restored(disk):
    embedded.restore("store", "new", files=disk)
    return embedded.open("new", files=disk, flush_every_ms=None)


def looked_at(disk):
    return embedded.open("store", files=disk, read_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("use", [opened, restored, looked_at])
def test_no_damaged_backup_gives_a_wrong_answer(use, faults):
    damages = [*flips(BACKUP, every=EVERY), *cuts(BACKUP, every=EVERY), *mixups(BACKUP, STRANGE)]
    for damage in damages:
        try:
            found = read(use(disk_of(damage(BACKUP, STRANGE))))
        except ConduitStoreError:
            faults["refused"] += 1
            continue
        faults["harmless" if found == WHOLE else "named"] += 1
        assert found.items() <= WHOLE.items(), damage
        assert use is not restored or found == WHOLE, damage
    assert faults["refused"] > faults.total() // 10


@pytest.mark.slow
def test_no_damaged_backup_spoils_a_repair(faults):
    life = lived(5)
    disk = disk_of(life.image)
    with open_on(disk, SETTINGS) as db:
        db.backup("backup")
        whole = content(db)
    backup = image_of(disk.directory("backup"))
    with open_on(disk, SETTINGS) as db:
        db.insert(b"two", b"generations lie behind")
    open_on(disk, SETTINGS).close()
    whole[DEFAULT_TREE] = [*whole[DEFAULT_TREE], (b"two", b"generations lie behind")]
    store, sources = image_of(disk.directory("store")), set()
    chance = random.Random(1)
    for damage in chance.sample([*flips(store)], 40 + 2_000 // EVERY):
        for beside in chance.sample([*flips(backup), *cuts(backup)], 4):
            tried = disk_of(damage(store))
            write(tried, beside(backup), "backup")
            try:
                repairs = embedded.repair("store", backup="backup", files=tried)
            except CorruptedError:
                faults["refused"] += 1
                continue
            sources |= {repair.source for repair in repairs}
            try:
                found = read(opened(tried))
            except CorruptedError:
                faults["refused"] += 1
                continue
            faults["repaired" if found == whole else "named"] += 1
            assert found.items() <= whole.items(), (damage, beside)
    assert sources >= {"the backup", None}


# Streams ------------------------------------------------------------------------------------------


def exported(seed, level):
    """A stream of several trees and chunks, and its content."""
    db = opened(disk_of(lived(seed).image))
    return b"".join(db.export(compression_level=level)), content(db)


def engines():
    """Something empty of each kind."""
    return [MemoryDatabase(), opened(SimulatedDisk())]


def check_refused(data, faults):
    for db in engines():
        with pytest.raises((CorruptedError, UnsupportedFormatError)) as caught:
            db.import_(io.BytesIO(data))
        if isinstance(caught.value, CorruptedError):
            assert caught.value.file == "stream"
            assert 0 <= caught.value.offset <= len(data)
        assert content(db) == {DEFAULT_TREE: []}, "a part of it stayed"
        faults["refused"] += 1


@pytest.mark.slow
@pytest.mark.parametrize("level", [0, 3])
def test_no_damaged_stream_is_taken(level, faults):
    data, whole = exported(3, level)
    image = {"log-00000001": data}
    for damage in [*flips(image, every=EVERY), *cuts(image, every=EVERY)]:
        check_refused(damage(image)["log-00000001"], faults)
    check_refused(data + b"\0", faults)
    for db in engines():
        db.import_(io.BytesIO(data))
        assert content(db) == whole


def chunks_of(data):
    """The header, and each chunk."""
    reader, chunks = io.BytesIO(data), []
    chunks.append(reader.read(16))
    while head := reader.read(12):
        chunks.append(head + reader.read(int.from_bytes(head[:4])))
    return chunks


@pytest.mark.slow
def test_no_chunk_may_be_elsewhere(faults):
    data, strange = chunks_of(exported(3, 3)[0]), chunks_of(exported(4, 3)[0])
    assert len(data) > 5
    refused = partial(check_refused, faults=faults)
    for at in range(1, len(data)):
        refused(b"".join(data[:at] + data[at + 1 :]))
        refused(b"".join(data[: at + 1] + data[at:]))
        if at < len(strange) and strange[at] != data[at]:
            refused(b"".join([*data[:at], strange[at], *data[at + 1 :]]))
        if at + 1 < len(data):
            refused(b"".join([*data[:at], data[at + 1], data[at], *data[at + 2 :]]))
