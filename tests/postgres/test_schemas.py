"""A schema that tests have used is as good as a new one."""

import psycopg
from schemas import LentSchemas
from stores import PostgresHarness

import conduitstore
from conduitstore.engine import Batch

RELATIONS = """SELECT relname, relkind, relpersistence FROM pg_class
    WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'S', 'i') ORDER BY relname"""


def everything(dsn, schema):
    """Each relation of a schema with its rows, without the time of the first commit."""
    with psycopg.connect(dsn, options=f"-c search_path={schema}") as connection:
        found = connection.execute(RELATIONS, [schema]).fetchall()
        rows = {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            for name, kind, _ in found
            if kind == "r" and name != "commits"
        }
        rows["commits"] = connection.execute("SELECT to_jsonb(c) - 'at' FROM commits c").fetchall()
        rows["drawn"] = connection.execute("SELECT last_value, is_called FROM drawn").fetchall()
    return found, rows


def use(db):
    """Leave something in every table."""
    for name in ("stays", "dropped"):
        db.open_tree(name).insert(b"k", b"v")
    kept = db.snapshot()
    db.drop_tree("dropped")
    for number in range(50):
        db.transaction(lambda tx, number=number: tx.insert(bytes([number]), bytes(10_000)))
        db.transaction(lambda tx: tx.next_count())
    db.watch_prefix(b"")
    db.reserve_ids(5)
    return kept


def test_a_store_in_a_used_schema_is_a_new_one(postgres_server):
    new = PostgresHarness(postgres_server.dsn)
    with LentSchemas(postgres_server.dsn) as schemas:
        used = PostgresHarness(postgres_server.dsn, schemas, locks_row=True)
        db = used.open(durability="none")
        before, kept = everything(used.dsn, used.schema), use(db)
        assert kept.sequence
        after = everything(used.dsn, used.schema)
        same = {name for name, rows in before[1].items() if after[1][name] == rows}
        assert same == {"meta", "running"}
        used.dispose()
        again = PostgresHarness(postgres_server.dsn, schemas)
        assert again.schema == used.schema
        found = everything(again.dsn, again.schema)
        new.open().close()
        relations, rows = everything(new.dsn, new.schema)
        assert found[0] == relations
        for name in rows:
            if name in same:  # Drawn by lot, and never twice the same.
                assert found[1][name] not in (rows[name], before[1][name])
            else:
                assert found[1][name] == rows[name], name
        again.dispose()
    new.dispose()


def test_rows_read_at_once_are_those_of_the_trees(emptied_schema):
    emptied_schema.empty()
    with conduitstore.open(emptied_schema.dsn, **emptied_schema.settings) as store:
        for name, total in (("pduid_pdu", 3), ("new", 700), ("empty", 0)):
            tree = store.db.open_tree(name)
            batch = Batch()
            for number in range(total):
                batch.insert(name, number.to_bytes(2), b"v")
            store.db.apply_batch(batch)
            assert len(tree) == total
        with store.db.snapshot() as view:
            rows = {name: list(view.open_tree(name)) for name in view.tree_names()}
        assert emptied_schema.rows() == rows
        for name in ("new", "empty"):  # What other tests find there is what parts have.
            assert store.db.drop_tree(name)
            del rows[name]
        assert emptied_schema.rows() == rows
