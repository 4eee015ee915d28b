"""Every derived tree can be lost and made again, by whatever route, beside writers and crashes."""

import pytest
from lived import ROOM, WHOLE, live

import conduitstore
from conduitstore.consistency import check
from conduitstore.demo.history import History
from conduitstore.demo.replay import replay
from conduitstore.errors import InvalidArgumentError
from conduitstore.schema import TREES
from conduitstore.upkeep import batches, rebuild
from conduitstore.upkeep.rebuild import REBUILDS

# Trees that nothing rebuilds yet. This only ever shrinks.
_MISSING = """
    aliasid_alias eventid_relatingpduid expiresms_mediaid filehash_servername_mediaid
    filehash_thumbnailid kindaccessedfilehash_size kindcreatedfilehash_size mediakind_usage
    referencedevents refreshtoken_userdeviceid relatesto_typed roomid_mindepth
    roomid_tscount_pducount servername_userlocalpart_mediaid spentrefresh_userdeviceid
    threadactivityid_rootid threadid_userids threadrootid_latestcount tofrom_relation tokenids
    userid_pending
"""
MISSING = sorted(_MISSING.split())
DERIVED = sorted(REBUILDS)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(batches, "BATCH_ROWS", 7)


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


def contents(db, tree):
    """The rows of a tree; the order of one-time keys is nothing that can be made again."""
    shape = TREES[tree].key
    with db.snapshot() as view:
        items = list(view.open_tree(tree))
    if tree != "onetimekeyuploads":
        return items
    cut = [shape.cut(key) if key.count(b"\xff") == 4 else key for key, _ in items]
    return sorted((fields[:3], fields[4]) if len(fields) == 5 else fields for fields in cut)


def test_every_derived_tree_can_be_rebuilt_or_is_named_as_missing():
    derived = sorted(name for name, tree in TREES.items() if tree.worth == "derived")
    assert sorted([*REBUILDS, *MISSING]) == derived


@pytest.mark.parametrize("tree", MISSING)
def test_a_missing_rebuild_is_refused_and_changes_nothing(db, tree):
    sequence = db.sequence
    with pytest.raises(InvalidArgumentError, match="nothing rebuilds it yet"):
        rebuild(db, tree)
    assert db.sequence == sequence


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
