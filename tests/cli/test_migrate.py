"""`conduitstore migrate`, on a release with one step more."""

import pytest

import conduitstore
from conduitstore import engine, store
from conduitstore.errors import CorruptedError
from conduitstore.ladder import Migration, load_migrations

LADDER = load_migrations()


def copy(tx, key, value):
    if key == b"bad":
        raise CorruptedError("old", 0, "of no use")
    tx.open_tree("new").insert(key, value)
    tx.open_tree("old").remove(key)


STEP = Migration(len(LADDER) + 1, "m9999_copy", rows={"old": copy})


@pytest.fixture
def old(path, monkeypatch):
    with conduitstore.open(path) as made:
        for key in (b"a", b"b", b"bad"):
            made.db.open_tree("old").insert(key, b"1")
    monkeypatch.setattr(store, "load_migrations", lambda: [*LADDER, STEP])
    return path


def checksum_of(path):
    with engine.open(path, read_only=True) as db:
        return db.checksum()


def test_a_migration_tells_what_it_did_and_where_the_backup_is(cli, old):
    before, backup = checksum_of(old), old.with_name(f"store.schema-{len(LADDER)}")
    result = cli("migrate", "--path", old)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "m9999_copy: 3 rows, 1 of them left alone",
        "  left alone: old: b'bad': old is damaged at byte 0: of no use",
        "  new: 2 rows written",
        "  old: 2 rows removed",
        f"the schema is at version {STEP.number}; as it was before: {backup}",
    ]
    assert checksum_of(backup) == before
    again = cli("migrate", "--path", old)
    assert again.stdout == f"nothing to do: the schema is at version {STEP.number}\n"


def test_a_dry_run_changes_no_row_and_takes_no_backup(cli, old):
    before = checksum_of(old)
    result = cli("migrate", "--dry-run", "--path", old)
    assert "  new: 2 rows to be written\n" in result.stdout
    assert f"the schema would be at version {STEP.number}\n" in result.stdout
    assert checksum_of(old) == before
    assert [file.name for file in old.parent.iterdir()] == ["store"]


def test_the_backup_goes_where_it_shall_or_is_left_out(cli, old, tmp_path):
    assert cli("migrate", "--path", old, "--no-backup", "--backup", "x").exit_code == 2
    cli("migrate", "--path", old, "--backup", tmp_path / "here")
    assert (tmp_path / "here").is_dir()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["here", "store"]


def test_no_backup_is_taken_where_none_is_wanted(cli, old):
    result = cli("migrate", "--path", old, "--no-backup")
    assert result.stdout.endswith(f"the schema is at version {STEP.number}\n")
    assert [file.name for file in old.parent.iterdir()] == ["store"]
