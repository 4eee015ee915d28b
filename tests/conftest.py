"""The engines every suite runs on, and how long Hypothesis may look for trouble.

Set ``HYPOTHESIS_PROFILE=long`` for the thorough search.
"""

import os
import sys
from collections import Counter
from contextlib import suppress
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, settings
from schemas import EmptiedSchema, LentSchemas
from stores import PostgresHarness

import conduitstore
from conduitstore.engine import embedded
from conduitstore.engine.embedded import forest
from conduitstore.engine.merge import MergeOperators
from conduitstore.errors import ConduitStoreError
from conduitstore.testing import MemoryDatabase, postgres
from conduitstore.testing.binaries import MISSING
from conduitstore.testing.disk import SimulatedDisk
from conduitstore.testing.report import (  # noqa: F401 - pytest finds its hooks here
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
    tally,
)

COMMON = {
    "deadline": None,
    # Explaining a failure takes longer than finding it, and a life tells its own story.
    "phases": [phase for phase in Phase if phase is not Phase.explain],
    "report_multiple_bugs": False,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
# The same lives in every run, so that a red run can be repeated; `long` looks for new ones.
settings.register_profile(
    "ci", max_examples=100, stateful_step_count=40, derandomize=True, **COMMON
)
settings.register_profile("long", max_examples=3_000, stateful_step_count=100, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


IS_COMPILED = not forest.__file__.endswith(".py")


def pytest_collection_modifyitems(items):
    """On the compiled build, leave out what needs frames, or modules that can be patched."""
    for item in items if IS_COMPILED else ():
        for mark in item.iter_markers("interpreted"):
            item.add_marker(pytest.mark.skip(reason=f"compiled: {mark.args[0]}"))


class MemoryHarness:
    """Ends of a store's life, for an engine that has none: only the chosen operators go."""

    is_persistent = False
    keeps_in_process = True
    counts_jump = False
    loses_commits = False

    def open(self, **_settings):
        return MemoryDatabase()

    def reopen(self, db):
        db.operators = MergeOperators()
        return db

    def kill(self, db):
        return self.reopen(db)

    def power_loss(self, db, _seed=0):
        return self.reopen(db)

    def checkpoint(self, db):
        pass

    def told_since(self, _db):
        """A subscriber may always go on from here."""
        return 0

    def reader(self, db):
        """The store once more, open for reading."""
        return db.snapshot()


class EmbeddedHarness:
    """A store on a simulated disk, with leaves so small that splits and merges are common."""

    is_persistent = True
    keeps_in_process = True
    counts_jump = True
    loses_commits = True

    def __init__(self):
        self.disk = SimulatedDisk()
        self.settings = {}

    def open(self, **settings):
        """Open with ``settings``, which later openings keep."""
        self.settings = {"leaf_entries_max": 4, **settings}
        return self._open()

    def _open(self):
        return embedded.open("store", files=self.disk, **self.settings)

    def reopen(self, db):
        """Close cleanly and open again."""
        db.close()
        return self._open()

    def kill(self, db):
        """Let the process die: handles are gone, what was written is not."""
        self.disk.kill()
        return self._bury(db)

    def power_loss(self, db, seed=0):
        """Let the machine die: any of the unsynced bytes may be gone."""
        self.disk.power_loss(seed)
        return self._bury(db)

    def _bury(self, db):
        """Open again. The dead store is closed only so that it ends its threads: it has no disk."""
        with suppress(ConduitStoreError):
            db.close()
        return self._open()

    def checkpoint(self, db):
        db.checkpoint()

    def told_since(self, db):
        """A subscriber may always go on from here: the newest checkpoint."""
        return db.generation.sequence

    def reader(self, _db):
        """The store once more, open for reading."""
        return embedded.open("store", files=self.disk, read_only=True, leaf_entries_max=4)


ENGINES = [
    pytest.param(MemoryHarness, id="memory"),
    pytest.param(EmbeddedHarness, id="embedded"),
    pytest.param(PostgresHarness, id="postgres"),
]


def harnesses_of(request):
    """Makes harnesses of the engine that ``request`` names; theirs goes with the test."""
    if request.param is not PostgresHarness:
        yield request.param
        return
    schemas, made = request.getfixturevalue("lent_schemas"), []

    def make():
        made.append(PostgresHarness(schemas.dsn, schemas))
        return made[-1]

    yield make
    for harness in made:
        harness.dispose()


@pytest.fixture(params=ENGINES)
def harness_class(request):
    """The engine under test."""
    yield from harnesses_of(request)


@pytest.fixture(params=ENGINES)
def other_harness(request):
    """Each engine in turn, to meet the one under test."""
    for make in harnesses_of(request):
        yield make()


@pytest.fixture
def harness(harness_class):
    return harness_class()


@pytest.fixture
def db(harness):
    with harness.open() as db:
        yield db


@pytest.fixture
def tree(db):
    return db.open_tree("key_value")


@pytest.fixture(scope="session")
def postgres_server():
    """A PostgreSQL by its ``dsn``: started here, or named in CONDUITSTORE_TEST_DSN."""
    if dsn := os.environ.get("CONDUITSTORE_TEST_DSN"):
        yield SimpleNamespace(dsn=dsn)
    elif postgres.find_binaries() is None:
        pytest.skip(MISSING)
    else:
        with postgres.running() as server:
            yield server


@pytest.fixture(scope="session")
def lent_schemas(postgres_server):
    """Schemas for harnesses, one after the other."""
    with LentSchemas(postgres_server.dsn) as schemas:
        yield schemas


@pytest.fixture(scope="session")
def emptied_schema(postgres_server):
    """A schema that tests of parts use one after the other."""
    with EmptiedSchema(postgres_server.dsn) as schema:
        yield schema


@pytest.fixture(params=["memory", "embedded", "postgres"])
def open_store(request, tmp_path):
    """Opens the store of this test, with all parts, on each engine in turn."""
    path, settings = ":memory:", {}
    if request.param == "embedded":
        path = tmp_path / "store"
    elif request.param == "postgres":
        schema = request.getfixturevalue("emptied_schema")
        schema.empty()
        path, settings = schema.dsn, schema.settings
    return partial(conduitstore.open, path, **settings)


@pytest.fixture
def faults(request, capsys):
    """Counts the faults a test injects, by outcome; there must be some."""
    counter = Counter()
    yield counter
    tally(request.path.stem.removeprefix("test_").replace("_", " "), counter.total())
    with capsys.disabled():
        sys.stdout.write(f"\n{counter.total()} faults, {dict(counter)}: ")
    assert counter.total() > 0
