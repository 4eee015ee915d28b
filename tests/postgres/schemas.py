"""Schemas that tests use one after the other, and a look at everything in a store at once."""

import itertools
import os
import secrets
import time

import psycopg

import conduitstore
from conduitstore.engine.postgres.counters import COUNT_STEP

_NUMBERS = itertools.count()


def new_schema():
    """A name that no other schema of this server has."""
    return f"test_{os.getpid()}_{next(_NUMBERS)}"


class Kept:
    """A connection beside the stores under test, for as long as there are tests."""

    def __init__(self, dsn):
        self.dsn = dsn
        options = "-c synchronous_commit=off -c client_min_messages=error"
        self.connection = psycopg.connect(dsn, autocommit=True, options=options)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.connection.close()

    def rows(self):
        """Every tree's entries, as now committed, in one round trip for all trees that were known.

        The plan of it is kept, where each connection of a store's would make it anew.
        """
        names = dict(self.connection.execute("SELECT id, name FROM trees"))
        each = [f"SELECT {number}, k, v FROM t_{number}" for number in sorted(names)]
        found = {name: [] for name in names.values()}
        entries = self.connection.execute(" UNION ALL ".join(each), binary=True)
        for number, key, value in entries:
            found[names[number]].append((key, value))
        return {name: sorted(rows) for name, rows in found.items()}

    def end_stores(self, holders):
        """Wait until nothing of these stores runs in the server any more."""
        names = [f"conduitstore {holder}" for holder in holders]
        query = "SELECT 1 FROM pg_stat_activity WHERE application_name = ANY(%s)"
        while self.connection.execute(query, [names]).fetchone():
            time.sleep(0.001)


class LentSchemas(Kept):
    """Schemas for one harness after the other: making a store new takes less than a new one.

    It has the rows and the tables of a new one then, and an id and an epoch of its own.
    """

    RENEW = """
        SET search_path = {schema};
        DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace
                AND relkind = 'r' AND relname ~ '^t_[1-9][0-9]*$'
            LOOP EXECUTE 'DROP TABLE ' || name; END LOOP;
        END $$;
        TRUNCATE t_0, commits;
        DELETE FROM trees WHERE id <> 0;
        DELETE FROM dropped;
        INSERT INTO commits VALUES (0, -1, 0, 0, 0, '', '');
        UPDATE writer SET sequence = 0;
        UPDATE ceilings SET value = CASE name WHEN 'counts' THEN {counts} ELSE 0 END;
        DELETE FROM holders;
        SELECT setval('drawn', 0, false);
        DELETE FROM running;
        INSERT INTO running VALUES ({epoch});
        UPDATE meta SET store_id = {store_id};
    """

    def __init__(self, dsn):
        super().__init__(dsn)
        self._free = []

    def lend(self):
        """The schema of a new store, or the name of none yet."""
        return self._free.pop() if self._free else new_schema()

    def take_back(self, schema, holders):
        self.end_stores(holders)
        if not self.connection.execute("SELECT to_regnamespace(%s)", [schema]).fetchone()[0]:
            return
        drawn = {"store_id": secrets.randbits(63), "epoch": secrets.randbits(63)}
        self.connection.execute(self.RENEW.format(schema=schema, counts=COUNT_STEP, **drawn))
        self._free.append(schema)

    def __exit__(self, *exc):
        for schema in self._free:
            self.connection.execute(f"DROP SCHEMA {schema} CASCADE")
        super().__exit__(*exc)


class EmptiedSchema(Kept):
    """One schema for many tests of parts, which have their trees there already."""

    RENEW = """
        CREATE OR REPLACE FUNCTION pg_temp.renew() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
            {tables}
            DELETE FROM commits;
            INSERT INTO commits SELECT 0, -1, 0, 0, max(id), '', '' FROM trees;
            UPDATE ceilings SET value = CASE name WHEN 'counts' THEN {counts} ELSE 0 END;
            UPDATE writer SET sequence = 0;
            DELETE FROM holders;
            PERFORM setval('drawn', 0);
        END $$
    """

    def __init__(self, dsn):
        super().__init__(dsn)
        self.settings = {"schema": f"test_{os.getpid()}_emptied", "flush_every_ms": None}
        self._first = None
        self._tables = None

    def empty(self):
        """Make it a new store, but that trees there were are there, without entries."""
        if self._first is None:
            self._begin()
        tables = self._find_tables()
        if tables != self._tables:  # The plans of a function are kept, and most tables are empty.
            self._tables = tables
            deletes = "".join(
                f"IF EXISTS (SELECT FROM {table}) THEN DELETE FROM {table}; END IF;"
                for table in tables
            )
            self.connection.execute(self.RENEW.format(tables=deletes, counts=COUNT_STEP))
        with self.connection.pipeline():
            self.connection.execute("SELECT pg_temp.renew()")
            for table, *row in self._first:
                self.connection.execute(f"INSERT INTO {table} VALUES (%s, %s)", row)

    def _begin(self):
        """Make the store, and remember what the first opening writes."""
        with conduitstore.open(self.dsn, **self.settings):
            pass
        self.connection.execute(f"SET search_path = {self.settings['schema']}")
        self._first = [
            (table, *row)
            for table in self._find_tables()
            for row in self.connection.execute(f"SELECT k, v FROM {table}")
        ]

    def _find_tables(self):
        found = self.connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace "
            "AND relname ~ '^t_[0-9]+$'",
            [self.settings["schema"]],
        )
        return sorted(name for (name,) in found)

    def __exit__(self, *exc):
        self.connection.execute(f"DROP SCHEMA IF EXISTS {self.settings['schema']} CASCADE")
        super().__exit__(*exc)
