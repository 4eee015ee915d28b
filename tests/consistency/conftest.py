"""A store that has something in every tree."""

import pytest
from lived import live

import conduitstore


@pytest.fixture(params=["memory", "embedded"])
def store(request, tmp_path):
    path = ":memory:" if request.param == "memory" else tmp_path / "store"
    with conduitstore.open(path) as store:
        store.transaction(live)
        yield store
