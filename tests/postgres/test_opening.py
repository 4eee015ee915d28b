"""Opening a store on PostgreSQL: settings, other people's schemas, reading only."""

import subprocess
import sys
import threading
import time

import pytest
from stores import PostgresHarness, open_more

from conduitstore import engine
from conduitstore.engine import Batch, postgres
from conduitstore.engine.postgres import sql
from conduitstore.errors import (
    InvalidArgumentError,
    UnavailableError,
    UnsupportedFormatError,
)

PATIENCE_S = 30


# Opening ------------------------------------------------------------------------------------------


def test_engine_open_takes_a_dsn(harness):
    with engine.open(harness.dsn, schema=harness.schema) as db:
        assert db.insert(b"a", b"1") is None
    with engine.open(harness.dsn.replace("postgresql:", "postgres:"), schema=harness.schema) as db:
        assert db.get(b"a") == b"1"


@pytest.mark.parametrize(
    "settings",
    [
        {"schema": "Upper"},
        {"schema": "a b"},
        {"schema": 'x"; DROP SCHEMA public; --'},
        {"schema": ""},
        {"schema": "x" * 41},
        {"pool_max": 2},
        {"pool_max": True},
        {"durability": "sometimes"},
        {"flush_every_ms": 0},
        {"poll_ms": -1},
        {"statement_timeout_ms": 1 << 31},
        {"retries_max": -1},
        {"dialect": "mysql"},
        {"locks_row": 1.5},
        {"read_only": "yes"},
        {"read_only": True, "create_new": True},
        {"cache_capacity_bytes": 1},
    ],
)
def test_a_wrong_setting_is_refused(postgres_server, settings):
    with pytest.raises(InvalidArgumentError):
        postgres.open(postgres_server.dsn, **settings)


def test_without_psycopg_one_is_told_what_to_install():
    code = """
import sys
sys.modules["psycopg"] = None
from conduitstore import engine
engine.open("postgresql://localhost/x")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False
    )
    assert "InvalidArgumentError" in done.stderr
    assert "pip install 'conduitstore[postgres]'" in done.stderr


def test_a_server_that_is_not_there(tmp_path):
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        postgres.open(f"postgresql:///x?host={tmp_path}")
    assert time.monotonic() - begun < PATIENCE_S
    with pytest.raises(InvalidArgumentError):
        postgres.open("postgresql://host/x?no_such_option=1")


def test_a_database_that_is_not_there(harness):
    with pytest.raises(UnavailableError, match="no_such_database"):
        postgres.open(f"{harness.dsn}&dbname=no_such_database")


def test_a_schema_with_something_else_is_left_alone(harness, admin):
    admin.execute(f"CREATE SCHEMA {harness.schema}")
    admin.execute("CREATE TABLE pets (name text)")
    with pytest.raises(UnsupportedFormatError, match="no store"):
        harness.open()
    admin.execute("CREATE TABLE meta (what text)")
    with pytest.raises(UnsupportedFormatError, match="no store"):
        harness.open()
    tables = admin.execute(sql.RELATIONS, [harness.schema]).fetchone()
    assert tables == (2,), "nothing was added"


def test_a_newer_format_is_left_alone(harness, admin):
    harness.open().close()
    admin.execute("UPDATE meta SET format = 2")
    with pytest.raises(UnsupportedFormatError, match="format 2"):
        harness.open()


def test_create_new_refuses_a_store_that_is_there(harness):
    harness.open(create_new=True).close()
    with pytest.raises(InvalidArgumentError, match="already holds a store"):
        harness.open(create_new=True)


def test_a_schema_that_is_only_made_is_empty_enough(harness, admin):
    admin.execute(f"CREATE SCHEMA {harness.schema}")
    assert harness.open().tree_names() == ["__default__"]


def test_stores_of_two_schemas_are_apart(harness, postgres_server):
    other = PostgresHarness(postgres_server.dsn)
    with harness.open() as one, other.open() as two:
        one.insert(b"a", b"1")
        assert two.get(b"a") is None
        one.transaction(lambda _: two.insert(b"a", b"2"))
        assert one.get(b"a") == b"1"
    other.dispose()


def test_many_may_make_the_store_at_once(harness):
    found = []

    def open_one():
        found.append(open_more(harness).tree_names())

    threads = [threading.Thread(target=open_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["__default__"]] * 4


def test_an_unclean_end_is_reported(harness, db):
    assert not db.recovery_report
    second = open_more(harness)
    assert not second.was_recovered, "the first one is still there"
    second.close()
    db = harness.kill(db)
    assert db.recovery_report.was_unclean


# Reading only -------------------------------------------------------------------------------------


def test_a_store_open_for_reading_follows_and_writes_nothing(harness, db, admin):
    reader = open_more(harness, read_only=True)
    tree = reader.open_tree("t")
    assert (tree.get(b"a"), list(tree), tree.first(), len(tree)) == (None, [], None, 0)
    assert (tree.get_many([b"a"]), list(tree.keys()), b"a" in tree) == ([None], [], False)
    assert tree.ranges([(None, None)]) == [[]]
    db.open_tree("t").insert(b"a", b"1")
    assert tree.get(b"a") == b"1"
    assert reader.refresh() == db.sequence
    for write in (
        lambda: tree.insert(b"a", b"2"),
        lambda: reader.drop_tree("t"),
        lambda: reader.apply_batch(Batch().insert("t", b"a", b"2")),
        reader.generate_id,
        lambda: reader.reserve_ids(2),
        reader.flush,
        reader.compact,
        lambda: reader.import_([]),
    ):
        with pytest.raises(InvalidArgumentError, match="reading only"):
            write()
    holders = admin.execute("SELECT count(*) FROM holders").fetchone()
    assert holders == (1,), "only who writes says so"


def test_no_store_to_read(harness):
    with pytest.raises(InvalidArgumentError, match="no store"):
        open_more(harness, read_only=True)
