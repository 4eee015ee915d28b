"""Three nodes: what any standby has acknowledged survives the loss of the primary, under load."""

import os
import random
import time

import psycopg
import pytest
from crew import at_work, crew, finish, grows
from ledger import Ledger
from patience import eventually

from conduitstore import engine
from conduitstore.errors import InvalidArgumentError
from conduitstore.testing import binaries
from conduitstore.testing.cluster import cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(binaries.find_binaries() is None, reason=binaries.MISSING),
]
FAILOVERS = int(os.environ.get("FAILOVERS", "2"))
QUICK = {"flush_every_ms": 20, "poll_ms": 50, "lock_timeout_ms": 5_000}


@pytest.fixture
def nodes():
    with cluster() as nodes:
        yield nodes


def streaming(nodes):
    """How many standbys the primary's durable commits may count on."""
    with psycopg.connect(nodes.primary.dsn, autocommit=True) as connection:
        query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
        return connection.execute(query).fetchone()[0]


def has_caught_up(nodes):
    """Whether every standby shows all that the primary has committed so far."""
    with psycopg.connect(nodes.primary.dsn, autocommit=True) as connection:
        query = "SELECT bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication"
        return connection.execute(query).fetchone()[0]


def test_promotions_under_load(nodes, faults):
    """The primary dies; the standby that has most takes over, and a new standby joins; again."""
    chance, ledger = random.Random(1), Ledger()
    eventually(lambda: streaming(nodes) == 2)
    with engine.open(nodes.dsn, **QUICK) as one, engine.open(nodes.dsn, **QUICK) as other:
        stores = iter((one, other))
        _, workers = crew(lambda: next(stores), ledger)
        with at_work(*workers):
            for _ in range(FAILOVERS):
                grows(ledger)
                time.sleep(chance.random() * 0.3)
                lost = nodes.fail_over()
                faults["promoted"] += 1
                grows(ledger)
                nodes.join(port=lost.port)
                eventually(lambda: streaming(nodes) == 2)
        finish(one, workers, ledger)


def test_without_a_standby_nothing_is_durable_and_nothing_else_waits(nodes, faults):
    """A durable commit waits for a standby; others do not, and it is there when one comes back."""
    with engine.open(nodes.dsn, **QUICK | {"flush_every_ms": None}) as db:
        db.transaction(lambda tx: tx.insert(b"k", b"1"), durability="commit")
        durable = db.durable_sequence
        for standby in nodes.standbys.values():
            standby.stop("fast")
            faults["standby stopped"] += 1
        db.insert(b"k", b"2")
        assert db.get(b"k") == b"2"
        assert db.durable_sequence == durable
        next(iter(nodes.standbys.values())).start()
        assert db.flush() == db.sequence > durable


def test_a_standby_serves_who_only_reads(nodes):
    standby = next(iter(nodes.standbys.values()))
    with engine.open(nodes.dsn, **QUICK) as db:
        tree = db.open_tree("key_value")
        eventually(lambda: has_caught_up(nodes))
        with engine.open(standby.dsn, read_only=True, **QUICK) as reader:
            tree.insert(b"k", b"v")
            db.transaction(lambda tx: tx.next_count())
            eventually(lambda: reader.open_tree("key_value").get(b"k") == b"v")
            eventually(lambda: reader.current_count() == 1)
            with reader.snapshot() as view:
                assert list(view.open_tree("key_value")) == [(b"k", b"v")]
            with pytest.raises(InvalidArgumentError):
                reader.open_tree("key_value").insert(b"k", b"w")
            with reader.open_tree("key_value").watch_prefix(b"") as changes:
                tree.insert(b"k", b"later")
                assert changes.next(30) == (b"k", b"later")
        with pytest.raises(InvalidArgumentError, match="standby"):
            engine.open(standby.dsn, **QUICK).insert(b"k", b"v")
