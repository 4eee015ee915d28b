"""conduitstore copy: from store to store, killed and resumed, in bounded memory."""

import itertools
import os
import random
import subprocess
import sys
import tracemalloc

import pytest

import conduitstore
from conduitstore import engine
from conduitstore.engine.transfer import IMPORT_MARK
from conduitstore.errors import InvalidArgumentError

from .conftest import ALICE

pytestmark = pytest.mark.slow
MODULE = [sys.executable, "-m", "conduitstore"]


def content(path):
    with engine.open(path, read_only=True) as db:
        return contents(db)


def contents(db):
    return {name: list(db.open_tree(name)) for name in db.tree_names()}


def test_a_copy_is_the_same_store(cli, filled, tmp_path):
    result = cli("copy", filled, tmp_path / "twin")
    assert result.exit_code == 0
    assert content(tmp_path / "twin") == content(filled)
    with conduitstore.open(tmp_path / "twin") as twin, conduitstore.open(filled) as store:
        assert f"checksum {store.db.checksum():08x}; " in result.output
        assert f"counts go on above {twin.db.current_count():,}" in result.output
        upto = store.db.current_count()
        queued = [of.to_device.events_since(ALICE, "PHONE/1", 0, upto) for of in (store, twin)]
        assert len(queued[0]) == 2
        assert queued[0] == queued[1]


def test_the_source_may_be_in_use(cli, filled, tmp_path):
    with conduitstore.open(filled) as store:
        before = content(filled)
        assert cli("copy", filled, tmp_path / "twin").exit_code == 0
        store.users.create("@bob:example.org", None)
    assert content(tmp_path / "twin") == before


def test_a_copy_is_brought_up_to_date(cli, filled, tmp_path):
    assert cli("copy", filled, tmp_path / "twin").exit_code == 0
    with conduitstore.open(filled) as store:
        store.users.create("@bob:example.org", None)
        store.devices.remove(ALICE, "PHONE/1")
    refused = cli("copy", filled, tmp_path / "twin")
    assert refused.exit_code == 1
    assert "goes into an empty store" in refused.stderr
    assert "copy with --replace" in refused.stderr
    assert cli("copy", filled, tmp_path / "twin", "--replace").exit_code == 0
    assert content(tmp_path / "twin") == content(filled)


def test_settings_are_those_of_the_stores(cli, filled, tmp_path):
    settings = ["leaf_entries_max=5", "flush_every_ms=null", "durability=commit"]
    words = [word for setting in settings for word in ("--target-setting", setting)]
    assert cli("copy", filled, tmp_path / "twin", *words).exit_code == 0
    assert content(tmp_path / "twin") == content(filled)
    wrong = cli("copy", filled, tmp_path / "other", "--target-setting", "durability=never")
    assert wrong.exit_code == 1
    assert "durability" in wrong.stderr
    for word in ("no_equals", "=x", "a b=1"):
        assert cli("copy", filled, tmp_path / "x", "--source-setting", word).exit_code == 2


def test_where_there_is_no_source_nothing_is_made(cli, tmp_path):
    result = cli("copy", tmp_path / "none", tmp_path / "twin")
    assert result.exit_code == 1
    assert "there is no store" in result.stderr
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "twin").exists()


def test_a_store_copied_onto_itself_stays_what_it_was(cli, filled):
    before = content(filled)
    assert cli("copy", filled, filled).exit_code == 1
    assert cli("copy", filled, filled, "--replace").exit_code == 0
    assert content(filled) == before


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Twenty-four megabytes, so that a copy takes long enough to be killed in it."""
    path = tmp_path_factory.mktemp("large") / "store"
    with engine.open(path) as db:
        chance = random.Random(1)
        for name in ("a", "b", "c"):
            batch = engine.Batch()
            for number in range(5_000):
                batch.insert(name, number.to_bytes(3), chance.randbytes(1_500))
            db.apply_batch(batch)
        db.open_tree("big").insert(b"blob", bytes(1 << 20))
    return path


class Directory:
    """A place for a copy: a directory of its own."""

    settings, seconds = (), (0.3, 1.5)

    def __init__(self, tmp_path, number, _request):
        self.address = tmp_path / f"twin{number}"

    def open(self, opener=engine.open, **settings):
        return opener(self.address, **settings)


class Schema:
    """A place for a copy: a schema of its own on PostgreSQL."""

    seconds = 1, 4

    def __init__(self, _tmp_path, number, request):
        self.address = request.getfixturevalue("postgres_server").dsn
        self.schema = f"twin_{os.getpid()}_{number}"
        self.settings = ("--target-setting", f"schema={self.schema}")

    def open(self, opener=engine.open, **settings):
        return opener(self.address, schema=self.schema, **settings)


@pytest.mark.parametrize("place", [Directory, Schema])
def test_a_killed_copy_is_no_store_and_goes_on(place, request, large, tmp_path, faults):
    chance = random.Random(2)
    twins = (place(tmp_path, number, request) for number in itertools.count())
    twin = next(twins)
    with engine.open(large) as source:
        for _ in range(int(os.environ.get("COPY_ROUNDS", "8"))):
            command = [*MODULE, "copy", str(large), str(twin.address), *twin.settings]
            with subprocess.Popen(command) as process:
                try:
                    assert process.wait(chance.uniform(*place.seconds)) == 0
                except subprocess.TimeoutExpired:
                    process.kill()
            with twin.open() as db:
                db.transaction(lambda _: None)  # Behind a commit of the dead that is on its way.
                names = db.tree_names()
                outcome = "a part" if IMPORT_MARK in names else "whole" if "a" in names else "empty"
                if outcome == "whole":
                    assert contents(db) == contents(source)
            faults[outcome] += 1
            if outcome == "a part":
                with pytest.raises(InvalidArgumentError, match="part of an import"):
                    twin.open(conduitstore.open)
            elif outcome == "whole":
                twin = next(twins)
            source.open_tree("a").insert(chance.randbytes(3), b"meanwhile")
            source.open_tree("b").remove(chance.randrange(5_000).to_bytes(3))
        with twin.open() as db:
            engine.copy(source, db, replace=True)
            assert contents(db) == contents(source)


def test_there_and_back(cli, filled, tmp_path, postgres_server):
    schema = f"there_{os.getpid()}"
    there = cli("copy", filled, postgres_server.dsn, "--target-setting", f"schema={schema}")
    assert there.exit_code == 0
    with conduitstore.open(postgres_server.dsn, schema=schema) as store:
        store.users.create("@bob:example.org", None)
        found = contents(store.db)
    back = ("--source-setting", f"schema={schema}")
    assert cli("copy", postgres_server.dsn, tmp_path / "back", *back).exit_code == 0
    assert content(tmp_path / "back") == found


def test_memory_does_not_grow_with_the_store(large, tmp_path):
    small = {
        "cache_capacity_bytes": 200_000,
        "checkpoint_log_bytes": 500_000,
        "dirty_bytes_max": 1_000_000,
    }
    with (
        engine.open(large, read_only=True, **small) as source,
        engine.open(tmp_path / "twin", **small) as target,
    ):
        tracemalloc.start()
        try:
            engine.copy(source, target)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 14 << 20, "of 24 megabytes; one value of a megabyte is in several hands"
