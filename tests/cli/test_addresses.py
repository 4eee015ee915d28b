"""Commands on a store in a database, by its address."""

import psycopg
import pytest

import conduitstore
from conduitstore.engine.postgres import operations


@pytest.fixture
def address(postgres_server):
    with conduitstore.open(postgres_server.dsn) as store:
        store.users.create("@a:example.org", None)
    yield postgres_server.dsn
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA conduitstore CASCADE")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trees"], "userid_password"),
        (["scan", "userid_password"], "@a:example.org"),
        (["check"], "no violation"),
        (["stats"], "userid_password"),
        (["stats", "--exact"], "userid_password"),
        (["gc", "--dry-run"], ""),
        (["rebuild"], ""),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_a_command_takes_an_address(cli, address, words, said):
    result = cli(*words, "--path", address)
    assert result.exit_code == 0, result.output
    assert said in result.output


def test_what_is_estimated_is_marked(cli, address, monkeypatch):
    monkeypatch.setattr(operations, "SAMPLE_PAGES", 0.5)  # So that one page is large.
    assert "estimated" in cli("stats", "--path", address).output
    assert "estimated" not in cli("stats", "--exact", "--path", address).output


def test_what_is_about_files_wants_a_directory(cli, postgres_server):
    result = cli("verify", "--path", postgres_server.dsn)
    assert result.exit_code == 1
    assert "there is no store at" in result.stderr
