"""What tests of the log ask: what was called, what its file has, what outlives an end."""

import copy

from conduitstore.engine import embedded
from conduitstore.engine.embedded import names

SETTINGS = {"flush_every_ms": None, "leaf_entries_max": 4}


def open_on(disk, **settings):
    return embedded.open("store", files=disk, **SETTINGS | settings)


def put(db, key, durability, value=b"1"):
    db.transaction(lambda tx: tx.insert(key, value), durability=durability)


def calls_of(disk, fn):
    """The operations on the log that ``fn`` makes."""
    seen = []
    disk.fail = lambda operation, name: seen.append(operation) if "log" in name else None
    fn()
    disk.fail = lambda _operation, _name: None
    return seen


def log_of(disk):
    """The newest log's file, as the disk has it."""
    name = names.of_kind(names.LOG, disk.directory("store").names())[-1][1]
    return disk.directory("store")._inode(name)


def keys_after(disk, strike):
    """Which keys there are once ``strike`` has hit a copy of the disk, and it is opened again."""
    other = copy.deepcopy(disk)
    strike(other)
    return [key for key, _ in open_on(other)]
