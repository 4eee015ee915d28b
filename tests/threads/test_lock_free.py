"""Point reads and reads of a snapshot wait for nobody: with locks that tell whoever would."""

import threading
from contextlib import ExitStack

import pytest

from conduitstore.engine import Batch, embedded
from conduitstore.engine.embedded import forest
from conduitstore.engine.embedded.segment import Segment
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.testing.locks import Watched, forbidden, replaced_locks

pytestmark = pytest.mark.interpreted("it replaces the locks of modules")
TOTAL = 60
KEYS = [bytes([number]) for number in range(TOTAL)]
VALUES = {key: key * (50 if key[0] % 7 == 0 else 5) for key in KEYS}
SETTINGS = {
    "flush_every_ms": None,
    "leaf_entries_max": 4,
    "blob_bytes_min": 40,
    "cache_capacity_bytes": 1_200,  # Some leaves are in memory, most are not.
}


@pytest.fixture
def db():
    with replaced_locks(Watched):
        db = embedded.open("store", files=SimulatedDisk(), **SETTINGS)
        batch = Batch()
        for key, value in VALUES.items():
            batch.insert(db, key, value)
        db.apply_batch(batch)
        db.open_tree("other").insert(b"k", b"v")
        db.checkpoint()
        db.insert(KEYS[0], VALUES[KEYS[0]])  # One leaf is dirty.
        yield db
        db.close()


def point_reads(keyspace):
    """Every way to ask for one key."""
    other = keyspace.open_tree("other")
    for key, value in VALUES.items():
        assert keyspace.get(key) == value
        assert key in keyspace
        assert keyspace.contains_key(key)
        assert keyspace.get(key + b"absent") is None
        assert key + b"absent" not in keyspace
    assert other.get(b"k") == b"v"
    assert keyspace.current_count() == 0


def snapshot_reads(view):
    """And what a snapshot has beside them."""
    point_reads(view)
    assert list(view) == list(VALUES.items())
    assert list(view.range(KEYS[3], KEYS[40], reverse=True, limit=9)) == [
        (key, VALUES[key]) for key in KEYS[39:30:-1]
    ]
    items = view.range()
    assert next(items) == (KEYS[0], VALUES[KEYS[0]])
    assert items.next_back() == (KEYS[-1], VALUES[KEYS[-1]])
    assert len(list(reversed(items))) == TOTAL - 2
    assert list(view.scan_prefix(KEYS[5])) == [(KEYS[5], VALUES[KEYS[5]])]
    assert list(view.keys()) == KEYS
    assert view.get_many(KEYS) == list(VALUES.values())
    pairs = list(zip(KEYS, [*KEYS[1:], None], strict=True))
    assert view.ranges(pairs) == [[item] for item in VALUES.items()]
    assert (view.first()[0], view.last()[0]) == (KEYS[0], KEYS[-1])
    assert view.get_gt(KEYS[4])[0] == KEYS[5]
    assert view.get_lt(KEYS[4])[0] == KEYS[3]
    assert len(view) == TOTAL
    assert view.tree_names() == ["__default__", "other"]
    view.transaction(lambda tx: tx.get(KEYS[9]), read_only=True)


def locks_of(db):
    """Every lock of the store, wherever it hangs."""
    seen, todo, found = set(), [db], []
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Watched):
            found.append(one)
        elif type(one).__module__.startswith("conduitstore.engine"):
            todo += [
                getattr(one, n) for n in getattr(type(one), "__slots__", ()) if hasattr(one, n)
            ]
            todo += vars(one).values() if hasattr(one, "__dict__") else ()
    return found


def test_reads_take_no_lock(db):
    view = db.snapshot()
    with forbidden():
        point_reads(db)
        snapshot_reads(view)


def test_reads_wait_for_no_lock_that_is_held(db):
    """All of them at once, as no two commits or checkpoints ever hold them."""
    view, locks = db.snapshot(), locks_of(db)
    assert len(locks) >= 9
    with ExitStack() as held, forbidden():
        for lock in locks:
            assert lock.acquire(blocking=False)
            held.callback(lock.release)
        point_reads(db)
        snapshot_reads(view)


@pytest.mark.parametrize(
    ("write", "stop"),
    [
        (lambda db: db.open_tree("new").insert(b"k", b"v"), (forest.Forest, "_change_tree")),
        (lambda db: db.insert(KEYS[3], VALUES[KEYS[3]]), (forest.Forest, "_change")),
        (lambda db: db.checkpoint(), (Segment, "__init__")),
        (lambda db: db.compact(), (Segment, "load")),
        (lambda db: db.close(), (Segment, "__init__")),
        (lambda db: db.reserve_ids(1 << 30), (type(None), "a sync")),
    ],
    ids=["creation of a tree", "commit", "checkpoint", "rewrite", "close", "ceilings"],
)
def test_reads_wait_for_nobody_who_is_amid_something(db, monkeypatch, write, stop):
    there, on, stopped = threading.Event(), threading.Event(), []
    view, (where, name) = db.snapshot(), stop

    def wait():
        if threading.current_thread() is writer and not stopped:
            stopped.append(name)
            there.set()
            assert on.wait(20)

    do = getattr(where, name, None)

    def stopping(*args):
        wait()
        return do(*args)

    if name == "a sync":
        db.directory._disk.fail = lambda operation, _name: wait() if operation == "sync" else None
    else:
        monkeypatch.setattr(where, name, stopping)
    writer = threading.Thread(target=write, args=(db,))
    writer.start()
    assert there.wait(20)
    with forbidden():
        point_reads(db)
        snapshot_reads(view)
    on.set()
    writer.join()


def test_who_takes_one_is_found_out(db):
    with forbidden(), pytest.raises(AssertionError, match="where none may be"):
        db.range()  # Which freezes the tree, under the apply lock.
    with forbidden(), pytest.raises(AssertionError, match="where none may be"):
        db.insert(b"k", b"v")
    assert db.get(KEYS[0]) == VALUES[KEYS[0]]
