"""What is still there after a close, a checkpoint, a killed process and a power cut."""

import pytest

from conduitstore.kv import DEFAULT_TREE

ENDS = ["reopen", "kill"]


def content(db):
    return {name: list(db.open_tree(name)) for name in db.tree_names()}


def fill(db):
    """Something of everything: several trees, one empty, values of all sizes, a removed key."""
    for number in range(60):
        db.open_tree("a").insert(bytes([number]), bytes([number]) * number)
    db.insert(b"\xff" * 2_048, bytes(100_000))
    db.insert(b"empty", b"")
    db.open_tree("b")
    db.open_tree("a").remove(b"\x07")
    db.open_tree("dropped").insert(b"a", b"1")
    db.drop_tree("dropped")
    for _ in range(3):
        db.transaction(lambda tx: tx.next_count())


@pytest.fixture(params=[False, True], ids=["log", "checkpoint"])
def filled(request, harness):
    """A store with content, all of it in the log or most of it in a checkpoint."""
    db = harness.open()
    fill(db)
    if request.param:
        harness.checkpoint(db)
    db.insert(b"last", b"1")
    return db


@pytest.mark.parametrize("end", ENDS)
def test_everything_acknowledged_is_still_there(harness, filled, end):
    before, sequence, checksum = content(filled), filled.sequence, filled.checksum()
    with getattr(harness, end)(filled) as db:
        assert content(db) == before
        assert db.tree_names() == [DEFAULT_TREE, "a", "b"]
        assert db.sequence == sequence
        assert db.checksum() == checksum


def test_everything_durable_survives_a_power_cut(harness, filled):
    filled.flush()
    before, sequence = content(filled), filled.sequence
    for seed in range(5):
        filled = harness.power_loss(filled, seed)
        assert content(filled) == before
        assert filled.sequence == sequence
    filled.close()


def test_a_power_cut_leaves_a_prefix_of_history(harness):
    db = harness.open()
    for seed in range(10):
        db.clear()
        for number in range(10):
            db.insert(bytes([number]), bytes(50))
            if number == 4:
                db.flush()
        db = harness.power_loss(db, seed)
        keys = [key[0] for key, _ in db]
        assert keys == list(range(len(keys)))
        assert len(keys) >= 5
    db.close()


def test_a_commit_asked_to_be_durable_survives_with_all_before_it(harness):
    db = harness.open()
    db.insert(b"before", b"1")
    db.transaction(lambda tx: tx.insert(b"a", b"1"), durability="commit")
    with harness.power_loss(db) as db:
        assert list(db) == [(b"a", b"1"), (b"before", b"1")]


@pytest.mark.parametrize("end", [*ENDS, "power_loss"])
def test_counts_never_go_back(harness, filled, end):
    db = filled
    for _ in range(3):
        seen = db.transaction(lambda tx: tx.next_count())
        db = getattr(harness, end)(db)
        assert db.current_count() >= seen
        assert db.transaction(lambda tx: tx.next_count()) > seen
    db.close()


def test_a_clean_close_leaves_no_gap_in_counts_and_ids(harness, filled):
    next_id, count = filled.generate_id() + 1, filled.current_count()
    with harness.reopen(filled) as db:
        assert db.current_count() == count
        assert db.transaction(lambda tx: tx.next_count()) == count + 1
        assert db.generate_id() == next_id


@pytest.mark.parametrize("end", [*ENDS, "power_loss"])
def test_ids_never_repeat(harness, filled, end):
    db, taken = filled, []
    for _ in range(4):
        taken += [db.generate_id(), *db.reserve_ids(3), db.transaction(lambda tx: tx.generate_id())]
        db = getattr(harness, end)(db)
    db.close()
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize("end", ENDS)
def test_a_drawn_count_is_not_reused_though_its_transaction_failed(harness, end):
    drawn = []

    def run(tx):
        drawn.append(tx.next_count())
        raise ZeroDivisionError

    db = harness.open()
    with pytest.raises(ZeroDivisionError):
        db.transaction(run)
    db.insert(b"a", b"1")
    with getattr(harness, end)(db) as db:
        assert db.transaction(lambda tx: tx.next_count()) not in drawn


@pytest.mark.parametrize("end", ENDS)
def test_a_dropped_tree_stays_dropped(harness, end):
    db = harness.open()
    db.open_tree("a").insert(b"old", b"1")
    harness.checkpoint(db)
    db.drop_tree("a")
    db = getattr(harness, end)(db)
    assert db.tree_names() == [DEFAULT_TREE]
    db.open_tree("a").insert(b"new", b"1")
    with getattr(harness, end)(db) as db:
        assert list(db.open_tree("a")) == [(b"new", b"1")]


def test_writing_goes_on_after_each_end(harness):
    db, wanted = harness.open(), {}
    for round_number, end in enumerate([*ENDS, "power_loss"] * 3):
        for number in range(30):
            key, value = bytes([number * 7 % 30]), bytes([round_number])
            db.insert(key, value)
            wanted[key] = value
        if round_number % 2:
            harness.checkpoint(db)
        db.flush()
        db = getattr(harness, end)(db)
        assert list(db) == sorted(wanted.items())
    db.close()


def test_a_checkpoint_changes_nothing_that_can_be_seen(harness, filled):
    before, sequence = content(filled), filled.sequence
    items, view = filled.range(), filled.snapshot()
    subscriber = filled.watch_prefix(b"")
    harness.checkpoint(filled)
    assert content(filled) == before
    assert filled.sequence == sequence
    filled.clear()
    harness.checkpoint(filled)
    assert list(items) == before[DEFAULT_TREE] == list(view)
    assert len([*iter(lambda: subscriber.next(timeout=0), None)]) == len(before[DEFAULT_TREE])
    view.close()
    filled.close()


def test_only_an_unclean_end_is_a_recovery(harness, filled):
    if not harness.is_persistent:
        pytest.skip("a store in memory has no recovery")
    db = harness.reopen(filled)
    assert not db.was_recovered
    db.insert(b"a", b"1")
    db = harness.kill(db)
    assert db.was_recovered
    with harness.reopen(db) as db:
        assert not db.was_recovered
