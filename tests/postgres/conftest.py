"""Stores on the session's server; servers of a test's own, to be killed, and stores on them."""

import itertools
import os
import random
from contextlib import ExitStack, contextmanager

import pytest
from stores import PostgresHarness

from conduitstore.engine import open as open_store
from conduitstore.testing import binaries
from conduitstore.testing.postgres import Proxy, running

schemas = (f"faults_{number}" for number in itertools.count())
QUICK = {
    "flush_every_ms": 20,
    "poll_ms": 50,
    "connect_timeout_ms": 5_000,
    "lock_timeout_ms": 20_000,  # Nobody is to run into these two because the machine is busy.
    "idle_timeout_ms": 20_000,
    "statement_timeout_ms": 10_000,
    "idgen_persist_interval": 10,
}


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
    with harness.admin() as connection:
        yield connection


@pytest.fixture(scope="session")
def mortal():
    """A server that tests kill; each leaves it running."""
    if binaries.find_binaries() is None:
        pytest.skip(binaries.MISSING)
    with running() as server:
        yield server


@pytest.fixture
def schema():
    """Where this test's store is, for all that open it."""
    return next(schemas)


@pytest.fixture
def opened(mortal, proxy, schema):
    """Opens the test's store once more, as another process would, and closes it at the end."""
    with ExitStack() as stack:

        def open(dsn=None, **settings):
            settings = {**QUICK, "schema": schema, **settings}
            return stack.enter_context(closing(open_store(dsn or mortal.dsn, **settings)))

        yield open
        if not mortal.is_running:
            mortal.start()


@contextmanager
def closing(db):
    """Close it at the end whatever state it is in."""
    yield db
    db.close()


@pytest.fixture
def proxy(mortal):
    """A network between the server and whoever opens ``mortal.dsn_over(proxy.port)``."""
    with Proxy(mortal.port) as proxy:
        yield proxy


@pytest.fixture
def chance():
    return random.Random(os.environ.get("CRASH_SEED", "1"))
