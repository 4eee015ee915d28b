"""Every derived tree can be lost and made again, by whatever route, beside writers and crashes."""

import pytest
from lived import ROOM, WHOLE, live
from parts.upkeeps import contents

import conduitstore
from conduitstore.consistency import check
from conduitstore.demo.history import History
from conduitstore.demo.replay import replay
from conduitstore.errors import InvalidArgumentError
from conduitstore.parts.holder import Parts
from conduitstore.schema import TREES
from conduitstore.upkeep import batches, derived_events, rebuild
from conduitstore.upkeep.rebuild import REBUILDS

DERIVED = sorted(REBUILDS)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(batches, "BATCH_ROWS", 7)
    monkeypatch.setattr(derived_events, "POSITIONS_AT_ONCE", 2)


@pytest.fixture
def db():
    with conduitstore.open(":memory:") as store:
        store.transaction(live)
        yield store.db


@pytest.fixture(scope="module")
def corpus():
    with conduitstore.open(":memory:") as store:
        list(replay(store, History()))
        yield store.db


def test_every_derived_tree_can_be_rebuilt():
    assert sorted(name for name, tree in TREES.items() if tree.worth == "derived") == DERIVED


@pytest.mark.parametrize("tree", DERIVED)
def test_a_tree_that_is_right_stays_untouched(db, tree):
    sequence = db.sequence
    assert rebuild(db, tree) == 0
    assert db.sequence == sequence


@pytest.mark.parametrize("tree", DERIVED)
def test_a_lost_tree_comes_back_as_it_was(db, tree):
    before = contents(db, tree)
    assert before
    db.open_tree(tree).clear()
    assert rebuild(db, tree) == len(before)
    assert contents(db, tree) == before


@pytest.mark.slow
def test_on_postgresql_they_come_back_too(emptied_schema):
    """One store for all: on a server, to live takes longer."""
    emptied_schema.empty()
    with conduitstore.open(emptied_schema.dsn, **emptied_schema.settings) as store:
        store.transaction(live)
        for tree in DERIVED:
            before = contents(store.db, tree)
            assert rebuild(store.db, tree) == 0
            store.db.open_tree(tree).clear()
            assert rebuild(store.db, tree) == len(before) > 0
            assert contents(store.db, tree) == before
        with store.snapshot() as view:
            assert list(check(view.keyspace)) == []


@pytest.mark.parametrize("tree", DERIVED)
def test_a_lost_tree_of_the_corpus_comes_back(corpus, tree, monkeypatch):
    monkeypatch.setattr(batches, "BATCH_ROWS", 1_000)
    before = contents(corpus, tree)
    corpus.open_tree(tree).clear()
    assert rebuild(corpus, tree) == len(before)
    assert contents(corpus, tree) == before


@pytest.mark.parametrize("tree", DERIVED)
def test_rubbish_and_wrong_rows_go(db, tree):
    before = contents(db, tree)
    rows = db.open_tree(tree)
    for key, value in list(rows)[::2]:
        rows.insert(key, b"wrong" if value != b"" else b"x")
        rows.insert(key[:-1] + b"~", value)
    rows.insert(b"\xff", b"\xff")
    rows.insert(b"x" * 1_000, b"")
    assert rebuild(db, tree) > 0
    assert contents(db, tree) == before


@pytest.mark.parametrize("tree", DERIVED)
def test_a_run_that_died_is_finished_by_the_next(db, tree):
    before = contents(db, tree)
    db.open_tree(tree).clear()
    commits = 1
    while True:
        try:
            with DyingAfter(db, commits) as dying:
                rebuild(dying, tree)
            break
        except KeyboardInterrupt:
            commits += 3
    assert contents(db, tree) == before


class DyingAfter:
    """A store whose process dies after so many commits."""

    def __init__(self, db, commits):
        self.db, self.left = db, commits

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def transaction(self, fn, **options):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= not options.get("read_only", False)
        return self.db.transaction(fn, **options)


def test_what_is_rebuilt_breaks_no_rule(db):
    for tree in DERIVED:
        if tree != "userroomid_joined":  # It and its mirror follow from each other.
            db.open_tree(tree).clear()
            rebuild(db, tree)
    with db.snapshot() as view:
        assert list(check(view)) == []


@pytest.mark.parametrize("tree", ["pduid_pdu", "roomid_shortroomid", "global"])
def test_what_follows_from_nothing_is_refused(db, tree):
    with pytest.raises(InvalidArgumentError, match="nothing to rebuild"):
        rebuild(db, tree)
    with pytest.raises(InvalidArgumentError, match="no such tree"):
        rebuild(db, "nosuchtree")


def test_extremities_are_what_nothing_names(db):
    leaves = db.open_tree("roomid_pduleaves")
    before = list(leaves)
    leaves.clear()
    rebuild(db, "roomid_pduleaves")
    assert list(leaves) == before
    assert list(leaves.keys(WHOLE.encode())) == [WHOLE.encode() + b"\xff$w99"]
    assert len(list(leaves.keys(ROOM.encode() + b"\xff"))) == 10  # Nothing there names another.


def test_files_whose_kind_nobody_knows_are_kept_longest(db):
    for tree in ("kindaccessedfilehash_size", "kindcreatedfilehash_size", "mediakind_usage"):
        db.open_tree(tree).clear()
    for tree in ("kindaccessedfilehash_size", "kindcreatedfilehash_size", "mediakind_usage"):
        assert rebuild(db, tree) > 0
    kinds = {key.partition(b"\xff")[0] for key, _ in db.open_tree("kindcreatedfilehash_size")}
    assert kinds == {b"local", b"thumbnail"}
    with db.snapshot() as view:
        assert list(check(view)) == []


def test_what_only_gone_events_named_stays_referenced(db):
    """Retention takes the events that named others; a rebuild finds no fault with what is left."""
    parts = Parts(db)
    referenced = len(db.open_tree("referencedevents"))
    assert parts.rooms.retention.purge(WHOLE, 1 << 60).total > 3
    assert b"\0" * 8 in [value for _, value in db.open_tree("referencedevents")]
    assert len(db.open_tree("referencedevents")) < referenced
    for tree in DERIVED:
        assert rebuild(db, tree) == 0, tree


def test_a_relation_that_points_nowhere_is_found(db):
    relations = db.open_tree("tofrom_relation")
    before = list(relations)
    for position in (3, 1 << 40, 1 << 41):
        relations.insert(position.to_bytes(8) + before[0][0][8:], b"")
    assert rebuild(db, "tofrom_relation") == 3
    assert list(relations) == before
