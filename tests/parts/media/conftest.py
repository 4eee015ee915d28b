"""Stores with files: in memory, and in directories."""

import pytest

import conduitstore
from conduitstore.files import DirectoryFiles, MemoryFiles


@pytest.fixture(params=["memory", "embedded"])
def store(request, tmp_path):
    path, files = ":memory:", MemoryFiles()
    if request.param == "embedded":
        path, files = tmp_path / "store", DirectoryFiles(tmp_path / "media")
    with conduitstore.open(path, media_files=files) as store:
        yield store


@pytest.fixture
def put(store):
    """Bytes that are there: their hash and size."""
    return lambda content: store.beside.files.put([content])
