"""Every statement, as text; the names in it are numbers of our own, never a caller's.

A tree is the table ``t_<number>``. Statements name no schema: each connection has the store's in
its search path. ``docs/format/postgres.md`` draws the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

FORMAT_VERSION = 1

CREATE = """
SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
    WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true);
SELECT pg_advisory_xact_lock({lock});
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE meta (format int NOT NULL, store_id bigint NOT NULL);
CREATE TABLE trees (id bigint PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE);
CREATE TABLE dropped (id bigint PRIMARY KEY, xid xid NOT NULL);
CREATE TABLE commits (
    sequence bigint PRIMARY KEY, previous bigint NOT NULL, count bigint NOT NULL,
    catalog bigint NOT NULL, trees bigint NOT NULL, token bytea NOT NULL, events bytea,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
{storage}
CREATE TABLE writer (one int PRIMARY KEY, sequence bigint NOT NULL);
CREATE TABLE ceilings (name text PRIMARY KEY, value bigint NOT NULL);
CREATE TABLE holders (id text PRIMARY KEY, watches boolean NOT NULL DEFAULT false);
CREATE SEQUENCE drawn MINVALUE 0 START 0;
CREATE {unlogged} TABLE running (epoch bigint NOT NULL);
CREATE TABLE t_0 (k bytea PRIMARY KEY, v bytea NOT NULL);
INSERT INTO meta VALUES ({format}, {store_id});
INSERT INTO trees VALUES (0, '{default_tree}');
INSERT INTO commits VALUES (0, -1, 0, 0, 0, '', '');
INSERT INTO writer VALUES (0, 0);
INSERT INTO ceilings VALUES ('counts', {counts}), ('ids', 0);
INSERT INTO running VALUES ({epoch});
"""

VERSION = b"SELECT version()"
NOT_COMPRESSED = "ALTER TABLE commits ALTER COLUMN events SET STORAGE EXTERNAL;"
META = b"SELECT format, store_id FROM meta"
TREES = b"SELECT name, id FROM trees"
CEILING = b"SELECT value FROM ceilings WHERE name = 'counts'"
SERVER = b"SELECT version(), current_setting('synchronous_commit'), pg_is_in_recovery()"
RELATIONS = b"""SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s"""
NEWEST = b"""SELECT sequence, count, catalog, trees FROM commits ORDER BY sequence DESC LIMIT 1"""

# A transaction's beginning ------------------------------------------------------------------------
BEGIN_WRITING = b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
BEGIN_SERIALIZABLE = b"BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE"
BEGIN_READING = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
SET_WRITING = b"""SELECT set_config('synchronous_commit', 'off', true),
    set_config('lock_timeout', '%d', true),
    set_config('idle_in_transaction_session_timeout', '%d', true)"""
LOCK = b"SELECT pg_advisory_xact_lock(%d)"
LOCK_ROW = b"SELECT sequence FROM writer WHERE one = 0 FOR UPDATE"
NEWEST_TO_WRITE = b"""SELECT sequence, count, catalog, trees, last_value,
    (SELECT epoch FROM running LIMIT 1) FROM commits, drawn ORDER BY sequence DESC LIMIT 1"""
RESERVE_COUNTS = b"""SELECT setval('drawn', greatest((SELECT last_value FROM drawn),
    (SELECT count FROM commits ORDER BY sequence DESC LIMIT 1)) + %d)"""
SET_DRAWN = b"SELECT setval('drawn', %b)"

# A transaction's end ------------------------------------------------------------------------------
INSERT_COMMIT = b"""INSERT INTO commits (sequence, previous, count, catalog, trees, token, events)
    VALUES (%b, %b, %b, %b, %b, %b, %b)"""
TOUCH_ROW = b"UPDATE writer SET sequence = %b WHERE one = 0"
COMMIT = b"COMMIT"
ROLLBACK = b"ROLLBACK"
FIND_COMMIT = b"SELECT sequence FROM commits WHERE sequence > %b AND token = %b"
INSERT_TREE = b"INSERT INTO trees VALUES (%b, %s)"
DELETE_TREE = b"DELETE FROM trees WHERE id = %b"
INSERT_DROPPED = b"INSERT INTO dropped VALUES (%b, pg_current_xact_id()::xid)"
TRIM = b"""DELETE FROM commits WHERE sequence < %b AND sequence IN (
    SELECT sequence FROM commits
    WHERE sequence <= %b OR at < clock_timestamp() - make_interval(secs => %s)
    ORDER BY sequence LIMIT 10000)"""

# History ------------------------------------------------------------------------------------------
COMMITS_AFTER = b"""SELECT sequence, previous, events FROM (
    SELECT sequence, previous, events,
        sum(octet_length(events)) OVER (ORDER BY sequence) - octet_length(events) AS before
    FROM (SELECT sequence, previous, events FROM commits WHERE sequence > %b AND sequence <= %b
        ORDER BY sequence LIMIT 1000) AS found) AS page
    WHERE coalesce(before, 0) < 16777216 ORDER BY sequence"""
IS_LOST = b"""SELECT sequence > %b AND previous BETWEEN 0 AND %b FROM commits
    WHERE sequence >= %b ORDER BY sequence LIMIT 1"""
HAS_COMMIT = b"SELECT EXISTS (SELECT FROM commits WHERE sequence = %b)"

# Durability, counts and ids -----------------------------------------------------------------------
SYNC = b"""SELECT set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE current_setting('synchronous_commit') END, true),
    pg_logical_emit_message(true, 'conduitstore', '')"""
SYNC_COMMIT = b"""SELECT set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE current_setting('synchronous_commit') END, true)"""
BEGIN = b"BEGIN"
RAISE_COUNTS = b"""UPDATE ceilings SET value = greatest(value, %b) WHERE name = 'counts'
    RETURNING value"""
TAKE_IDS = b"""UPDATE ceilings SET value = (CASE value WHEN %b THEN %b ELSE value END) + %b
    WHERE name = 'ids' AND (CASE value WHEN %b THEN %b ELSE value END) <= %b RETURNING value"""
RETURN_IDS = b"UPDATE ceilings SET value = %b WHERE name = 'ids' AND value = %b"
RAISE_IDS = b"UPDATE ceilings SET value = greatest(value, %b) WHERE name = 'ids'"
NEXT_ID = b"SELECT value FROM ceilings WHERE name = 'ids'"
DRAWN = b"""SELECT greatest(count, last_value) FROM commits, drawn ORDER BY sequence DESC LIMIT 1"""
ALL_COUNTS = b"SELECT value FROM ceilings WHERE name = 'counts' FOR UPDATE"
INSERT_RUNNING = b"INSERT INTO running VALUES (%b)"
EPOCH = b"SELECT epoch FROM running LIMIT 1"

# Who has it open ----------------------------------------------------------------------------------
INSERT_HOLDER = b"INSERT INTO holders (id) VALUES (%s)"
SET_WATCHING = b"UPDATE holders SET watches = true WHERE id = %s"
ANYBODY_WATCHES = b"SELECT EXISTS (SELECT FROM holders WHERE watches AND id <> %s)"
DELETE_HOLDER = b"DELETE FROM holders WHERE id = %s"
DELETE_DEAD_HOLDERS = b"""DELETE FROM holders WHERE NOT EXISTS (
    SELECT FROM pg_stat_activity WHERE application_name = 'conduitstore ' || id) RETURNING id"""
LOCK_HOLDER = b"""SELECT pid, application_name, client_addr FROM pg_locks JOIN pg_stat_activity
    USING (pid) WHERE locktype = 'advisory' AND granted AND database = (
        SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid::bigint = %b AND objid::bigint = %b"""

# An operator's ------------------------------------------------------------------------------------
HAS_META = b"SELECT to_regclass(%s || '.meta') IS NOT NULL"
SIZE_ON_DISK = b"""SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint, count(*)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'S')"""
TABLE_PAGES = rb"""SELECT c.relname, pg_relation_size(c.oid) / current_setting('block_size')::bigint
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname ~ '^t_[0-9]+$'"""
LOG_BYTES = b"""SELECT (pg_current_wal_insert_lsn() - (pg_control_checkpoint()).redo_lsn)::bigint"""
REAPABLE = b"""SELECT id FROM dropped d WHERE NOT EXISTS (
    SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_xmin IS NOT NULL
    AND datname = current_database() AND age(backend_xmin) >= age(d.xid)) ORDER BY id"""
DELETE_DROPPED = b"DELETE FROM dropped WHERE id = %b"
EXPORT_SNAPSHOT = b"SELECT pg_export_snapshot()"

PAGE_BYTES = 1 << 20
"""Values of a page, but for the last one."""


class Table(NamedTuple):
    """The statements of one tree."""

    create: bytes
    drop: bytes
    vacuum: bytes
    get: bytes
    get_live: bytes
    has: bytes
    get_many: bytes
    has_many: bytes
    total: bytes
    upsert: bytes
    delete: bytes
    is_there: bytes


@lru_cache(maxsize=4_096)
def table(number: int) -> Table:
    """The statements of the tree with this number."""
    name = f"t_{int(number)}"
    upsert = (
        f"INSERT INTO {name} SELECT * FROM unnest(%b::bytea[], %b::bytea[]) "
        "ON CONFLICT (k) DO UPDATE SET v = excluded.v"
    )
    there = f"EXISTS (SELECT FROM trees WHERE id = {int(number)})"
    return Table(
        *(
            text.encode()
            for text in (
                f"CREATE TABLE {name} (k bytea PRIMARY KEY, v bytea NOT NULL)",
                f"DROP TABLE IF EXISTS {name}",
                f"VACUUM (ANALYZE) {name}",
                f"SELECT v FROM {name} WHERE k = %b",
                f"SELECT (SELECT v FROM {name} WHERE k = %b), {there}",
                f"SELECT EXISTS (SELECT FROM {name} WHERE k = %b), {there}",
                f"SELECT k, v FROM {name} WHERE k = ANY(%b::bytea[])",
                f"SELECT k FROM {name} WHERE k = ANY(%b::bytea[])",
                f"SELECT count(*) FROM {name}",
                upsert,
                f"DELETE FROM {name} WHERE k = ANY(%b::bytea[])",
                f"SELECT {there}",
            )
        )
    )


@lru_cache(maxsize=4_096)
def page(number: int, *, lo: bool, hi: bool, reverse: bool, values: bool) -> bytes:
    """Some neighbouring entries, or keys only; which bounds it takes comes before the limit."""
    bounds = " AND ".join([*(["k >= %b"] * lo), *(["k < %b"] * hi)]) or "true"
    order = "DESC" if reverse else "ASC"
    columns = "k, v" if values else "k"
    rows = f"SELECT {columns} FROM t_{int(number)} WHERE {bounds} ORDER BY k {order} LIMIT %s"
    if not values:
        return rows.encode()
    # A value's size is known without fetching it, so that many large ones do not come at once.
    return (
        "SELECT k, v FROM (SELECT k, v, sum(octet_length(v)) OVER (ORDER BY k "
        f"{order}) - octet_length(v) AS before FROM ({rows}) AS found) AS page "
        f"WHERE before < {PAGE_BYTES} ORDER BY k {order}"
    ).encode()


@lru_cache(maxsize=4_096)
def ranges(number: int, *, reverse: bool) -> bytes:
    """Some entries of each of many ranges, in the order of these, together no more than a page."""
    order = "DESC" if reverse else "ASC"
    return (
        "SELECT at, k, v FROM (SELECT at, k, v, sum(octet_length(v)) OVER (ORDER BY at, k "
        f"{order}) - octet_length(v) AS before FROM (SELECT at, k, v "
        "FROM unnest(%b::bytea[], %b::bytea[]) WITH ORDINALITY AS asked (lo, hi, at), LATERAL ("
        f"SELECT k, v FROM t_{int(number)} WHERE k >= lo AND k < hi ORDER BY k {order} LIMIT %s"
        f") AS rows ORDER BY at, k {order} LIMIT %s) AS found) AS page "
        f"WHERE before < {PAGE_BYTES} ORDER BY at, k {order}"
    ).encode()


def payload_bytes(numbers: list[int]) -> bytes:
    """How many entries each tree has, and how many bytes those."""
    each = (
        f"SELECT {int(number)}, count(*), "
        "coalesce(sum(octet_length(k) + octet_length(v)), 0)::bigint "
        f"FROM t_{int(number)}"
        for number in numbers
    )
    return " UNION ALL ".join(each).encode()


def sampled_bytes(percents: Mapping[int, float]) -> bytes:
    """The same of large trees, by a sample of their pages."""
    each = (
        f"SELECT {int(number)}, round(count(*) * {100 / percent:.6f})::bigint, "
        f"round(coalesce(sum(octet_length(k) + octet_length(v)), 0) * {100 / percent:.6f})::bigint "
        f"FROM t_{int(number)} TABLESAMPLE SYSTEM ({percent:.6f}) REPEATABLE (1)"
        for number, percent in percents.items()
    )
    return " UNION ALL ".join(each).encode()
