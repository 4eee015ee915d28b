"""Large values, large transactions, full disks, damage."""

import time

import pytest

from conduitstore.engine import Batch
from conduitstore.engine.postgres import connections, instant, sql, writing
from conduitstore.errors import (
    ClosedError,
    CorruptedError,
    InvalidArgumentError,
    StoreFullError,
    UnavailableError,
)

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
