"""The engines every suite runs on, and how long Hypothesis may look for trouble.

Set ``HYPOTHESIS_PROFILE=long`` for the thorough search.
"""

import os
from importlib import import_module

import pytest
from hypothesis import HealthCheck, settings

from conduitstore.engine.merge import MergeOperators
from conduitstore.testing import MemoryDatabase

COMMON = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("ci", max_examples=100, stateful_step_count=40, **COMMON)
settings.register_profile("long", max_examples=3_000, stateful_step_count=100, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


class MemoryHarness:
    """Ends of a store's life, for an engine that has none: only the chosen operators go."""

    is_persistent = False

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


class EmbeddedHarness:
    """A store on a simulated disk, with leaves so small that splits and merges are common."""

    is_persistent = True

    def __init__(self):
        self.disk = import_module("conduitstore.testing.disk").SimulatedDisk()
        self.settings = {}

    def open(self, **settings):
        """Open with ``settings``, which later openings keep."""
        self.settings = {"leaf_entries_max": 4, **settings}
        return self._open()

    def _open(self):
        engine = import_module("conduitstore.engine.embedded")
        return engine.open("store", files=self.disk, **self.settings)

    def reopen(self, db):
        """Close cleanly and open again."""
        db.close()
        return self._open()

    def kill(self, _db):
        """Let the process die: handles are gone, what was written is not."""
        self.disk.kill()
        return self._open()

    def power_loss(self, _db, seed=0):
        """Let the machine die: any of the unsynced bytes may be gone."""
        self.disk.power_loss(seed)
        return self._open()

    def checkpoint(self, db):
        db.checkpoint()


def _is_embedded_there():
    try:
        import_module("conduitstore.testing.disk")
        return hasattr(import_module("conduitstore.engine.embedded"), "open")
    except ImportError:
        return False


@pytest.fixture(
    params=[
        pytest.param(MemoryHarness, id="memory"),
        pytest.param(
            EmbeddedHarness,
            id="embedded",
            marks=pytest.mark.skipif(
                not _is_embedded_there(), reason="the embedded engine does not open stores yet"
            ),
        ),
    ]
)
def harness_class(request):
    """The engine under test."""
    return request.param


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
