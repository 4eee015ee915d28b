"""Stores of every released schema: migrated, found consistent, and read through the parts."""

from pathlib import Path

import pytest

import conduitstore
from conduitstore import UnsupportedFormatError, engine
from conduitstore.consistency import check
from conduitstore.ladder import load_migrations
from conduitstore.parts.holder import Parts
from conduitstore.types import Count

GOLDEN = Path(__file__).parent
NEWEST = len(load_migrations())
VERSIONS = sorted(int(path.stem.partition("-")[2]) for path in GOLDEN.glob("schema-*.stream"))
ANN, BEN = "@ann:one.test", "@ben:two.test"
ATTIC, CELLAR = "!attic:one.test", "!cellar:one.test"


@pytest.fixture(params=VERSIONS, ids=lambda version: f"schema {version}")
def golden(request, tmp_path):
    """A store of an earlier schema, and its version."""
    path = tmp_path / "store"
    with engine.open(path) as db, (GOLDEN / f"schema-{request.param}.stream").open("rb") as stream:
        db.import_(stream)
    return path, request.param


def rows(path):
    with engine.open(path, read_only=True) as db, db.snapshot() as view:
        return {name: dict(iter(view.open_tree(name))) for name in view.tree_names()}


def test_there_is_one_for_every_schema_with_rows_before_this_one():
    assert list(range(1, max(VERSIONS) + 1)) == VERSIONS
    assert max(VERSIONS) >= NEWEST - 1


def test_an_older_store_says_what_it_is_and_what_to_do(golden):
    path, version = golden
    with engine.open(path, read_only=True) as db:
        assert Parts(db).globals.schema_version() == version
    if version < NEWEST:
        with pytest.raises(UnsupportedFormatError, match="conduitstore migrate"):
            conduitstore.open(path)


def test_it_migrates_and_is_consistent(golden, tmp_path):
    path, version = golden
    before = rows(path)
    dry = conduitstore.upgrade(path, dry_run=True)
    assert rows(path) == before
    applied = conduitstore.upgrade(path, backup=tmp_path / "backup")
    assert [step.step.number for step in applied] == list(range(version + 1, NEWEST + 1))
    assert [vars(step) for step in dry] == [vars(step) for step in applied]
    assert not any(step.skipped_total for step in applied)
    with conduitstore.open(path) as store, store.snapshot() as view:
        assert store.globals.schema_version() == NEWEST
        # Its rooms are bare timelines, not made by rooms.append; all else is whole.
        without_state = [found for found in check(view.keyspace) if found.rule == 7]
        assert list(check(view.keyspace)) == without_state
        assert len(without_state) == 2
    if version < NEWEST:
        assert rows(tmp_path / "backup") == before


def test_everything_in_it_is_read(golden):
    path, _ = golden
    with conduitstore.open(path, migrate=True) as store:
        rooms, upto = store.rooms, store.globals.current_count()
        assert store.users.all() == [ANN, BEN]
        assert store.users.password_hash(ANN) == "hash of @ann:one.test"
        assert store.devices.find_from_token("token of @ben:two.test") == (BEN, "PHONE")
        ((_, waiting),) = store.to_device.events_since(ANN, "PHONE", Count(0), upto)
        assert waiting["content"] == {"for": ANN}
        assert store.account_data.get(None, BEN, "m.direct") == {"is": BEN}
        for room in (ATTIC, CELLAR):
            events, more = rooms.timeline.page(room, None, "f", 100)
            assert [event.event_id for event in events] == [f"${n}{room}" for n in range(20)]
            assert more is None
            receipts = rooms.receipts.since(room, Count(0), upto)
            assert [receipt.user for receipt in receipts] == [ANN, BEN]
            assert rooms.receipts.private_read(ANN, room) == 3
        assert rooms.members.joined_members(ATTIC) == [ANN, BEN]
        assert rooms.members.joined_members(CELLAR) == [ANN]
        assert rooms.receipts.newest(ANN, ATTIC)[1] == f"$19{ATTIC}"
        older = {f"$18{ATTIC}": {"m.read": {ANN: {}}}}
        assert rooms.receipts.update(ANN, ATTIC, {"type": "m.receipt", "content": older}) is None


def test_m0002_finds_rooms_by_number_and_receipts_by_thread(golden):
    path, version = golden
    before = rows(path)
    assert version != 1 or not {"shortroomid_room", "roomuserthreadid_readreceiptid"} & set(before)
    conduitstore.upgrade(path)
    migrated = rows(path)
    numbers = {number: room for room, number in migrated["roomid_shortroomid"].items()}
    assert len(numbers) == 2
    assert migrated["shortroomid_room"] == numbers
    newest = migrated["roomuserthreadid_readreceiptid"]
    assert len(newest) == 4
    assert newest[f"{ATTIC}\xff{ANN}\xff".encode("latin-1")].endswith(f"$19{ATTIC}".encode())
    assert len(before.get("roomuserid_readreceiptcount", newest)) == 4
