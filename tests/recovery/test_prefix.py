"""History up to a damage: what is kept, what is told, what is left for people to look at."""

import copy

import pytest
from damaged import (
    all_gone,
    bytes_of,
    flipped,
    frames_of,
    killed,
    open_on,
    replaced,
    salvaged,
    without_frame,
)

from conduitstore.engine import embedded
from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.format import FrameKind
from conduitstore.errors import (
    CorruptedError,
    InvalidArgumentError,
    LaggedError,
    UnsupportedFormatError,
)
from conduitstore.testing.crash import content
from conduitstore.testing.disk import SimulatedDisk

LIVED = killed()
NEWEST = max(LIVED.states)
LOG = LIVED.files(names.LOG)[-1]
MANIFEST = LIVED.files(names.MANIFEST)[-1]
SEGMENT = LIVED.files(names.SEGMENT)[-1]


def damaged_commit(number):
    """The store with one commit of its newest log damaged; gives the offset too."""
    offset = frames_of(LIVED.disk, LOG)[number].offset
    return without_frame(LIVED.disk, LOG, offset), offset


@pytest.mark.parametrize("mode", ["prefix", "salvage"])
def test_nothing_happens_to_a_whole_store(mode):
    disk = copy.deepcopy(LIVED.disk)
    with open_on(disk, recover=mode) as db:
        assert content(db) == LIVED.states[NEWEST]
        assert db.sequence == NEWEST
        assert db.recovery_report.mode == "strict"
        incarnation, count = db.stats().incarnation, db.current_count()
        next_id = db.generate_id()
    with open_on(disk, recover=mode) as db:
        assert db.stats().incarnation == incarnation
        assert (db.current_count(), db.generate_id()) == (count, next_id + 1)
        assert not db.recovery_report
    assert not any(map(names.is_set_aside, disk.directory("store").names()))


def test_the_log_is_kept_up_to_its_damage_and_the_rest_is_told():
    disk, offset = damaged_commit(3)
    with pytest.raises(CorruptedError, match=LOG):
        open_on(disk)
    with open_on(disk, recover="prefix") as db:
        report = db.recovery_report
        assert content(db) == LIVED.states[report.sequence]
        assert report.mode == "prefix"
        assert report.commits_lost == NEWEST - report.sequence > 0
        damage = next(d for d in report.damages if d.file == LOG)
        assert damage.offset == offset
        text = str(report)
        assert f"history is kept up to commit {report.sequence}" in text
        assert f"{report.commits_lost} commits are known to be lost" in text
        assert f"{LOG}, bytes {offset} to" in text
        assert f"kept aside: {LOG}.damaged" in text
        assert db.was_recovered


@pytest.mark.parametrize("mode", ["prefix", "salvage"])
def test_numbers_go_on_far_above_and_another_life_begins(mode):
    disk, _ = damaged_commit(3)
    with open_on(copy.deepcopy(LIVED.disk)) as db:
        before = db.stats().incarnation
    with open_on(disk, recover=mode) as db:
        gap = 1 << 32
        assert db.current_count() > LIVED.count + gap
        assert db.transaction(lambda tx: tx.next_count()) > LIVED.count + gap
        assert db.generate_id() > max(LIVED.ids) + gap
        assert db.sequence > NEWEST + gap
        assert db.stats().incarnation != before


@pytest.mark.parametrize("mode", ["prefix", "salvage"])
def test_subscribers_of_the_lost_history_are_told_so(mode):
    disk, _ = damaged_commit(3)
    with open_on(disk, recover=mode) as db:
        kept, told = db.recovery_report.sequence, db.sequence
        for since in (kept - 1, kept, kept + 1, NEWEST, told - 1):
            with pytest.raises(LaggedError, match="not of this history"):
                db.watch_prefix(b"", since=since)
        db.insert(b"a", b"1")
        assert db.watch_prefix(b"", since=told).next(0).key == b"a"


def test_the_damaged_file_stays_and_nothing_trips_over_it():
    disk, _ = damaged_commit(3)
    original = bytes_of(disk, LOG)
    open_on(disk, recover="prefix").close()
    directory = disk.directory("store")
    assert LOG not in directory.names()
    assert bytes_of(disk, LOG + names.DAMAGED) == original
    for _ in range(2):
        with open_on(disk) as db:
            assert list(db.verify()) == []
            db.insert(b"k", b"v")
            db.checkpoint()
            assert db.size_on_disk() == sum(len(bytes_of(disk, n)) for n in directory.names())
            db.backup("backup")
    assert list(embedded.verify("store", files=disk)) == []
    assert embedded.repair("store", files=disk) == []
    assert not any(map(names.is_set_aside, disk.directory("backup").names()))
    assert bytes_of(disk, LOG + names.DAMAGED) == original
    directory.unlink(LOG + names.DAMAGED)
    with open_on(disk) as db:
        assert db.get(b"k") == b"v"


def test_a_backup_of_the_lost_history_is_not_gone_on_with():
    disk = copy.deepcopy(LIVED.disk)
    with open_on(disk) as db:
        db.backup("backup")
        manifest = db.checkpointer.manifest.name
    with (
        open_on(flipped(disk, manifest, 30), recover="prefix") as db,
        pytest.raises(InvalidArgumentError, match="another store or incarnation"),
    ):
        db.backup("backup")


@pytest.mark.parametrize("at", ["header", "changes", "ceilings", "last"])
def test_a_damaged_manifest_loses_nothing_where_the_log_leads_on(at):
    disk = copy.deepcopy(LIVED.disk)
    with open_on(disk) as db:
        taken = max(db.reserve_ids(25))
        db.checkpoint()
        db.insert(b"x", b"y")
        db.checkpoint()
        db.flush()
        expected, manifest = content(db), db.checkpointer.manifest.name
    found = frames_of(disk, manifest)
    kinds = [frame.kind for frame in found]
    assert FrameKind.CEILINGS in kinds
    offset = {
        "header": 0,
        "changes": found[kinds.index(FrameKind.CHANGES)].offset,
        "ceilings": found[kinds.index(FrameKind.CEILINGS)].offset,
        "last": found[-1].offset,
    }[at]
    disk = flipped(disk, manifest, offset + 20)
    db = open_on(disk, recover="prefix")
    assert content(db) == expected
    assert db.recovery_report.commits_lost == 0
    assert db.generate_id() > taken


def test_without_a_whole_generation_it_refuses_and_changes_nothing():
    disk = flipped(LIVED.disk, MANIFEST, 90)
    before = {n: bytes_of(disk, n) for n in disk.directory("store").names() if n != names.LOCK}
    with pytest.raises(CorruptedError, match=r'recover="salvage"') as caught:
        open_on(disk, recover="prefix")
    assert caught.value.file == MANIFEST
    assert {n: bytes_of(disk, n) for n in before} == before


def test_a_generation_that_does_not_lead_to_the_newest_one_is_refused():
    """Its leaves would be a state that was, but nobody would know what came after it."""
    disk = SimulatedDisk()
    db = open_on(disk, log_keep_bytes=0)
    for number in range(4):
        db.insert(b"k", b"%d" % number)
        db.checkpoint()
    manifest = db.checkpointer.manifest.name
    disk.kill()
    changes = [f for f in frames_of(disk, manifest) if f.kind == FrameKind.CHANGES]
    damaged = without_frame(disk, manifest, changes[1].offset)
    with pytest.raises(CorruptedError, match=r'recover="salvage"'):
        open_on(damaged, recover="prefix", log_keep_bytes=0)
    for disk in (damaged, all_gone(damaged, names.LOG)):
        found, report = salvaged(disk, log_keep_bytes=0)
        assert found == {"__default__": [(b"k", b"3")]}
        assert report.commits_lost == 0


def test_a_leaf_that_the_log_needs_is_made_of_the_generation_before():
    disk = without_frame(LIVED.disk, SEGMENT, frames_of(LIVED.disk, SEGMENT)[-1].offset)
    with open_on(disk, recover="prefix") as db:
        assert content(db) == LIVED.states[NEWEST]
        assert db.recovery_report.commits_lost == 0
        assert {damage.file for damage in db.recovery_report.mended} == {SEGMENT}
        assert [damage for damage in db.verify() if damage.tree is not None] == []


def test_a_missing_log_is_a_damage():
    disk = replaced(LIVED.disk, LOG, None)
    with pytest.raises(CorruptedError, match="missing"):
        open_on(disk)
    with open_on(disk, recover="prefix") as db:
        assert content(db) == LIVED.states[db.recovery_report.sequence]
        assert f"{LOG}, bytes 0 to 0: the manifest names it, but it is missing" in str(
            db.recovery_report
        )


def test_a_manifest_whose_end_is_torn_is_not_trusted_with_numbers():
    disk = copy.deepcopy(LIVED.disk)
    db = open_on(disk)
    taken = max(db.reserve_ids(25))  # Raises the ceilings: the last frame.
    manifest = db.checkpointer.manifest.name
    disk.kill()
    last = frames_of(disk, manifest)[-1]
    assert last.kind == FrameKind.CEILINGS
    for damaged in (
        flipped(disk, manifest, last.offset + 17),
        replaced(disk, manifest, bytes_of(disk, manifest)[: last.offset + 9]),
    ):
        with open_on(damaged) as db:
            assert db.generate_id() > taken
            assert db.recovery_report.mode == "strict"


def test_a_manifest_that_says_closed_before_commits_is_not_trusted_with_numbers():
    disk = copy.deepcopy(LIVED.disk)
    open_on(disk).close()
    db = open_on(disk)
    taken, manifest = max(db.reserve_ids(5)), db.checkpointer.manifest.name
    db.insert(b"a", b"1")
    disk.kill()
    with open_on(replaced(disk, manifest, None)) as db:
        assert db.get(b"a") == b"1"
        assert db.generate_id() > taken
        assert db.was_recovered


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["prefix", "salvage"])
def test_what_is_no_store_is_refused_as_ever(tmp_path, mode):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "manifest-00000001").write_text("of a party")
    with pytest.raises(UnsupportedFormatError, match="no file that is a store's"):
        embedded.open(tmp_path, recover=mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest-00000001", "thesis.tex"]


@pytest.mark.parametrize("mode", ["prefix", "salvage"])
def test_a_newer_store_is_refused_as_ever(tmp_path, monkeypatch, mode):
    monkeypatch.setattr("conduitstore.engine.embedded.format.FORMAT_VERSION", 2)
    with embedded.open(tmp_path / "s") as db:
        db.insert(b"a", b"1")
    monkeypatch.undo()
    before = {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()}
    with pytest.raises(UnsupportedFormatError, match="format version 2"):
        embedded.open(tmp_path / "s", recover=mode)
    (manifest,) = (tmp_path / "s").glob("manifest-*")
    manifest.unlink()
    del before[manifest.name]
    with pytest.raises(UnsupportedFormatError, match="format version 2"):
        embedded.open(tmp_path / "s", recover=mode)
    assert {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()} == before


@pytest.mark.parametrize("settings", [{"recover": "all"}, {"recover": "prefix", "read_only": True}])
def test_what_the_setting_cannot_be(tmp_path, settings):
    with pytest.raises(InvalidArgumentError, match="recover"):
        embedded.open(tmp_path / "s", **settings)


def test_a_new_store_is_made_under_every_setting(tmp_path):
    for mode in ("prefix", "salvage"):
        with embedded.open(tmp_path / mode, recover=mode) as db:
            db.insert(b"a", b"1")
        with embedded.open(tmp_path / mode, recover=mode) as db:
            assert db.get(b"a") == b"1"
            assert not db.recovery_report


def test_real_files_are_linked_aside(tmp_path):
    with embedded.open(tmp_path / "s") as db:
        db.insert(b"a", b"1")
    (manifest,) = (tmp_path / "s").glob("manifest-*")
    data = bytearray(manifest.read_bytes())
    data[20] ^= 1
    manifest.write_bytes(data)
    with embedded.open(tmp_path / "s", recover="prefix") as db:
        assert db.get(b"a") == b"1"
    aside = manifest.with_name(manifest.name + names.DAMAGED)
    assert aside.read_bytes() == data
    assert aside.stat().st_nlink == 1
    assert not manifest.exists()
