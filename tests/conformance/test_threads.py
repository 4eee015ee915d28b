"""Several threads at once: nothing lost, nothing torn, and counts appear in order."""

import sys
import threading

import pytest

from conduitstore.errors import ClosedError, InvalidArgumentError


@pytest.fixture(autouse=True)
def _switch_often():
    """Let threads take turns a thousand times as often as they would."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(interval)


def together(*jobs):
    """Run the jobs in threads of their own; the first error is raised here."""
    errors = []
    gate = threading.Barrier(len(jobs))

    def run(job):
        gate.wait()
        try:
            job()
        except BaseException as error:  # noqa: BLE001  # handed to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def times(total, job):
    return lambda: [job(number) for number in range(total)]


def test_increments_are_never_lost(tree):
    seen = []
    together(*[times(100, lambda _: seen.append(tree.increment(b"a")))] * 4)
    assert sorted(seen) == list(range(1, 401))
    assert int.from_bytes(tree.get(b"a")) == 400


def test_read_and_write_in_a_transaction_is_never_lost(db, tree):
    def deposit(tx):
        t = tx.open_tree("key_value")
        t.insert(b"a", str(int(t.get(b"a") or b"0") + 1).encode())

    together(*[times(100, lambda _: db.transaction(deposit))] * 3)
    assert tree.get(b"a") == b"300"


def test_one_compare_and_swap_wins(tree):
    winners = []
    together(
        *[
            lambda name=name: (
                tree.compare_and_swap(b"a", None, name) is None and winners.append(name)
            )
            for name in (b"1", b"2", b"3", b"4")
        ]
    )
    assert winners == [tree.get(b"a")]


def test_ids_are_unique_over_threads(db):
    taken = []

    def take(number):
        taken.append(db.generate_id())
        taken.extend(db.reserve_ids(number % 3))
        taken.append(db.transaction(lambda tx: tx.generate_id()))

    together(*[times(60, take)] * 4)
    assert len(set(taken)) == len(taken) == 4 * (60 * 2 + 60)


def test_a_tree_is_created_once(db):
    sequence = db.sequence
    together(*[lambda: db.open_tree("new").increment(b"a")] * 4)
    assert db.sequence == sequence + 5
    assert int.from_bytes(db.open_tree("new").get(b"a")) == 4


def test_a_snapshot_never_shows_half_a_transaction(db, tree):
    """A writer keeps keys of two trees equal and their total in a third place."""
    other = db.open_tree("other")
    done = threading.Event()

    def write_one(number):
        value = str(number).encode()

        def run(tx):
            tx.open_tree("key_value").insert(b"a", value)
            tx.open_tree("key_value").insert(value, value)
            tx.next_count()
            tx.open_tree("other").insert(b"a", value)

        db.transaction(run)

    def write():
        try:
            times(300, write_one)()
        finally:
            done.set()

    def read():
        while not done.is_set():
            with db.snapshot() as view:
                one, two = view.open_tree("key_value"), view.open_tree("other")
                value = one.get(b"a")
                assert two.get(b"a") == value
                assert len(one) == (0 if value is None else int(value) + 2)
                assert view.current_count() == (0 if value is None else int(value) + 1)
            items = dict(tree.range())
            assert items.get(b"a") == items.get(max(items, default=b"", key=_number))
            first, second = tree.get_many([b"a", b"a"])
            assert first == second

    together(write, read, read)
    assert other.get(b"a") == b"299"


def _number(key):
    return -1 if key == b"a" else int(key)


def test_counts_become_visible_in_order(db, tree):
    """Once count N was seen, no count at or below N appears later."""
    done = threading.Event()

    def write():
        def run(tx):
            count = tx.next_count()
            tx.open_tree("key_value").insert(count.to_bytes(8), b"")
            if count % 7 == 0:
                raise ZeroDivisionError

        for _ in range(100):
            try:
                db.transaction(run)
            except ZeroDivisionError:
                continue

    def read():
        known = set()
        while not done.is_set():
            newest = db.current_count()
            below = {int.from_bytes(key) for key in tree.keys(b"")}
            assert known <= below
            known = {count for count in below if count <= newest}
            assert all(count in known for count in range(1, newest + 1) if count % 7)
            with db.snapshot() as view:
                last = view.open_tree("key_value").last()
                assert view.current_count() == (int.from_bytes(last[0]) if last else 0)

    def write_all():
        try:
            together(write, write, write)
        finally:
            done.set()

    together(write_all, read)
    assert len(tree) == 300 - 300 // 7


def test_others_read_on_during_a_transaction_and_see_nothing_of_it(db, tree):
    tree.insert(b"a", b"old")

    def read():
        assert tree.get(b"a") == b"old"
        assert tree.get_many([b"a", b"b"]) == [b"old", None]
        assert list(tree.range()) == [(b"a", b"old")]
        assert len(tree) == 1
        assert db.tree_names() == ["__default__", "key_value"]
        assert db.current_count() == 0
        assert isinstance(db.generate_id(), int)
        with db.snapshot() as view:
            assert list(view.open_tree("key_value")) == [(b"a", b"old")]
            assert view.current_count() == 0

    def run(tx):
        t = tx.open_tree("key_value")
        t.insert(b"a", b"new")
        t.insert(b"b", b"new")
        tx.open_tree("new")
        tx.next_count()
        together(read)

    db.transaction(run)
    assert tree.get(b"a") == b"new"


def test_other_writers_wait_for_a_transaction(db, tree):
    """The waiting increment is not lost, although the transaction read the value before it."""
    started = threading.Event()

    def increment():
        started.set()
        tree.increment(b"a")

    other = threading.Thread(target=increment)

    def run(tx):
        t = tx.open_tree("key_value")
        old = int.from_bytes(t.get(b"a") or b"")
        other.start()
        started.wait()
        t.insert(b"a", (old + 10).to_bytes(8))

    db.transaction(run)
    other.join()
    assert int.from_bytes(tree.get(b"a")) == 11


def test_an_iterator_is_stable_under_other_writers(tree):
    for number in range(200):
        tree.insert(number.to_bytes(2), b"old")
    wanted = list(tree)
    items, seen = tree.range(), []

    def rewrite(number):
        tree.insert(number.to_bytes(2), b"new")
        tree.remove((number * 3).to_bytes(2))

    together(times(200, rewrite), lambda: seen.extend(items))
    assert seen == wanted


def test_closing_beside_writers_ends_them_with_an_error(db, tree):
    """Each write is either acknowledged or refused; none hangs and none is half done."""
    ready = threading.Event()

    def write():
        for _ in range(1_000_000):
            tree.increment(b"a")
            ready.set()

    def close():
        ready.wait()
        db.close()

    with pytest.raises(ClosedError):
        together(write, close)


def test_a_transactions_handles_are_its_threads_alone(db):
    refused = []

    def use(tx, tree):
        for call in (
            lambda: tx.get(b"a"),
            lambda: tx.insert(b"a", b"1"),
            lambda: tx.open_tree("t"),
            tx.next_count,
            lambda: tree.get(b"a"),
            lambda: tree.insert(b"a", b"1"),
        ):
            try:
                call()
            except InvalidArgumentError as error:
                refused.append(str(error))

    def run(tx):
        other = threading.Thread(target=use, args=(tx, tx.open_tree("t")))
        other.start()
        other.join(20)
        tx.insert(b"a", b"mine")

    db.transaction(run)
    assert refused == ["a transaction belongs to the thread that runs it"] * 6
    assert (list(db), list(db.open_tree("t"))) == ([(b"a", b"mine")], [])
