"""The engine in memory, where it differs from one that has a disk."""

import pytest

from conduitstore.engine.merge import MERGE_OPERATORS
from conduitstore.errors import InvalidArgumentError, PoisonedError
from conduitstore.testing import MemoryDatabase


def test_it_has_no_files_to_back_up():
    with pytest.raises(InvalidArgumentError, match="export it"):
        MemoryDatabase().backup("anywhere")


def test_a_commit_that_is_interrupted_half_way_is_never_seen(monkeypatch):
    db = MemoryDatabase()
    tree = db.open_tree("t")
    tree.insert(b"a", b"1")
    apply = db._apply

    def interrupted(tx):
        apply(tx)
        raise KeyboardInterrupt

    monkeypatch.setattr(db, "_apply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tree.insert(b"b", b"2")
    monkeypatch.undo()
    for call in (lambda: tree.get(b"a"), lambda: list(tree), lambda: tree.insert(b"c", b"3")):
        with pytest.raises(PoisonedError, match="open a new store"):
            call()


def test_the_name_of_an_operator_goes_with_its_tree():
    db = MemoryDatabase()
    db.transaction(lambda tx: db.operators.forget_name("t", tx))
    assert MERGE_OPERATORS not in db.tree_names(), "nothing is made to take something away"
    for name in ("t", "u"):
        db.open_tree(name).set_merge_operator(lambda _key, _old, operand: operand, "last")
        db.open_tree(name).merge(b"k", b"v")
    db.transaction(lambda tx: db.operators.forget_name("t", tx))
    assert [key for key, _ in db.open_tree(MERGE_OPERATORS)] == [b"u"]
