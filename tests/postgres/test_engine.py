"""What only this engine has: settings, conflicts, lost connections, other people's schemas."""

import os
import subprocess
import sys
import threading
import time

import psycopg
import pytest
from stores import PostgresHarness

from conduitstore import engine
from conduitstore.engine import Batch, postgres
from conduitstore.engine.postgres import connections, faults, instant, sql, writer, writing
from conduitstore.errors import (
    ClosedError,
    ConflictError,
    CorruptedError,
    InvalidArgumentError,
    LaggedError,
    LockedError,
    StoreFullError,
    UnavailableError,
    UnsupportedFormatError,
)

PATIENCE_S = 30


@pytest.fixture
def harness(postgres_server):
    harness = PostgresHarness(postgres_server.dsn)
    yield harness
    harness.dispose()


@pytest.fixture
def db(harness):
    return harness.open()


@pytest.fixture
def admin(harness):
    """A connection of somebody else's, in the store's schema."""
    options = f"-c search_path={harness.schema}"
    with psycopg.connect(harness.dsn, autocommit=True, options=options) as connection:
        yield connection


def open_more(harness, **settings):
    db = postgres.open(harness.dsn, schema=harness.schema, **settings)
    harness.opened.append(db)
    return db


def cut(db, admin):
    """End every connection of a store, as a fault in the network would."""
    name = f"conduitstore {db.holder}"
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [name]
    )
    still = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s"
    while admin.execute(still, [name]).fetchone():
        time.sleep(0.001)


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


# Conflicts ----------------------------------------------------------------------------------------


def meddle(admin, key=b"a"):
    """Write to the table behind the engine's back."""
    admin.execute("INSERT INTO t_1 VALUES (%s, 'x') ON CONFLICT (k) DO UPDATE SET v = 'x'", [key])


@pytest.fixture
def rows_db(harness):
    db = harness.open(locks_row=True)
    db.open_tree("t").insert(b"a", b"1")
    return db


def test_a_transaction_that_loses_is_run_again(rows_db, admin):
    """Of serializable transactions the server lets one give way."""
    attempts = []

    def run(tx):
        tree = tx.open_tree("t")
        tree.get(b"a")
        attempts.append(tx.next_count())
        if len(attempts) < 3:
            meddle(admin)
        tree.insert(b"a", b"2")

    rows_db.transaction(run)
    assert len(attempts) == 3
    assert attempts == sorted(set(attempts)), "the counts of an attempt are skipped"
    assert rows_db.open_tree("t").get(b"a") == b"2"


def test_attempts_are_bounded_and_the_conflict_is_told(harness, admin):
    db = open_more(harness, locks_row=True, retries_max=2)
    db.open_tree("t").insert(b"a", b"1")
    sequence, attempts = db.sequence, []

    def run(tx):
        attempts.append(tx.open_tree("t").get(b"a"))
        meddle(admin)
        tx.open_tree("t").put(b"a", b"2")

    with pytest.raises(ConflictError, match=r"given up after 3 attempts.*concurrent"):
        db.transaction(run)
    assert len(attempts) == 3
    assert db.sequence == sequence


def test_an_error_of_the_server_that_the_function_swallows_is_no_commit(harness, db, admin):
    """The transaction has failed: it is run again, not committed without what failed."""
    db.open_tree("t").insert(b"a", b"1")
    attempts = []

    def run(tx):
        attempts.append(1)
        tx.open_tree("t").put(b"b", b"2")
        if len(attempts) == 1:
            with pytest.raises(InvalidArgumentError):
                tx.writing.rows(b"SELECT * FROM no_such_table")

    db.transaction(run)
    assert len(attempts) == 2
    assert db.open_tree("t").get(b"b") == b"2"


def test_who_waits_at_a_row_goes_on_behind_the_other(rows_db, harness):
    other = open_more(harness, locks_row=True)
    tree, others = rows_db.open_tree("t"), other.open_tree("t")

    def add(tree):
        for _ in range(25):
            tree.increment(b"n")

    threads = [threading.Thread(target=add, args=(one,)) for one in (tree, others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int.from_bytes(tree.get(b"n")) == 50


def test_waiting_for_another_process_has_an_end_and_names_it(harness, db):
    impatient = open_more(harness, lock_timeout_ms=50)
    inside, done = threading.Event(), threading.Event()

    def hold(_):
        inside.set()
        assert done.wait(PATIENCE_S)

    thread = threading.Thread(target=db.transaction, args=(hold,))
    thread.start()
    assert inside.wait(PATIENCE_S)
    with pytest.raises(LockedError, match=db.holder):
        impatient.insert(b"a", b"1")
    done.set()
    thread.join()
    impatient.insert(b"a", b"1")
    assert db.get(b"a") == b"1"


def test_a_transaction_that_does_nothing_is_ended(harness, db):
    """A process that stops in the middle must not hold up the others for ever."""
    lazy = open_more(harness, idle_timeout_ms=100)
    inside, done = threading.Event(), threading.Event()
    errors = []

    def sleep(tx):
        inside.set()
        assert done.wait(PATIENCE_S)
        tx.insert(b"a", b"lazy")

    def run():
        try:
            lazy.transaction(sleep)
        except UnavailableError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert inside.wait(PATIENCE_S)
    db.insert(b"a", b"quick")
    done.set()
    thread.join()
    assert "idle_timeout_ms" in str(errors)
    assert db.get(b"a") == b"quick"


def test_a_statement_that_takes_too_long_is_given_up(harness, db, admin):
    db.open_tree("t").insert(b"a", b"1")
    impatient = open_more(harness, statement_timeout_ms=50)
    tree = impatient.open_tree("t")
    with admin.transaction():
        admin.execute("LOCK TABLE t_1 IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(UnavailableError, match="statement_timeout_ms"):
            tree.get(b"a")
    assert tree.get(b"a") == b"1"


def test_dropping_a_tree_waits_for_no_reader(harness, db, admin, monkeypatch):
    monkeypatch.setattr(instant, "FIRST_ROWS", 2)
    tree = db.open_tree("t")
    for number in range(10):
        tree.insert(bytes([number]), b"")
    items = tree.range()
    next(items)
    assert db.drop_tree("t")
    assert "t" not in db.tree_names()
    assert len(list(items)) == 9
    db.compact()
    assert admin.execute("SELECT to_regclass('t_1')").fetchone() == (None,)


# Lost connections ---------------------------------------------------------------------------------


def test_idle_connections_that_were_cut_are_replaced(db, admin):
    tree = db.open_tree("t")
    tree.insert(b"a", b"1")
    calls = [
        lambda: tree.get(b"a"),
        lambda: list(tree),
        lambda: db.snapshot().close(),
        lambda: tree.insert(b"a", b"1"),
        db.flush,
        db.generate_id,
        lambda: db.reserve_ids(5_000),
        lambda: tree.watch_prefix(b"").close(),
    ]
    for call in calls:
        cut(db, admin)
        call()
    assert tree.get(b"a") == b"1"


def test_a_transaction_whose_connection_is_cut_is_run_again(db, admin):
    tree, attempts = db.open_tree("t"), []

    def run(tx):
        attempts.append(tx.next_count())
        tx.open_tree("t").increment(b"n")
        if len(attempts) < 3:
            cut(db, admin)
        tx.open_tree("t").get(b"another")

    db.transaction(run)
    assert len(set(attempts)) == 3
    assert int.from_bytes(tree.get(b"n")) == 1


def test_a_snapshot_whose_connection_is_cut_says_so(db, admin):
    with db.snapshot() as view:
        cut(db, admin)
        with pytest.raises(UnavailableError):
            view.get(b"a")
    with db.snapshot() as view:
        assert view.get(b"a") is None


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_commit_whose_answer_is_lost_is_made_once(db, admin, monkeypatch, moment):
    """The connection goes just before or just after the server commits: it is asked which."""
    tree = db.open_tree("t")
    told = tree.watch_prefix(b"")
    run_all, runs = connections.Session.run, []

    def run(session, statements):
        if (sql.COMMIT, ()) in statements and not runs:
            runs.append(moment)
            if moment == "before":
                cut(db, admin)
            else:
                run_all(session, statements)
                cut(db, admin)
                session.close()
                raise faults.ConnectionLostError("cut")
        return run_all(session, statements)

    monkeypatch.setattr(connections.Session, "run", run)
    sequence = db.sequence
    assert tree.increment(b"n") == 1
    assert runs == [moment]
    assert int.from_bytes(tree.get(b"n")) == 1
    assert db.sequence == sequence + 1
    assert [event.key for event in iter(lambda: told.next(timeout=0), None)] == [b"n"]


def test_nobody_to_ask_about_a_commit(harness, admin, monkeypatch):
    db = open_more(harness, connect_timeout_ms=100, retries_max=0)

    def commit(*_):
        raise faults.ConnectionLostError("cut")

    def refuse(*_):
        raise UnavailableError("no server")

    monkeypatch.setattr(writing.Writing, "commit", commit)
    answers = [writer.Writer._locked]

    def lock(self):
        return (answers.pop() if answers else refuse)(self)

    monkeypatch.setattr(writer.Writer, "_locked", lock)
    with pytest.raises(UnavailableError, match="nobody can say") as caught:
        db.insert(b"a", b"1")
    assert caught.value.is_commit_unknown


def test_all_connections_in_use(harness):
    db = open_more(harness, pool_max=3, connect_timeout_ms=50)
    views = [db.snapshot() for _ in range(3)]
    with pytest.raises(UnavailableError, match="pool_max"):
        db.get(b"a")
    views.pop().close()
    assert db.get(b"a") is None
    del views
    assert db.get(b"a") is None


def test_an_iterator_left_in_the_middle_holds_no_connection(harness, monkeypatch):
    monkeypatch.setattr(instant, "FIRST_ROWS", 2)
    db = open_more(harness, pool_max=3, connect_timeout_ms=50)
    for number in range(10):
        db.insert(bytes([number]), b"")
    for _ in range(10):
        assert next(db.range()) == (b"\0", b"")
        assert next(db.keys()) == b"\0"
    items = db.range()
    assert [key for key, _ in items] == [bytes([number]) for number in range(10)]
    held = [db.range() for _ in range(2)]
    assert db.get(b"\0") == b""
    del held


def test_a_forked_child_is_refused_and_harms_nobody(db):
    db.insert(b"a", b"1")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            db.get(b"a")
        except LockedError:
            os.write(write, b"refused")
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(read, 100) == b"refused"
    os.close(read)
    os.waitpid(child, 0)
    assert db.get(b"a") == b"1"
    db.insert(b"a", b"2")


# Crashes of the server, without one ---------------------------------------------------------------


def lose_commits(db, admin, total):
    """What a crash may leave: the newest commits gone, unlogged tables empty."""
    admin.execute("DELETE FROM running")
    newest = db.sequence
    admin.execute("DELETE FROM commits WHERE sequence > %s", [newest - total])


def test_after_a_crash_counts_and_sequences_go_on_above_all_there_were(harness, db, admin):
    tree = db.open_tree("t")
    told = tree.watch_prefix(b"")
    seen = [db.transaction(lambda tx: tx.next_count()) for _ in range(5)]
    for number in range(5):
        tree.insert(bytes([number]), b"")
    lost, kept = db.sequence, db.sequence - 5
    [*iter(lambda: told.next(timeout=0), None)]
    lose_commits(db, admin, 5)
    for later in (db, open_more(harness)):
        assert later.transaction(lambda tx: tx.next_count()) > max(seen)
        assert later.sequence > lost
    tree.insert(b"after", b"")
    with pytest.raises(LaggedError):
        told.next(timeout=0)
    with pytest.raises(LaggedError):
        tree.watch_prefix(b"", since=lost)
    again = tree.watch_prefix(b"", since=kept)
    events = [*iter(lambda: again.next(timeout=0), None)]
    assert [event.key for event in events] == [b"after"], "from what survived one goes on"


def test_a_durable_commit_that_a_crash_takes_before_its_sync_is_made_again(db, admin, monkeypatch):
    tree, syncs = db.open_tree("t"), []
    sync = db.durability.sync

    def crash_first():
        if not syncs:
            lose_commits(db, admin, 1)
            admin.execute("DELETE FROM t_1")
        syncs.append(1)
        return sync()

    monkeypatch.setattr(db.durability, "sync", crash_first)
    db.transaction(lambda tx: tx.open_tree("t").insert(b"a", b"1"), durability="commit")
    assert tree.get(b"a") == b"1"
    assert len(syncs) == 2


def test_counts_stay_under_a_ceiling_that_is_raised_before_it_is_reached(db, admin):
    def ceiling():
        return admin.execute("SELECT value FROM ceilings WHERE name = 'counts'").fetchone()[0]

    first = ceiling()
    drawn = db.transaction(lambda tx: [tx.next_count() for _ in range(first + 10)])
    assert drawn[-1] == first + 10 <= ceiling()


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


# Durability ---------------------------------------------------------------------------------------


def test_a_sync_serves_everybody_who_waits(db):
    before = db.durability._begun_total

    def commit(number):
        db.transaction(lambda tx: tx.insert(bytes([number]), b""), durability="commit")

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.durable_sequence == db.sequence == 16
    assert db.durability._begun_total - before <= 16


def test_the_flusher_makes_commits_durable(harness):
    db = open_more(harness, flush_every_ms=10)
    db.insert(b"a", b"1")
    deadline = time.monotonic() + PATIENCE_S
    while db.durable_sequence < 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert db.durable_sequence == 1


def test_commits_do_not_wait_for_the_disk_but_syncs_do(db, admin):
    def setting(tx):
        return tx.writing.rows(b"SELECT current_setting('synchronous_commit')")

    assert db.transaction(setting) == [("off",)]
    assert db.pool.run([(sql.SYNC, ())])[0][0][0] == "on"


def test_the_durability_of_a_store_is_that_of_its_commits(harness):
    db = open_more(harness, durability="commit")
    db.insert(b"a", b"1")
    assert db.durable_sequence == db.sequence == 1
