"""A store that has something in every tree."""

import pytest
from lived import live

import conduitstore


@pytest.fixture
def store(open_store):
    with open_store() as store:
        store.transaction(live)
        yield store


@pytest.fixture(scope="session")
def lived():
    with conduitstore.open(":memory:") as store:
        store.transaction(live)
        yield store.db


class TakenBackError(Exception):
    """Leaves a transaction that shall leave nothing."""


@pytest.fixture
def found(lived):
    """What a rule, or any function of a keyspace, finds after a breaking, which is taken back."""

    def find(breaking, look):
        answers = []

        def run(tx):
            breaking(tx)
            answers.extend(look(tx))
            raise TakenBackError

        with pytest.raises(TakenBackError):
            lived.transaction(run)
        return answers

    return find
