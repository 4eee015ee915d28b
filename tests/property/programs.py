"""The vocabulary of random lives: calls of a tree's methods, and programs for transactions.

Everything prints as it is written, so that a failing example reads like a story.
"""

from itertools import product
from typing import NamedTuple

from hypothesis import strategies as st

from conduitstore.engine import Batch
from conduitstore.errors import InvalidArgumentError, LaggedError
from conduitstore.kv import DEFAULT_TREE

# Few bytes, of which some sort at the ends: keys collide and are prefixes of each other.
ALPHABET = [0x00, 0x61, 0xFF]
ALL_KEYS = [bytes(key) for size in (1, 2, 3) for key in product(ALPHABET, repeat=size)]
KEYS = st.sampled_from(ALL_KEYS)
BOUNDS = st.none() | st.just(b"") | KEYS
PREFIXES = st.just(b"") | KEYS
VALUES = st.sampled_from([b"", b"1", b"22", bytes(7) + b"\xff", b"\xff" * 8, b"long" * 2_000])
TREES = st.sampled_from([DEFAULT_TREE, "a", "b"])
LIMITS = st.none() | st.integers(0, 8)
BACKS = st.lists(st.booleans(), max_size=4)  # Steps of an iterator: from the back?
SHORT = {"max_size": 6}
RANGES = st.lists(st.tuples(BOUNDS, BOUNDS), **SHORT)


class Undo(Exception):  # noqa: N818  # raised on purpose, it reports nothing
    """Leaves a transaction or a user's function."""


# User functions, by name, so that an example reads well.
def append(old):
    return (old or b"")[:20] + b"x"


def delete(_old):
    return None


def fail(_old):
    raise Undo


def merge_append(_key, old, operand):
    return (old or b"")[:20] + operand


def merge_delete(_key, old, operand):
    return None if old else operand


def merge_fail(_key, _old, _operand):
    raise Undo


UPDATES = st.sampled_from([append, delete, fail])
OPERATORS = st.sampled_from([merge_append, merge_delete, merge_fail])


class Call(NamedTuple):
    """A tree's method with its arguments."""

    method: str
    args: tuple = ()
    options: dict = {}  # noqa: RUF012  # never changed
    backs: tuple = ()
    turns: bool = False

    def __call__(self, tree):
        answer = getattr(tree, self.method)(*self.args, **self.options)
        if not hasattr(answer, "__next__"):
            return answer
        taken = [take(answer, back) for back in self.backs]
        return taken + list(reversed(answer) if self.turns else answer)


class Merge(NamedTuple):
    """A merge with an operator of its own, which the tree may refuse."""

    operator: object
    key: bytes
    operand: bytes

    def __call__(self, tree):
        tree.set_merge_operator(self.operator)
        return tree.merge(self.key, self.operand)


def take(items, back):
    return items.next_back() if back else next(items, None)


NO_BACKS, NO_TURN = st.just(()), st.just(False)


def call(method, *args, backs=NO_BACKS, turns=NO_TURN, **options):
    options = st.fixed_dictionaries(options)
    return st.builds(Call, st.just(method), st.tuples(*args), options, backs, turns)


def walk(method, *args, **options):
    ends = {"reverse": st.booleans(), "limit": LIMITS, "backs": BACKS, "turns": st.booleans()}
    return call(method, *args, **ends, **options)


_READS = st.one_of(
    call("get", KEYS),
    call("contains_key", KEYS),
    call("get_many", st.lists(KEYS, **SHORT)),
    call("first"),
    call("last"),
    call("get_lt", PREFIXES),
    call("get_gt", PREFIXES),
    call("__len__"),
)
_WALKS = st.one_of(
    walk("range", BOUNDS, BOUNDS),
    walk("scan_prefix", PREFIXES, start=BOUNDS),
    call("ranges", RANGES, reverse=st.booleans(), limit=LIMITS),
    call("keys", PREFIXES, reverse=st.booleans(), limit=LIMITS, start=BOUNDS),
)
_WRITES = st.one_of(
    call("insert", KEYS, VALUES),
    call("remove", KEYS),
    call("compare_and_swap", KEYS, st.none() | VALUES, st.none() | VALUES),
    call("update_and_fetch", KEYS, UPDATES),
    call("fetch_and_update", KEYS, UPDATES),
    call("increment", KEYS),
    call("pop_min"),
    call("pop_max"),
    call("remove_prefix", KEYS),
    call("clear"),
)


# Composites only for their short names: Hypothesis prints the strategies it draws from.
@st.composite
def reads(draw):
    return draw(_READS)


@st.composite
def walks(draw):
    return draw(_WALKS)


@st.composite
def writes(draw):
    return draw(_WRITES)


READS, WALKS, WRITES = reads(), walks(), writes()
MERGES = call("merge", KEYS, VALUES) | st.builds(Merge, OPERATORS, KEYS, VALUES)
BATCHES = st.lists(st.tuples(TREES, KEYS, st.none() | VALUES), max_size=12)


def batch_of(writes):
    batch = Batch()
    for tree, key, value in writes:
        _ = batch.remove(tree, key) if value is None else batch.insert(tree, key, value)
    return batch


def answer_of(fn, *args):
    """What ``fn`` gives or how it fails, comparable over engines."""
    try:
        return fn(*args)
    except (InvalidArgumentError, Undo) as error:
        return type(error)
    except LaggedError as error:
        return "lagged", error.missed_total


# Programs: what a transaction does ----------------------------------------------------------------


class On(NamedTuple):
    tree: str
    call: Call

    def run(self, tx, _life):
        return self.call(tx.open_tree(self.tree))


class Apply(NamedTuple):
    writes: list

    def run(self, tx, _life):
        tx.apply_batch(batch_of(self.writes))


class Draw(NamedTuple):
    def run(self, tx, _life):
        return tx.next_count(), tx.current_count()


class TakeId(NamedTuple):
    def run(self, tx, life):
        life.ids.append(tx.generate_id())


class Look(NamedTuple):
    def run(self, tx, _life):
        return tx.tree_names(), tx.current_count()


class Hold(NamedTuple):
    """Make an iterator now and walk it when the program ends."""

    tree: str

    def run(self, tx, life):
        life.held.append(tx.open_tree(self.tree).range())


class Nest(NamedTuple):
    steps: list
    fails: bool
    through_store: bool

    def run(self, tx, life):
        joined = life.store if self.through_store else tx
        return joined.transaction(lambda inner: run_program(self.steps, self.fails, inner, life))


class Life:
    """What a program needs beside its transaction: its store, and where to keep things."""

    def __init__(self, store):
        self.store, self.ids, self.held = store, [], []


SIMPLE_STEPS = st.one_of(
    st.builds(On, TREES, READS | WALKS),
    st.builds(On, TREES, WRITES),
    st.builds(On, TREES, MERGES),
    st.builds(Apply, BATCHES),
    st.builds(Draw),
    st.builds(TakeId),
    st.builds(Look),
    st.builds(Hold, TREES),
)
_STEPS = st.recursive(
    SIMPLE_STEPS,
    lambda steps: st.builds(Nest, st.lists(steps, **SHORT), st.booleans(), st.booleans()),
    max_leaves=10,
)


@st.composite
def programs(draw):
    return draw(st.lists(_STEPS, max_size=10))


PROGRAMS = programs()


def run_program(steps, fails, tx, life):
    answers = [answer_of(step.run, tx, life) for step in steps]
    if fails:
        raise Undo
    return answers
