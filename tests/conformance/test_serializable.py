"""Transactions of several threads end as if they had run one after the other."""

import random
import sys
import threading

import pytest


@pytest.fixture(autouse=True)
def _switch_often():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(interval)


def in_threads(total, job):
    threads = [threading.Thread(target=job, args=(number,)) for number in range(total)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_that_read_what_the_other_writes_are_not_both_right(db, tree):
    """Write skew: somebody has to be on call, and each of two leaves while the other is there."""
    for _ in range(50):
        for name in (b"a", b"b"):
            tree.insert(name, b"on call")

        def leave(number):
            def run(tx):
                t = tx.open_tree("key_value")
                if sum(value == b"on call" for _, value in t) == 2:
                    t.insert(b"ab"[number : number + 1], b"gone")

            db.transaction(run)

        in_threads(2, leave)
        assert sorted(value for _, value in tree) == [b"gone", b"on call"]


def test_no_entry_appears_behind_a_range_that_was_counted(db, tree):
    """Phantoms: each takes a seat if the range it counts is not full."""

    def sit_down(number):
        def run(tx):
            t = tx.open_tree("key_value")
            if len(list(t.scan_prefix(b"seat"))) < 10:
                t.insert(b"seat" + bytes([number]), b"taken")

        for _ in range(4):
            db.transaction(run)

    in_threads(8, sit_down)
    assert len(tree) <= 10
    in_threads(8, lambda number: sit_down(number + 100))
    assert len(tree) == 10


def test_a_total_over_two_trees_is_the_same_in_every_transaction(db):
    """Amounts move between accounts of two trees, singly and in nested transactions."""
    accounts = [(tree, bytes([number])) for tree in ("left", "right") for number in range(4)]
    for tree, key in accounts:
        db.open_tree(tree).insert(key, (100).to_bytes(4))
    totals = set()

    def total(tx):
        trees = [tx.open_tree("left"), tx.open_tree("right")]
        return sum(int.from_bytes(value) for tree in trees for _, value in tree)

    def move(tx, source, target, amount):
        one, other = tx.open_tree(source[0]), tx.open_tree(target[0])
        has = int.from_bytes(one.get(source[1]))
        one.insert(source[1], (has - min(amount, has)).to_bytes(4))
        has_other = int.from_bytes(other.get(target[1]))
        other.insert(target[1], (has_other + min(amount, has)).to_bytes(4))

    def work(number):
        chance = random.Random(number)
        for _ in range(60):
            source, target = chance.sample(accounts, 2)
            amount = chance.randrange(60)

            def run(tx, source=source, target=target, amount=amount):
                totals.add(total(tx))
                tx.transaction(lambda inner: move(inner, source, target, amount))
                totals.add(total(tx))

            db.transaction(run)
            totals.add(db.transaction(total, read_only=True))

    in_threads(4, work)
    assert totals == {800}


def test_a_count_that_is_rolled_back_is_never_visible_and_never_comes_again(db, tree):
    seen, drawn, stop = set(), [], threading.Event()

    def look():
        while not stop.is_set():
            with db.snapshot() as view:
                seen.update((db.current_count(), view.current_count()))
            seen.add(db.transaction(lambda tx: tx.current_count(), read_only=True))

    def draw(tx):
        drawn.append(tx.next_count())
        tx.open_tree("key_value").insert(b"count", drawn[-1].to_bytes(8))
        if len(drawn) % 3:
            raise ZeroDivisionError

    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(150):
        try:
            db.transaction(draw)
        except ZeroDivisionError:
            continue
    stop.set()
    watcher.join()
    assert len(set(drawn)) == 150
    kept = {count for number, count in enumerate(drawn, 1) if number % 3 == 0}
    assert seen <= kept | {0}
    assert db.current_count() == max(kept) == int.from_bytes(tree.get(b"count"))


def test_whatever_a_nested_transaction_did_is_undone_with_it(db, tree):
    """Merges and the name of their operator, increments, pops, ranges removed, batches, counts."""
    for number in range(10):
        tree.insert(bytes([number]), b"old")
    tree.set_merge_operator(lambda _key, old, operand: (old or b"") + operand, name="append")
    before, ids = list(tree), []

    def inner(tx):
        t = tx.open_tree("key_value")
        t.merge(b"m", b"1")
        t.increment(b"n")
        t.pop_min()
        t.pop_max()
        t.remove_prefix(b"\x05")
        t.update_and_fetch(b"\x06", lambda _: None)
        t.compare_and_swap(b"\x07", b"old", b"new")
        tx.open_tree("another").clear()
        tx.next_count()
        ids.append(tx.generate_id())
        raise ZeroDivisionError

    def outer(tx):
        with pytest.raises(ZeroDivisionError):
            tx.transaction(inner)
        assert list(tx.open_tree("key_value")) == before
        assert list(tx.open_tree("key_value").range(reverse=True)) == before[::-1]
        assert tx.tree_names() == ["__default__", "key_value"]
        assert tx.current_count() == 0
        ids.append(tx.generate_id())

    sequence = db.sequence
    db.transaction(outer)
    assert db.sequence == sequence
    assert list(tree) == before
    assert ids[0] != ids[1]
