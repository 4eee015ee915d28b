"""Stores with files: in memory, and in directories."""

import pytest

from conduitstore.files import DirectoryFiles, MemoryFiles


@pytest.fixture
def store(open_store, request, tmp_path):
    in_memory = "memory" in request.node.callspec.id
    files = MemoryFiles() if in_memory else DirectoryFiles(tmp_path / "media")
    with open_store(media_files=files) as store:
        yield store


@pytest.fixture
def put(store):
    """Bytes that are there: their hash and size."""
    return lambda content: store.beside.files.put([content])
