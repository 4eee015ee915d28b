"""Which engine a path opens, and what it says where that is not installed."""

import sys

import pytest

from conduitstore import engine
from conduitstore.errors import InvalidArgumentError

DSN = "postgresql://nobody@localhost:1/nothing"


def test_a_server_needs_its_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in [name for name in sys.modules if name.startswith("conduitstore.engine.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InvalidArgumentError, match="needs psycopg: pip install"):
        engine.open(DSN)


def test_what_else_is_missing_is_not_taken_for_the_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "conduitstore.engine.postgres", None)
    with pytest.raises(ModuleNotFoundError, match="conduitstore"):
        engine.open(DSN)


def test_a_dsn_is_handed_to_the_engine_of_servers(monkeypatch):
    asked = []

    class Module:
        @staticmethod
        def open(dsn, **settings):
            asked.append((dsn, settings))
            return "a store"

    monkeypatch.setitem(sys.modules, "conduitstore.engine.postgres", Module)
    assert engine.open(DSN, pool=3) == "a store"
    assert asked == [(DSN, {"pool": 3})]
