"""Stores on PostgreSQL for tests: each in a schema of its own, with the ends of a store's life."""

import os
import time

import psycopg
from schemas import new_schema

from conduitstore.engine import postgres

LOCKS_ROW = True if os.environ.get("CONDUITSTORE_TEST_LOCKS") == "row" else None
"""Have writers line up at a row, as on servers without advisory locks."""
OURS = {
    "flush_every_ms",
    "durability",
    "idgen_persist_interval",
    "history_keep_total",
    "create_new",
    "pool_max",
    "locks_row",
}


class PostgresHarness:
    """A store in a schema of its own, which :meth:`dispose` deletes."""

    is_persistent = True
    keeps_in_process = False
    counts_jump = False
    loses_commits = False

    def __init__(self, dsn, schemas=None, **settings):
        self.dsn = dsn
        self._schemas = schemas
        self.schema = schemas.lend() if schemas else new_schema()
        self.settings = {"pool_max": 40, "locks_row": LOCKS_ROW, **settings}
        self.opened = []

    def open(self, **settings):
        """Open with ``settings``, which later openings keep; those of other engines say nothing."""
        if "log_keep_bytes" in settings:
            settings["history_keep_total"] = 1 + settings.pop("log_keep_bytes") // 100
        ours = {name: value for name, value in settings.items() if name in OURS}
        self.settings |= {"flush_every_ms": None, **ours}
        return self._open()

    def _open(self, **settings):
        db = postgres.open(self.dsn, schema=self.schema, **self.settings, **settings)
        self.opened.append(db)
        return db

    def reopen(self, db):
        """Close cleanly and open again."""
        db.close()
        return self._open()

    def kill(self, db):
        """Let the process die: its connections are gone, and the server knows it."""
        self._drop_connections(db)
        return self._open()

    def power_loss(self, db, _seed=0):
        """The same here: what the server makes of it is for the tests that kill servers."""
        return self.kill(db)

    def _drop_connections(self, db):
        db.abandon()
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            while connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE application_name = %s",
                [f"conduitstore {db.holder}"],
            ).fetchone():
                time.sleep(0.001)

    def checkpoint(self, db):
        """Forget what is old, which is what other engines do at a checkpoint."""
        db.compact()

    def told_since(self, _db):
        """A subscriber may always go on from here."""
        return 0

    def reader(self, _db):
        """The store once more, open for reading."""
        return self._open(read_only=True)

    def admin(self):
        """A connection of somebody else's, in the store's schema."""
        options = f"-c search_path={self.schema}"
        return psycopg.connect(self.dsn, autocommit=True, options=options)

    def dispose(self):
        """Close whatever is open, and delete the schema, or give it back where it is borrowed."""
        for db in self.opened:
            db.abandon()
        if self._schemas is not None:
            self._schemas.take_back(self.schema, [db.holder for db in self.opened])
            return
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")


def open_more(harness, **settings):
    """The store of a harness once more, with settings of its own."""
    db = postgres.open(harness.dsn, schema=harness.schema, **settings)
    harness.opened.append(db)
    return db


def cut(db, admin):
    """End every connection of a store, as a fault in the network would."""
    name = f"conduitstore {db.holder}"
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
    ended = [pid for (pid,) in admin.execute(query, [name])]
    admin.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [ended])
    still = "SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)"  # Others may have come by now.
    while admin.execute(still, [ended]).fetchone():
        time.sleep(0.001)
