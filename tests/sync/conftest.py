"""Syncs run on the memory engine and on disk alike."""

import pytest
from scenes import Scene

import conduitstore


@pytest.fixture(params=["memory", "embedded"])
def store(request, tmp_path):
    path = ":memory:" if request.param == "memory" else tmp_path / "store"
    with conduitstore.open(path) as store:
        yield store


@pytest.fixture
def scene(store):
    return Scene(store)
