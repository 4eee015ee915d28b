"""Any engine against the oracle: the same random life for both, and never a different answer.

The oracle remembers every commit, so that after a power cut the engine may stand at any commit it
had not yet called durable, but nowhere else and never between two.
"""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from programs import (
    ALL_KEYS,
    BACKS,
    BATCHES,
    BOUNDS,
    LIMITS,
    MERGES,
    PREFIXES,
    PROGRAMS,
    READS,
    TREES,
    VALUES,
    WALKS,
    WRITES,
    Life,
    answer_of,
    batch_of,
    run_program,
    take,
)

from conduitstore.engine.embedded import database
from conduitstore.engine.merge import MergeOperators
from conduitstore.engine.rows import Rows
from conduitstore.errors import LaggedError
from conduitstore.kv import DEFAULT_TREE
from conduitstore.testing import MemoryDatabase

SHRINK_SECONDS_MAX = 30
"""A failing life that is still long by then is shown as it is."""

# The oracle, with a memory ------------------------------------------------------------------------


class Historian(MemoryDatabase):
    """The memory engine, keeping a snapshot of every commit."""

    def __init__(self):
        super().__init__()
        self.history = {0: self.snapshot()}

    def _commit_writes(self, tx):
        super()._commit_writes(tx)
        self.history[self.sequence] = self.snapshot()

    def drop_tree(self, name):
        was_there = super().drop_tree(name)
        self.history[self.sequence] = self.snapshot()
        return was_there

    def come_back_at(self, sequence):
        """Forget every later commit."""
        content = content_of(self.history[sequence])
        self.trees = {name: Rows() for name in content}
        for name, items in content.items():
            self.trees[name].own().update(items)
        self._rows = self.trees[DEFAULT_TREE]
        self.sequence = sequence
        kept = (commit for commit in self.recent if commit[0] <= sequence)
        self.recent = deque(kept, maxlen=self.recent.maxlen)
        self.history = {number: old for number, old in self.history.items() if number <= sequence}


def content_of(view):
    return {name: list(view.open_tree(name)) for name in view.tree_names()}


class Machine(RuleBasedStateMachine):
    """Runs every step on ``db``, the engine under test, and on the oracle."""

    def __init__(self, harness):
        super().__init__()
        self.harness = harness
        self.oracle = Historian()
        self.ids = set()
        self.views, self.iterators, self.subscribers = [], [], []
        self.reader = None

    @initialize(
        checkpoint_log_bytes=st.sampled_from([1_000, 5_000, 1 << 20]),
        leaf_entries_max=st.sampled_from([4, 10]),  # Of 4, two leaves never become one again.
        blob_bytes_min=st.sampled_from([2, 4_096]),
        segment_bytes_target=st.sampled_from([1_000, 1 << 26]),
        cache_capacity_bytes=st.sampled_from([2_000, 1 << 28]),
        filled=TREES,
    )
    def open(self, checkpoint_log_bytes, leaf_entries_max, filled, **space):
        self.db = self.harness.open(
            leaf_entries_max=leaf_entries_max,
            flush_every_ms=None,
            checkpoint_log_bytes=checkpoint_log_bytes,
            idgen_persist_interval=10,
            **space,
        )
        self.fill(filled, 2, b"first", at_once=False)

    def both(self, fn):
        """Do ``fn`` to the engine and the oracle: they must agree."""
        answer, expected = answer_of(fn, self.db), answer_of(fn, self.oracle)
        assert answer == expected
        return answer

    def take_ids(self, ids):
        assert self.ids.isdisjoint(ids), "an id was given out twice"
        assert len(set(ids)) == len(ids), "an id was given out twice"
        self.ids.update(ids)

    # Single operations ----------------------------------------------------------------------
    @rule(tree=TREES, call=WRITES)
    def write(self, tree, call):
        self.both(lambda store: call(store.open_tree(tree)))

    @rule(tree=TREES, call=READS)
    def read(self, tree, call):
        self.both(lambda store: call(store.open_tree(tree)))

    @rule(tree=TREES, call=WALKS)
    def walk(self, tree, call):
        self.both(lambda store: call(store.open_tree(tree)))

    @rule(tree=TREES, call=MERGES)
    def merge(self, tree, call):
        self.both(lambda store: call(store.open_tree(tree)))

    @rule(tree=TREES, step=st.integers(1, 4), value=VALUES, at_once=st.booleans())
    def fill(self, tree, step, value, at_once):
        """Enough to split leaves."""
        keys = ALL_KEYS[::step]
        if at_once:
            self.apply_batch([(tree, key, value) for key in keys])
        else:
            for key in keys:
                self.both(lambda store, key=key: store.open_tree(tree).insert(key, value))

    @rule(tree=TREES, drops=st.booleans())
    def clear_or_drop(self, tree, drops):
        self.both(lambda store: store.drop_tree(tree) if drops else store.open_tree(tree).clear())

    @rule(total=st.integers(0, 25))
    def reserve_ids(self, total):
        self.take_ids([self.db.generate_id(), *self.db.reserve_ids(total)])

    # Many at once ---------------------------------------------------------------------------
    @rule(writes=BATCHES)
    def apply_batch(self, writes):
        self.both(lambda store: store.apply_batch(batch_of(writes)))

    @rule(steps=PROGRAMS, fails=st.booleans(), durability=st.sampled_from([None, "commit"]))
    def transaction(self, steps, fails, durability):
        sequence = self.db.sequence
        lives = {store: Life(store) for store in (self.db, self.oracle)}

        def run(store):
            life = lives[store]
            return store.transaction(
                lambda tx: run_program(steps, fails, tx, life), durability=durability
            )

        self.both(run)
        self.both(lambda store: [list(items) for items in lives[store].held])
        self.take_ids(lives[self.db].ids)
        if durability == "commit" and self.db.sequence > sequence:
            assert self.db.durable_sequence == self.db.sequence

    # Things held over time ------------------------------------------------------------------
    @rule()
    def take_snapshot(self):
        self.views.append((self.db.snapshot(), self.oracle.snapshot()))

    @precondition(lambda self: self.views)
    @rule(number=st.integers(0), tree=TREES, call=READS | WALKS, closes=st.booleans())
    def look_at_snapshot(self, number, tree, call, closes):
        view, expected = self.views[number % len(self.views)]
        self.compare(view, expected)
        assert call(view.open_tree(tree)) == call(expected.open_tree(tree))
        if closes:
            self.views.remove((view, expected))
            view.close()

    @rule(tree=TREES, lo=BOUNDS, hi=BOUNDS, reverse=st.booleans(), limit=LIMITS)
    def make_iterator(self, tree, lo, hi, reverse, limit):
        self.iterators.append(
            [
                store.open_tree(tree).range(lo, hi, reverse=reverse, limit=limit)
                for store in (self.db, self.oracle)
            ]
        )

    @precondition(lambda self: self.iterators)
    @rule(number=st.integers(0), backs=BACKS, turns=st.booleans())
    def step_iterator(self, number, backs, turns):
        pair = self.iterators[number % len(self.iterators)]
        for back in backs:
            assert take(pair[0], back) == take(pair[1], back)
        if turns:
            pair[:] = map(reversed, pair)

    @rule(tree=TREES, prefix=PREFIXES, capacity=st.sampled_from([1, 5, 65_536]))
    def watch(self, tree, prefix, capacity):
        self.subscribers.append(
            [
                store.open_tree(tree).watch_prefix(prefix, capacity=capacity)
                for store in (self.db, self.oracle)
            ]
        )

    @rule(tree=TREES, prefix=PREFIXES, back=st.integers(0, 60))
    def watch_what_was(self, tree, prefix, back):
        """From a commit on that may lie before a checkpoint, a kill or a power loss."""
        self.both(lambda store: store.open_tree(tree).name)
        since = max(0, self.db.sequence - back)
        if since + len(self.oracle.recent) < self.oracle.sequence:
            return  # The oracle has been through a power loss, or forgot.
        try:
            told = self.db.open_tree(tree).watch_prefix(prefix, since=since)
        except LaggedError:
            assert since < self.harness.told_since(self.db)
            return
        expected = self.oracle.open_tree(tree).watch_prefix(prefix, since=since)
        assert told.sequence == expected.sequence == since
        self.subscribers.append([told, expected])

    @precondition(lambda self: self.subscribers)
    @rule(number=st.integers(0), total=st.integers(1, 20))
    def read_events(self, number, total):
        pair = self.subscribers[number % len(self.subscribers)]
        for _ in range(total):
            event, expected = (answer_of(one.next, 0) for one in pair)
            assert event == expected
        assert pair[0].sequence == pair[1].sequence

    @rule(tree=TREES, call=READS | WALKS, closes=st.booleans())
    def look_read_only(self, tree, call, closes):
        """A second handle that only reads, kept over many steps, agrees once it is refreshed."""
        if self.reader is None:
            self.reader = self.harness.reader(self.db)
        elif hasattr(self.reader, "refresh"):
            self.reader.refresh()
        else:
            self.reader = self.harness.reader(self.db)
        self.compare(self.reader, self.oracle)
        assert call(self.reader.open_tree(tree)) == call(self.oracle.snapshot().open_tree(tree))
        if closes:
            self.reader.close()
            self.reader = None

    # Ends of a life -------------------------------------------------------------------------
    @rule(how=st.sampled_from(["checkpoint", "compact", "flush"]))
    def save(self, how):
        if how == "checkpoint":
            self.harness.checkpoint(self.db)
        elif how == "compact":
            self.both(lambda store: store.compact())
        else:
            assert self.db.flush() == self.db.durable_sequence == self.db.sequence

    def settle(self):
        """What was held belongs to the life that ends; its last answers are compared."""
        for iterators in self.iterators:
            assert list(iterators[0]) == list(iterators[1])
        for view, expected in self.views:
            self.compare(view, expected)
            view.close()
        while self.subscribers:
            self.read_events(0, 1_000)
            self.subscribers.pop(0)
        self.views, self.iterators = [], []
        self.reader = None
        assert self.db.checksum() == self.oracle.checksum()
        assert list(self.db.verify()) == []
        with MemoryDatabase() as copy:
            copy.import_(self.db.export())
            assert content_of(copy) == content_of(self.oracle)

    @rule(how=st.sampled_from(["reopen", "kill", "power_loss"]), seed=st.integers(0, 1 << 32))
    def end(self, how, seed):
        self.settle()
        durable = self.db.durable_sequence
        if how == "power_loss":
            self.db = self.harness.power_loss(self.db, seed)
            assert durable <= self.db.sequence <= self.oracle.sequence
            self.oracle.come_back_at(self.db.sequence)
        else:
            self.db = getattr(self.harness, how)(self.db)
        if how != "reopen":
            self.follow_count()
        self.oracle.operators = MergeOperators()

    def follow_count(self):
        """After an unclean end the count may have jumped ahead, but never back."""
        count = self.db.current_count()
        assert count >= self.oracle.visible_count
        if self.harness.counts_jump:
            assert count >= self.oracle.drawn_count
        self.oracle.visible_count = count
        self.oracle.drawn_count = max(count, self.oracle.drawn_count)

    # Always ---------------------------------------------------------------------------------
    @invariant()
    def agree(self):
        self.compare(self.db, self.oracle)
        assert self.db.durable_sequence <= self.db.sequence

    def compare(self, view, expected):
        assert content_of(view) == content_of(expected)
        assert view.sequence == expected.sequence
        assert view.current_count() == expected.current_count()

    def teardown(self):
        if hasattr(self, "db"):
            try:
                self.settle()
            finally:
                self.db.close()


@pytest.fixture(autouse=True)
def _shrink_for_seconds_not_for_minutes(monkeypatch):
    """Hypothesis has no setting for it, but keeps this name for whoever wants another bound."""
    monkeypatch.setattr(engine, "MAX_SHRINKING_SECONDS", SHRINK_SECONDS_MAX)


@pytest.mark.timeout(4 * settings.default.max_examples)
def test_every_life_goes_as_the_oracle_says(harness_class, request):
    total = settings.default.max_examples
    if "postgres" in request.node.callspec.id:  # Each call is a round trip, each life a new schema.
        total = max(1, total // 10)
    fewer = settings(settings.default, max_examples=total)
    run_state_machine_as_test(lambda: Machine(harness_class()), settings=fewer)


# Lives too rare to wait for -----------------------------------------------------------------------


@pytest.fixture
def life(harness):
    """A machine to call the rules of, one by one."""
    if not harness.loses_commits:
        pytest.skip("its power loss takes nothing back; servers are killed in tests/postgres")
    life = Machine(harness)
    life.open(
        checkpoint_log_bytes=1 << 20,
        leaf_entries_max=4,
        blob_bytes_min=4_096,
        segment_bytes_target=1 << 26,
        cache_capacity_bytes=1 << 28,
        filled="a",
    )
    yield life
    life.teardown()


def drop_undone_by_power_loss(life):
    """A tree with a history is dropped, and a power loss takes that back; then ask for it all."""
    life.save("flush")
    durable = life.db.sequence
    for seed in range(100):
        life.clear_or_drop("a", drops=True)
        life.end("power_loss", seed)
        if life.db.sequence == durable:
            break
        life.fill("a", 2, b"again", at_once=False)
        life.save("flush")
        durable = life.db.sequence
    assert "a" in life.db.tree_names()
    life.watch_what_was("a", b"", 60)
    life.read_events(0, 20)


def test_a_drop_that_a_power_loss_took_back_leaves_the_tree_its_history(life):
    drop_undone_by_power_loss(life)
    assert life.subscribers, "the engine still has the log, and so was asked"


def test_a_subscriber_who_is_told_less_than_there_was_is_caught(life, monkeypatch):
    monkeypatch.setattr(database, "events_of", lambda *_: [])
    with pytest.raises(AssertionError):
        drop_undone_by_power_loss(life)
    life.subscribers.clear()
