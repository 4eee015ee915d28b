"""Ranges inside transactions that have written much: right, stable, also behind an undo."""

import random

import pytest


class Undo(Exception):  # noqa: N818  # raised on purpose, it reports nothing
    """Leaves a nested transaction."""


def walked(model, lo, hi, *, reverse, limit):
    found = [item for item in sorted(model.items()) if lo <= item[0] < hi]
    return (found[::-1] if reverse else found)[:limit]


class Life:
    """A transaction's tree and a dict that says what it holds; walks that go on meanwhile."""

    def __init__(self, tx, tree, model, chance):
        self.tx, self.tree, self.model, self.chance = tx, tree, model, chance
        self.walks = []

    def key(self):
        return self.chance.randbytes(self.chance.choice((1, 2)))

    def step(self, depth=0):
        what = self.chance.choices(("put", "remove", "range", "ends", "nest"), (50, 20, 12, 6, 1))[
            0
        ]
        getattr(self, what)(depth)

    def put(self, _depth):
        key, value = self.key(), self.chance.randbytes(3)
        assert self.tree.insert(key, value) == self.model.get(key)
        self.model[key] = value

    def remove(self, _depth):
        near = self.tree.get_gt(self.key())
        key = near[0] if near is not None else self.key()
        assert self.tree.remove(key) == self.model.pop(key, None)

    def range(self, _depth):
        lo, hi = self.key(), self.key()
        reverse, limit = self.chance.random() < 0.5, self.chance.choice((None, 1, 3, 200))
        expected = walked(self.model, lo, hi, reverse=reverse, limit=limit)
        items = self.tree.range(lo, hi, reverse=reverse, limit=limit)
        if self.chance.random() < 0.5:
            assert list(items) == expected
        else:
            self.walks.append((items, expected))
        if len(self.walks) > 3:
            items, expected = self.walks.pop(0)
            assert list(items) == expected, "a walk shows the moment it was made"

    def ends(self, _depth):
        keys = sorted(self.model)
        assert list(self.tree.keys()) == keys
        assert len(self.tree) == len(keys)
        assert (self.tree.first() or (None,))[0] == (keys[0] if keys else None)
        assert (self.tree.last() or (None,))[0] == (keys[-1] if keys else None)
        key = self.key()
        below, above = [k for k in keys if k < key], [k for k in keys if k > key]
        assert (self.tree.get_lt(key) or (None,))[0] == (below[-1] if below else None)
        assert (self.tree.get_gt(key) or (None,))[0] == (above[0] if above else None)

    def nest(self, depth):
        if depth == 2:
            return
        before, is_kept = self.model.copy(), self.chance.random() < 0.5

        def run(_tx):
            for _ in range(self.chance.randrange(120)):
                self.step(depth + 1)
            if not is_kept:
                raise Undo

        try:
            self.tx.transaction(run)
        except Undo:
            self.model = before


@pytest.mark.parametrize("seed", range(6))
def test_ranges_follow_what_is_written(db, tree, seed):
    chance = random.Random(seed)
    model = {chance.randbytes(2): b"before" for _ in range(300 * (seed % 3))}
    db.transaction(lambda tx: [tx.open_tree(tree.name).insert(*item) for item in model.items()])

    def run(tx):
        life = Life(tx, tx.open_tree(tree.name), model.copy(), chance)
        for _ in range(700):
            life.step()
        return life

    life = db.transaction(run)
    assert dict(iter(tree)) == life.model
    for items, expected in life.walks:
        assert list(items) == expected, "also behind the end of the transaction"


def test_a_tree_that_the_transaction_makes_is_walked_in_it(db):
    keys = [bytes([number]) for number in range(250)]

    def run(tx):
        tree = tx.open_tree("new")
        for key in reversed(keys):
            tree.insert(key, key)
        assert list(tree.range()) == [(key, key) for key in keys]
        assert list(tree.keys(reverse=True)) == keys[::-1]
        assert [key for key, _ in tree.range(b"\x05", b"\x09")] == keys[5:9]
        return len(tree)

    assert db.transaction(run) == 250
    assert [key for key, _ in db.open_tree("new")] == keys
