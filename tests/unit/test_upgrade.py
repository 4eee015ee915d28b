"""Steps that rewrite rows: in batches, resumable, tried without leaving anything, backed up."""

import pytest

import conduitstore
from conduitstore import engine, migrate, store
from conduitstore.errors import CorruptedError, UnsupportedFormatError
from conduitstore.ladder import Migration, load_migrations
from conduitstore.parts.holder import Parts

LADDER = load_migrations()
TOTAL = 25


def move(tx, key, value):
    if value == b"rotten":
        raise CorruptedError("old", 0, "rotten")
    tx.open_tree("new").insert(key, value * 2)


def follow(tx, key, _value):
    tx.open_tree("other_new").insert(key, b"")


STEP = Migration(
    len(LADDER) + 1,
    "m9999_move",
    lambda tx: tx.open_tree("new").insert(b"last", b""),
    {"old": move, "other": follow},
)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(migrate, "BATCH_ROWS", 10)


@pytest.fixture
def ladder(monkeypatch):
    """A release with one step more."""
    monkeypatch.setattr(store, "load_migrations", lambda: [*LADDER, STEP])


@pytest.fixture
def path(tmp_path):
    """A store of the schema before that step."""
    path = tmp_path / "store"
    with conduitstore.open(path) as made:
        for number in range(TOTAL):
            made.db.open_tree("old").insert(bytes([number]), b"x")
        made.db.open_tree("other").insert(b"o", b"")
    return path


def contents(path):
    with engine.open(path, read_only=True) as db, db.snapshot() as view:
        return {name: dict(iter(view.open_tree(name))) for name in view.tree_names()}


def version(path):
    with engine.open(path, read_only=True) as db:
        return Parts(db).globals.schema_version()


def migrated(before):
    new = {key: value * 2 for key, value in before["old"].items()} | {b"last": b""}
    rows = before["global"] | {b"version": STEP.number.to_bytes(8)}
    return before | {"new": new, "other_new": {b"o": b""}, "global": rows}


def test_every_row_goes_through_once(path, ladder):
    before, told = contents(path), []
    (applied,) = conduitstore.upgrade(path, on_progress=lambda *news: told.append(news))
    assert contents(path) == migrated(before)
    assert (applied.rows_total, applied.skipped_total) == (TOTAL + 1, 0)
    assert applied.changes == {("new", "written"): TOTAL + 1, ("other_new", "written"): 1}
    assert str(applied) == "m9999_move: 26 rows"
    assert told[0] == ("m9999_move", 10, TOTAL + 1)
    assert told[-1] == ("m9999_move", TOTAL + 1, TOTAL + 1)
    assert conduitstore.upgrade(path) == []


@pytest.mark.parametrize("batch", range(1, 7))
def test_the_next_run_goes_on_where_one_died(path, ladder, batch):
    before, batches, applied = contents(path), 0, None

    def die(*_):
        nonlocal batches
        batches += 1
        if batches == batch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        applied = conduitstore.upgrade(path, on_progress=die)
    assert applied is None
    assert version(path) == len(LADDER)
    (applied,) = conduitstore.upgrade(path)
    assert applied.rows_total < TOTAL + 1
    assert contents(path) == migrated(before)


def test_a_row_that_cannot_be_read_is_left_alone_and_told(path, ladder):
    with engine.open(path) as db:
        db.open_tree("old").insert(b"bad", b"rotten")
    (applied,) = conduitstore.upgrade(path)
    assert applied.skipped_total == 1
    assert applied.skipped[0].startswith("old: b'bad': ")
    assert str(applied).endswith("27 rows, 1 of them left alone")
    assert contents(path)["old"][b"bad"] == b"rotten"
    assert version(path) == STEP.number


def test_a_dry_run_says_the_same_and_changes_no_row(path, ladder, tmp_path):
    before = contents(path)
    dry = conduitstore.upgrade(path, dry_run=True, backup=tmp_path / "backup")
    assert contents(path) == before
    assert not (tmp_path / "backup").exists()
    assert [vars(one) for one in dry] == [vars(one) for one in conduitstore.upgrade(path)]


def test_a_backup_is_taken_before_the_first_write_and_only_then(path, ladder, tmp_path):
    before = contents(path)
    conduitstore.upgrade(path, backup=tmp_path / "backup")
    assert contents(tmp_path / "backup") == before
    conduitstore.upgrade(path, backup=tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_what_is_half_done_is_not_backed_up(path, ladder, tmp_path):
    def die(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conduitstore.upgrade(path, on_progress=die, backup=tmp_path / "backup")
    before = contents(tmp_path / "backup")
    conduitstore.upgrade(path, backup=tmp_path / "backup")
    assert contents(tmp_path / "backup") == before


def test_opening_takes_no_step_that_rewrites_rows_unless_told(path, ladder):
    before = contents(path)
    with pytest.raises(UnsupportedFormatError, match=r"m9999_move.*conduitstore migrate"):
        conduitstore.open(path)
    with pytest.raises(UnsupportedFormatError, match="open the store for writing"):
        conduitstore.open(path, read_only=True)
    assert contents(path) == before
    conduitstore.open(path, migrate=True).close()
    assert contents(path) == migrated(before)
    conduitstore.open(path).close()


def test_a_store_without_such_rows_is_simply_opened(ladder, tmp_path):
    with conduitstore.open(tmp_path / "fresh") as fresh:
        assert fresh.globals.schema_version() == STEP.number


def test_a_newer_schema_is_not_upgraded(path, ladder, monkeypatch):
    conduitstore.upgrade(path)
    monkeypatch.setattr(store, "load_migrations", lambda: LADDER)
    before = contents(path)
    with pytest.raises(UnsupportedFormatError, match="upgrade conduitstore"):
        conduitstore.upgrade(path, backup=path.with_name("backup"))
    assert contents(path) == before
    assert not path.with_name("backup").exists()
