"""States go when nothing names them, and not a moment before, whoever writes meanwhile."""

import random
import threading
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore.codec.states import unpack_entries
from conduitstore.consistency import check
from conduitstore.errors import LaggedError
from conduitstore.upkeep import GcOptions, batches, states

# Enough that a difference is kept as one.
ALWAYS = {("t", str(n)): f"$always{n}" for n in range(40)}
EVENTS = [f"$e{n}" for n in range(6)]
NOW = GcOptions(young_counts=0)
DIFFS, HASHES = "shortstatehash_statediff", "statehash_shortstatehash"


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(batches, "BATCH_ROWS", 2)
    monkeypatch.setattr(states, "HASHES_AT_ONCE", 5)
    monkeypatch.setattr(states, "_LOOK_EACH", 2)


def name(store, event, content, near=None):
    """Save a state and name it, as a homeserver does: in one transaction."""

    def run(tx):
        old = None if near is None else tx.rooms.state.before(near)
        state = tx.rooms.state_compressor.save(ALWAYS | content, near=old)
        tx.rooms.state.set_before(event, state)

    store.transaction(run)


def content_of(store, state):
    pairs = unpack_entries(store.rooms.state_compressor.entries(state))
    keys = store.rooms.short.state_key_id_many([key for key, _ in pairs])
    found = dict(zip(keys, store.rooms.short.event_id_many([e for _, e in pairs]), strict=True))
    return {key: event for key, event in found.items() if key not in ALWAYS}


def assert_named(store, model):
    with store.snapshot() as view:
        for event, content in model.items():
            assert content_of(view, view.rooms.state.before(event)) == content


def assert_just_enough(store, model):
    """Each state that is there is named, or a layer of one that is; and all rules hold."""
    compressor, needed = store.rooms.state_compressor, set()
    for event in model:
        state = store.rooms.state.before(event)
        while state is not None and state not in needed:
            needed.add(state)
            state = compressor.diff(state).parent
    assert {int.from_bytes(key) for key, _ in store.db.open_tree(DIFFS)} == needed
    assert len(store.db.open_tree(HASHES)) == len(needed)
    with store.snapshot() as view:
        assert list(check(view.keyspace)) == []


CONTENTS = st.dictionaries(
    st.tuples(st.just("k"), st.sampled_from("abc")), st.sampled_from(["$1", "$2"]), max_size=3
)
EVENT = st.sampled_from(EVENTS)
MOVES = st.one_of(
    st.tuples(st.just("save"), EVENT, CONTENTS, EVENT),
    st.tuples(st.just("name"), EVENT, CONTENTS, EVENT),
    st.tuples(st.just("change"), EVENT, CONTENTS, EVENT),
    st.tuples(st.just("forget"), EVENT, CONTENTS, EVENT),
)


def move(store, model, kind, event, content, near):
    known = near if near in model else None
    if kind == "save":
        store.rooms.state_compressor.save(ALWAYS | content)
    elif kind == "name":
        name(store, event, content, known)
        model[event] = content
    elif kind == "forget":
        store.rooms.state.forget_before(event)
        model.pop(event, None)
    elif known is not None:

        def change(tx):
            state = tx.rooms.state_compressor.change(tx.rooms.state.before(known), content)
            tx.rooms.state.set_before(event, state)

        store.transaction(change)
        model[event] = model[known] | content


@given(st.lists(MOVES, max_size=12), st.lists(st.lists(MOVES, max_size=2), max_size=30))
def test_writers_between_any_two_batches_lose_nothing(before, between):
    with conduitstore.open(":memory:") as store:
        model, waiting = {}, iter(between)
        for one in before:
            move(store, model, *one)

        def meanwhile(_tree, _looked_at, _removed):
            for one in next(waiting, ()):
                move(store, model, *one)
            assert_named(store, model)

        states.collect(store.db, 0, meanwhile, dry_run=False)
        assert_named(store, model)
        store.gc(NOW)
        assert_named(store, model)
        assert_just_enough(store, model)


@pytest.mark.slow
def test_writers_in_threads_lose_nothing(open_store):
    models = [{} for _ in range(3)]
    errors = []

    def live(store, number):
        rng, model = random.Random(number), models[number]
        try:
            for _ in range(150):
                event = f"{rng.choice(EVENTS)}-{number}"
                kind = rng.choice(["save", "name", "name", "change", "forget"])
                content = {("k", rng.choice("ab")): rng.choice(["$1", "$2"])}
                move(store, model, kind, event, content, rng.choice([*model, event]))
        except BaseException as error:
            errors.append(error)
            raise

    with open_store() as store:
        threads = [threading.Thread(target=live, args=(store, n)) for n in range(3)]
        for thread in threads:
            thread.start()
        removed = 0
        while any(thread.is_alive() for thread in threads):
            removed += sum(one.removed for one in store.gc(NOW) if one.tree == DIFFS)
        for thread in threads:
            thread.join()
        removed += sum(one.removed for one in store.gc(NOW) if one.tree == DIFFS)
        assert errors == []
        assert removed > 0
        model = {event: content for each in models for event, content in each.items()}
        assert_named(store, model)
        assert_just_enough(store, model)


def test_a_state_found_by_its_hash_while_gc_runs_stays(open_store, monkeypatch):
    """The very moment: marked as dead, and named by somebody before it goes."""
    with open_store() as store:
        dead = store.rooms.state_compressor.save(ALWAYS)
        remove_all = states._remove_all

        def named_now(*args):
            name(store, "$e", {})
            return remove_all(*args)

        monkeypatch.setattr(states, "_remove_all", named_now)
        store.gc(NOW)
        assert store.rooms.state.before("$e") == dead
        assert_just_enough(store, {"$e": {}})


def test_a_state_that_becomes_a_layer_while_gc_runs_stays(open_store, monkeypatch):
    with open_store() as store:
        dead = store.rooms.state_compressor.save(ALWAYS)
        remove_all = states._remove_all

        def built_on_now(*args):
            store.transaction(
                lambda tx: tx.rooms.state.set_before(
                    "$e", tx.rooms.state_compressor.change(dead, {("k", "a"): "$1"})
                )
            )
            return remove_all(*args)

        monkeypatch.setattr(states, "_remove_all", built_on_now)
        store.gc(NOW)
        assert store.rooms.state_compressor.diff(store.rooms.state.before("$e")).parent == dead
        assert_just_enough(store, {"$e": {("k", "a"): "$1"}})


def test_states_beyond_one_window_are_collected_in_more(open_store, monkeypatch):
    monkeypatch.setattr(states, "WINDOW_STATES", 4)
    with open_store() as store:
        model = {}
        for n in range(15):
            content = {("k", str(n)): "$1"}
            move(store, model, "name", f"$x{n}", content, f"$x{n - 1}")
            if n % 4 != 1:
                move(store, model, "forget", f"$x{n}", {}, "")
        store.gc(NOW)
        assert_named(store, model)
        assert_just_enough(store, model)


def test_a_watch_that_lags_begins_again(open_store, monkeypatch):
    needed, lagging = states.Watch.needed, [True, True]

    def lag(watch, tx):
        if lagging:
            lagging.pop()
            raise LaggedError(5)
        return needed(watch, tx)

    monkeypatch.setattr(states.Watch, "needed", lag)
    with open_store() as store:
        for n in range(5):
            store.rooms.state_compressor.save({("k", str(n)): "$1"})
        store.gc(NOW)
        assert lagging == []
        assert_just_enough(store, {})


def test_young_states_stay(open_store):
    with open_store() as store:
        old = store.rooms.state_compressor.save({("k", "a"): "$1"})
        for _ in range(20):
            store.transaction(lambda tx: tx.globals.draw())
        young = store.rooms.state_compressor.save({("k", "a"): "$2"})
        store.gc(GcOptions(young_counts=10))
        assert not store.rooms.state_compressor.exists(old)
        assert store.rooms.state_compressor.exists(young)
        store.gc(GcOptions(young_counts=0))
        assert not store.rooms.state_compressor.exists(young)


def test_marks():
    marks = states.Marks(array("Q", [3, 5, 8]))
    for number in (None, 0, 1, 4, 5, 9, 1 << 70):
        marks.add(number)
    assert list(marks.dead()) == [8, 3]
    assert 5 in marks
