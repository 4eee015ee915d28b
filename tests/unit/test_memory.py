"""The engine in memory, where it differs from one that has a disk."""

import pytest

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
