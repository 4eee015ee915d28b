"""Migrations: all checks first, each step whole or not at all."""

from types import ModuleType

import pytest

from conduitstore import engine
from conduitstore.errors import UnsupportedFormatError
from conduitstore.ladder import Migration, in_order, load_migrations
from conduitstore.migrate import LINEAGE, migrate
from conduitstore.parts.holder import Parts
from conduitstore.schema import TREES


@pytest.fixture
def db():
    with engine.open(":memory:") as db:
        yield db


def run(db, steps):
    migrate(db, Parts(db).globals, steps)


def stamped(db):
    globals_ = Parts(db).globals
    return globals_.lineage(), globals_.schema_version()


def step(number, upgrade=lambda _tx: None):
    return Migration(number, f"m{number:04}_test", upgrade)


FIRST = load_migrations()[0]


def module(name, upgrade=lambda _tx: None):
    made = ModuleType(f"conduitstore.migrations.{name}")
    made.upgrade = upgrade
    return made


def test_a_fresh_store_takes_every_step_and_has_every_tree(db):
    run(db, load_migrations())
    assert stamped(db) == (LINEAGE, len(load_migrations()))
    assert set(db.tree_names()) >= TREES.keys()


def test_a_store_that_is_up_to_date_is_not_written(db):
    run(db, load_migrations())
    before = db.sequence
    run(db, load_migrations())
    assert db.sequence == before


def test_only_missing_steps_run_in_order(db):
    ran = []
    steps = [FIRST, *(step(n, lambda _tx, n=n: ran.append(n)) for n in (2, 3, 4))]
    run(db, steps[:2])
    assert ran == [2]
    run(db, steps)
    assert ran == [2, 3, 4]
    assert stamped(db) == (LINEAGE, 4)


def test_a_step_that_fails_leaves_nothing_and_can_be_tried_again(db):
    def fail(tx):
        tx.open_tree("half").insert(b"k", b"v")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        run(db, [FIRST, step(2, fail)])
    assert stamped(db) == (LINEAGE, 1)
    assert "half" not in db.tree_names()
    run(db, [FIRST, step(2, lambda tx: tx.open_tree("whole").insert(b"k", b"v"))])
    assert db.open_tree("whole").get(b"k") == b"v"
    assert stamped(db) == (LINEAGE, 2)


def test_a_newer_schema_is_refused_with_both_numbers(db):
    run(db, [FIRST, step(2), step(3)])
    before = db.checksum()
    with pytest.raises(UnsupportedFormatError, match=r"version 3.*knows 1"):
        run(db, [FIRST])
    assert db.checksum() == before


def test_another_lineage_is_refused(db):
    db.open_tree("global").insert(b"lineage", b"otherproject")
    before = db.checksum()
    with pytest.raises(UnsupportedFormatError, match="otherproject"):
        run(db, load_migrations())
    assert db.checksum() == before


def test_a_version_without_lineage_is_another_projects(db):
    db.open_tree("global").insert(b"version", (18).to_bytes(8))
    before, sequence = db.checksum(), db.sequence
    with pytest.raises(UnsupportedFormatError, match="version 18"):
        run(db, load_migrations())
    assert (db.checksum(), db.sequence) == (before, sequence)


def test_rows_without_lineage_are_another_projects(db):
    db.open_tree("userid_password").insert(b"@a:x", b"")
    with pytest.raises(UnsupportedFormatError, match="whose schema"):
        run(db, load_migrations())


def test_trees_that_are_not_ours_are_let_be(db):
    db.open_tree("mine").insert(b"k", b"v")
    run(db, load_migrations())
    assert db.open_tree("mine").get(b"k") == b"v"


def test_modules_become_a_ladder():
    ladder = in_order([module("m0002_b"), module("m0001_a")])
    assert [(step.number, step.name) for step in ladder] == [(1, "m0001_a"), (2, "m0002_b")]


@pytest.mark.parametrize(
    "names",
    [["m0002_b"], ["m0001_a", "m0003_c"], ["m0001_a", "m0001_b"], ["m1_a"], ["helpers"]],
)
def test_gaps_doubles_and_odd_names_are_refused(names):
    with pytest.raises(ValueError, match="migration"):
        in_order(module(name) for name in names)


def test_the_shipped_migrations_load():
    assert load_migrations()[0].name == "m0001_lineage"
