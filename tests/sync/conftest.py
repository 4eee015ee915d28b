"""Syncs run on the memory engine and on disk alike."""

import pytest
from scenes import Scene


@pytest.fixture
def store(open_store):
    with open_store() as store:
        yield store


@pytest.fixture
def scene(store):
    return Scene(store)
