"""How leaves change: in place or by a copy, and with nothing read while a commit is applied."""

import random

import pytest

from conduitstore.engine import Batch, embedded
from conduitstore.testing.disk import SimulatedDisk


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk):
    return embedded.open(
        "store",
        files=disk,
        flush_every_ms=None,
        leaf_entries_max=4,
        cache_capacity_bytes=0,
    )


def test_a_commit_empties_a_leaf_and_then_writes_where_it_was(disk):
    """Were the leaf gone at once, the key would fall into its neighbour, which nobody has read."""
    db = open_on(disk)
    keys = [bytes([number]) for number in range(40)]
    for key in keys:
        db.insert(key, b"old")
    db.checkpoint()
    for begin in range(4, 12):
        batch, gone = Batch(), keys[begin : begin + 8]
        for key in gone:
            batch.remove(db, key)
        db.apply_batch(batch.insert(db, gone[3] + b"new", b"1"))
        assert [key for key, _ in db] == sorted({*keys, gone[3] + b"new"} - {*gone})
        db.remove(gone[3] + b"new")
        for key in gone:
            db.insert(key, b"old")
        db.checkpoint()
    disk.kill()
    with open_on(disk) as db:
        assert [key for key, _ in db] == keys


def test_random_commits_with_nothing_in_memory(disk):
    chance = random.Random(3)
    db, expected = open_on(disk), {}
    for number in range(400):
        batch = Batch()
        for _ in range(chance.randrange(12)):
            key = bytes([chance.randrange(60)])
            if chance.random() < 0.6:
                batch.remove(db, key)
                expected.pop(key, None)
            else:
                batch.insert(db, key, str(number).encode())
                expected[key] = str(number).encode()
        db.apply_batch(batch)
        if chance.random() < 0.5:
            db.checkpoint()
        if chance.random() < 0.1:
            disk.kill()
            db = open_on(disk)
        assert list(db) == sorted(expected.items())
    db.close()


# In place, or a copy ------------------------------------------------------------------------------


@pytest.fixture
def db():
    with embedded.open(
        "store", files=SimulatedDisk(), flush_every_ms=None, leaf_entries_max=16
    ) as db:
        for number in range(100):
            db.insert(bytes([number]), b"old")
        yield db


def is_copied(db):
    """Whether one write puts another leaf in the place of the old one."""
    before = db.forest.roots[db.tree_id]
    db.insert(b"\x05", b"new")
    return db.forest.roots[db.tree_id] is not before


def page(tree):
    return tree.range(b"\x05", limit=3)


def walk(tree):
    return tree.range(b"\x05")


def here(look):
    return look


def in_transaction(look):
    return lambda db: db.transaction(look)


def in_failed_transaction(look):
    def run(db):
        kept = []

        def fail(tx):
            kept.append(look(tx))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            db.transaction(fail)
        return kept[0]

    return run


def in_closed_snapshot(look):
    def run(db):
        with db.snapshot() as view:
            return look(view)

    return run


WAYS = [here, in_transaction, in_failed_transaction, in_closed_snapshot]


@pytest.mark.parametrize("way", WAYS)
def test_a_leaf_is_copied_only_while_somebody_still_walks_it(db, way):
    look = way(walk)
    assert not is_copied(db)
    assert len(list(look(db))) == 95
    assert not is_copied(db)
    items = look(db)
    rest = reversed(look(db))
    assert is_copied(db)
    db.clear()
    assert [key for key, _ in items] == [bytes([number]) for number in range(5, 100)]
    assert len(list(rest)) == 95
    del items, rest
    db.insert(b"\x05", b"newer")
    assert not is_copied(db)


@pytest.mark.parametrize("way", WAYS)
def test_no_leaf_is_copied_for_a_page(db, way):
    """It has all of its entries when it is made, and nothing needs to be kept for it."""
    look = way(page)
    items, back = look(db), look(db)
    rest = reversed(look(db))
    assert not is_copied(db)
    db.clear()
    wanted = [(bytes([number]), b"old") for number in (5, 6, 7)]
    assert list(items) == wanted
    assert back.next_back() == wanted[2]
    assert list(rest) == wanted[::-1]


def test_a_leaf_is_copied_only_while_somebody_has_a_snapshot(db):
    view = db.snapshot()
    tree = view.open_tree("__default__")
    assert is_copied(db)
    assert not is_copied(db), "the copy is nobody else's"
    assert view.get(b"\x05") == b"old"
    del view
    db.insert(b"\x05", b"newer")
    assert tree.get(b"\x05") == b"old"
    later = db.snapshot()
    assert is_copied(db)
    del tree, later
    assert not is_copied(db)


def test_many_looks_at_once_keep_each_its_own_state(db):
    looks = []
    for number in range(20):
        db.insert(b"n", bytes([number]))
        looks.append((db.range(b"n", limit=1), db.snapshot(), number))
        if number % 3 == 0:
            looks.pop(0)
    for items, view, number in looks:
        assert next(items) == (b"n", bytes([number]))
        assert view.get(b"n") == bytes([number])


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_copies_what_changes_behind_its_back(db, way):
    items = way(walk)(db)
    db.checkpoint()
    del items
    assert is_copied(db), "what lies in a segment never changes"
    assert not is_copied(db)


def test_a_small_leaf_joins_no_neighbour_that_would_have_to_be_read(disk):
    settings = {"flush_every_ms": None, "leaf_entries_max": 8, "cache_capacity_bytes": 1 << 20}
    keys = [bytes([number]) for number in range(24)]
    with embedded.open("store", files=disk, **settings) as db:
        for key in keys:
            db.insert(key, b"v")
    with embedded.open("store", files=disk, **settings) as db:
        before = db.stats().cache_loads_total
        for key in keys[1:8]:
            db.remove(key)
        assert db.stats().cache_loads_total == before + 1
        assert [key for key, _ in db] == keys[:1] + keys[8:]
