"""Large values, large transactions, full disks, damage."""

import time

import pytest
from patience import in_the_end
from stores import open_more

from conduitstore.engine import Batch
from conduitstore.engine.postgres import connections, instant, operations, sql, writing
from conduitstore.errors import (
    ClosedError,
    CorruptedError,
    InvalidArgumentError,
    StoreFullError,
    UnavailableError,
)
from conduitstore.operations import TreeStats

PATIENCE_S = 30


# Limits -------------------------------------------------------------------------------------------


def test_pages_are_bounded_in_bytes(db, monkeypatch):
    """Large values do not come all at once, whichever way one walks."""
    large = [(bytes([number]), bytes([number]) * 400_000) for number in range(12)]
    for item in large:
        db.put(*item)
    widest, rows = [0], connections.Session.rows

    def watch(session, query, params=()):
        found = rows(session, query, params)
        widest[0] = max(widest[0], sum(len(row[1]) for row in found if len(row) == 2))
        return found

    monkeypatch.setattr(connections.Session, "rows", watch)
    with db.snapshot() as view:
        assert list(view) == large
        assert list(view.range(reverse=True)) == large[::-1]
        assert list(view.range(limit=7)) == large[:7]
    assert 0 < widest[0] <= sql.PAGE_BYTES + 400_000
    assert db.transaction(list) == large
    assert list(db) == large


def test_large_transactions_go_out_in_pieces(db, monkeypatch):
    monkeypatch.setattr(writing, "STATEMENT_ROWS", 7)
    monkeypatch.setattr(writing, "STATEMENT_BYTES", 100)
    batch = Batch()
    for number in range(100):
        batch.insert("t", bytes([number]), bytes(number))
    db.apply_batch(batch)
    assert list(db.open_tree("t")) == [(bytes([number]), bytes(number)) for number in range(100)]
    db.open_tree("t").clear()
    assert list(db.open_tree("t")) == []


def test_a_full_disk_has_a_type_of_its_own(harness, db, admin):
    """The server's own error, raised by a trigger."""
    db.open_tree("t").insert(b"a", b"1")
    admin.execute(
        "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$"
    )
    admin.execute("CREATE TRIGGER no_space BEFORE INSERT ON t_1 EXECUTE FUNCTION no_space()")
    with pytest.raises(StoreFullError):
        db.open_tree("t").insert(b"a", b"2")
    assert db.open_tree("t").get(b"a") == b"1"
    admin.execute("DROP TRIGGER no_space ON t_1")
    db.open_tree("t").insert(b"a", b"2")


def test_a_value_that_the_server_cannot_read_is_named(db, admin):
    """Its own error for damage, raised by a view in the table's place."""
    tree = db.open_tree("t")
    for number in range(9):
        tree.insert(bytes([number]), b"value")
    assert list(db.verify()) == []
    admin.execute(
        "CREATE FUNCTION read(k bytea, v bytea) RETURNS bytea IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN IF k = '\\x04' THEN RAISE EXCEPTION 'missing chunk' USING ERRCODE = 'XX001'; "
        "END IF; RETURN v; END $$"
    )
    admin.execute("ALTER TABLE t_1 RENAME TO r_1")
    admin.execute("CREATE VIEW t_1 AS SELECT k, read(k, v) AS v FROM r_1")
    with pytest.raises(CorruptedError, match="missing chunk"):
        tree.get(b"\x04")
    damages = list(db.verify())
    assert [(found.tree, found.low, found.high) for found in damages] == [("t", b"\x04", b"\x05")]
    assert tree.get(b"\x05") == b"value"


def test_verify_tells_how_much_it_read_and_takes_its_time(db):
    for number in range(10):
        db.insert(bytes([number]), bytes(99))
    read = []
    begun = time.monotonic()
    assert list(db.verify(bytes_per_second=10_000, on_read=read.append)) == []
    assert sum(read) == 1_000
    assert time.monotonic() - begun >= 0.09


def test_a_backup_says_what_to_do_instead(db, tmp_path):
    with pytest.raises(InvalidArgumentError, match="pg_basebackup"):
        db.backup(tmp_path)


def test_after_close_its_iterators_and_subscribers_end(harness, monkeypatch):
    monkeypatch.setattr(instant, "FIRST_ROWS", 2)
    db = harness.open()
    for number in range(10):
        db.insert(bytes([number]), b"")
    items = db.range()
    next(items)
    db.close()
    with pytest.raises((ClosedError, UnavailableError)):
        list(items)


# Statistics ---------------------------------------------------------------------------------------


def filled(db, total):
    tree = db.open_tree("large")
    for start in range(0, total, 2_000):
        batch = Batch()
        for number in range(start, start + 2_000):
            batch.insert(tree, number.to_bytes(8), bytes(100))
        db.apply_batch(batch)
    return total, total * 108


def test_statistics_of_a_large_tree_are_estimated_from_few_pages(db, monkeypatch):
    total, payload = filled(db, 20_000)
    db.open_tree("small").insert(b"k", b"v")
    monkeypatch.setattr(operations, "SAMPLE_PAGES", 100)
    found = db.stats().trees
    assert found["large"].is_estimate
    assert found["large"].entries_total == pytest.approx(total, rel=0.4)
    assert found["large"].payload_bytes == pytest.approx(
        108 * found["large"].entries_total, rel=0.001
    )
    assert (found["small"].entries_total, found["small"].is_estimate) == (1, False)
    exact = db.stats(exact=True).trees["large"]
    assert exact == TreeStats(total, payload)


def test_statistics_read_no_more_of_a_larger_tree(db, admin, monkeypatch):
    """Counted in pages: those of a table that is sampled are bounded, however many it has."""
    monkeypatch.setattr(operations, "SAMPLE_PAGES", 50)
    filled(db, 20_000)
    number = db.catalog.numbers["large"]
    query = sql.sampled_bytes(
        operations._sampled([number], admin.execute(sql.TABLE_PAGES).fetchall())
    ).decode()
    plan = admin.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}").fetchone()[0][0]
    read = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    assert (
        10
        < read
        < 150
        < admin.execute(f"SELECT pg_relation_size('t_{number}') / 8192").fetchone()[0]
    )
    assert plan["Plan"]["Plans"][0]["Node Type"] == "Sample Scan"


def test_statistics_where_every_tree_is_large(db, monkeypatch):
    db.insert(b"k", b"v")
    monkeypatch.setattr(operations, "SAMPLE_PAGES", 0.999)
    assert db.stats().trees[db.name].is_estimate


def test_exact_statistics_may_take_their_time(harness, monkeypatch):
    """Longer than a statement may."""
    harness.open().open_tree("t").insert(b"k", b"v")
    short = {"statement_timeout_ms": 200, "connect_timeout_ms": 100}
    db = in_the_end(lambda: open_more(harness, **short))
    slow = sql.payload_bytes

    def slowly(numbers):
        return b"WITH slow AS MATERIALIZED (SELECT pg_sleep(0.5)) SELECT q.* FROM slow, (%b) q" % (
            slow(numbers)
        )

    monkeypatch.setattr(sql, "payload_bytes", slowly)
    with pytest.raises(UnavailableError):
        db.stats()
    assert in_the_end(lambda: db.stats(exact=True)).trees["t"].entries_total == 1
