"""Every damaged byte is named, with the keys it takes; what has a second copy is mended."""

import copy

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import index, names, pieces
from conduitstore.engine.embedded.format import FrameKind, decode_header, encode_frame
from conduitstore.errors import CorruptedError, InvalidArgumentError, LockedError
from conduitstore.testing.disk import SimulatedCrash, SimulatedDisk

SETTINGS = {
    "flush_every_ms": None,
    "leaf_entries_max": 4,
    "compression_level": 0,
    "log_keep_bytes": 0,  # Logs that only a subscriber wants are not looked at.
}


@pytest.fixture(autouse=True, params=[30, 4096], ids=["blobs", "no blobs"])
def blobs(request, monkeypatch):
    """The values here have 40 bytes: once they lie beside their leaves, once in them."""
    monkeypatch.setitem(SETTINGS, "blob_bytes_min", request.param)


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk, path="store", **settings):
    return embedded.open(path, files=disk, **SETTINGS | settings)


def fill(db, seed=0, total=20, start=0):
    for number in range(start, start + total):
        db.open_tree("t").insert(bytes([number]), bytes([seed, number]) * 20)


def content(db):
    return {name: list(db.open_tree(name)) for name in db.tree_names()}


def inode_of(disk, name, path="store"):
    return disk.directory(path)._inode(name)


def damage(disk, name, at, path="store"):
    inode = inode_of(disk, name, path)
    inode.cached[at] ^= 0x10
    inode.platter = bytes(inode.cached)


def files_of(disk, kind, path="store"):
    return [n for n in disk.directory(path).names() if (names.parse(n) or ("",))[0] == kind]


def everything(disk):
    directory = disk.directory("store")
    found = {name: bytes(directory._inode(name).cached) for name in directory.names()}
    return {name: data for name, data in found.items() if name != names.LOCK}


def damages(disk):
    return list(embedded.verify("store", files=disk))


@pytest.fixture
def closed(disk):
    """A store whose two newest generations differ, closed; gives its content."""
    with open_on(disk) as db:
        fill(db)
        db.checkpoint()
        fill(db, seed=1, total=4)
        db.open_tree("u").insert(b"k", b"v")
        return content(db)


def test_nothing_is_wrong_with_what_is_whole(disk, closed):
    before = everything(disk)
    assert damages(disk) == []
    assert everything(disk) == before


def test_no_byte_of_any_file_can_change_unseen(disk, closed):
    for name, data in everything(disk).items():
        if names.parse(name) is None:
            continue
        for at in range(0, len(data.rstrip(b"\0")), 3):  # What is set aside says nothing.
            damage(disk, name, at)
            assert {one.file for one in damages(disk)} == {name}, f"{name} at {at}"
            damage(disk, name, at)
    assert damages(disk) == []


def test_every_damage_is_named_with_the_keys_it_takes(disk, closed):
    segment = files_of(disk, names.SEGMENT)[0]
    with open_on(disk) as db:
        leaves = [d for d in _locations(db, "t") if d[1] == segment]
        for _, _, offset, _ in leaves[1:3]:
            damage(disk, segment, offset + 20)
        found = list(db.verify())
        assert [(d.file, d.offset, d.tree, d.low) for d in found] == [
            (segment, offset, "t", low) for low, _, offset, _ in leaves[1:3]
        ]
        lost = set()
        for number in range(20):
            try:
                db.open_tree("t").get(bytes([number]))
            except CorruptedError:
                lost.add(bytes([number]))
        named = {bytes([n]) for n in range(20) for d in found if d.low <= bytes([n]) < d.high}
        assert lost == named
        assert len(lost) >= 4
    assert damages(disk) == found
    assert "from b'" in str(found[0])


def _locations(db, tree):
    for low, leaf in index.leaves(db.forest.roots[db.open_tree(tree).tree_id]):
        at = leaf.location
        if at is not None:
            yield low, at.segment.file.name, at.offset, at.frame_bytes


def test_a_missing_segment_is_every_leaf_in_it(disk, closed):
    segment = files_of(disk, names.SEGMENT)[0]
    disk.directory("store").unlink(segment)
    found = damages(disk)
    assert found
    assert {d.reason for d in found} == {"the file is missing"}
    assert len(found) > 2
    assert {d.file for d in found} == {segment}


def without_manifest(disk, how):
    """The newest manifest cannot be read any more."""
    name = files_of(disk, names.MANIFEST)[-1]
    if how == "missing":
        disk.directory("store").unlink(name)
    elif how == "cut":
        del inode_of(disk, name).cached[64:]
    else:
        damage(disk, name, {"header": 20, "frame": 90}[how])
    return name


@pytest.mark.parametrize(
    ("how", "offset", "is_known"),
    [
        ("header", 0, True),  # What it must have said is known from the other files.
        ("frame", 64, True),
        ("cut", 64, True),
        ("frame", 64, False),
        ("cut", 64, False),
        ("missing", 0, False),
    ],
)
def test_without_a_manifest_every_other_damage_is_named_all_the_same(
    disk, closed, how, offset, is_known
):
    segment = files_of(disk, names.SEGMENT)[0]
    db = open_on(disk)  # Begins a manifest; the one before it stays.
    db.insert(b"k", b"v")
    low, _, at, _ = next(place for place in _locations(db, "t") if place[1] == segment)
    disk.kill()
    manifest = without_manifest(disk, how)
    log = files_of(disk, names.LOG)[-1]
    if not is_known:  # Nor any older one.
        for name in set(files_of(disk, names.MANIFEST)) - {manifest}:
            disk.directory("store").unlink(name)
    assert [(d.file, d.offset) for d in damages(disk)] == [
        (manifest if how != "missing" else names.MANIFEST, offset)
    ]
    damage(disk, segment, at + 20)
    damage(disk, log, 80)
    _, of_log, of_leaf = damages(disk)
    assert (of_log.file, of_log.offset) == (log, 64)
    assert (of_leaf.file, of_leaf.offset) == (segment, at)
    assert (of_leaf.tree, of_leaf.low) == (("t", low) if is_known else (None, None))
    assert "in use" not in of_leaf.reason, "nobody can tell"


def test_a_file_that_only_an_older_manifest_names_may_have_been_let_go_of(disk, closed):
    open_on(disk).abandon()
    without_manifest(disk, "frame")
    disk.directory("store").unlink(files_of(disk, names.SEGMENT)[0])
    assert [d.file for d in damages(disk)] == [files_of(disk, names.MANIFEST)[-1]]


def test_swapped_leaves_are_noticed(disk, closed):
    segment = files_of(disk, names.SEGMENT)[0]
    with open_on(disk) as db:
        places = [d for d in _locations(db, "t") if d[1] == segment]
    (_, _, a, size), (_, _, b, other) = next(
        (x, y) for x in places for y in places if x[0] < y[0] and x[3] == y[3]
    )
    assert size == other
    data = inode_of(disk, segment).cached
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    assert {d.reason for d in damages(disk)} == {"no whole frame"}, "each is tied to its place"
    seed = decode_header(bytes(data[:64]), segment, b"S").seed
    for at in (a, b):  # As if somebody had made them for these places.
        data[at : at + size] = encode_frame(
            seed, at, FrameKind.LEAF, bytes(data[at + 16 : at + size]), data[at + 9]
        )
    assert {d.reason for d in damages(disk)} == {"it holds keys of another range"}


def test_an_open_store_is_verified_while_it_goes_on(disk):
    db = open_on(disk, checkpoint_log_bytes=2_000)
    fill(db, total=100)
    reading = db.verify()
    for seed in range(5):
        fill(db, seed, total=100)
        assert next(reading, None) is None
        reading = db.verify()
        fill(db, seed, total=30)
        assert list(reading) == []
    damage(disk, files_of(disk, names.LOG)[-1], 80)
    assert [d.file for d in db.verify()] == [files_of(disk, names.LOG)[-1]]


def test_a_torn_tail_that_was_cut_is_no_damage_for_ever(disk):
    db = open_on(disk)
    fill(db)
    end = db.log.size_bytes
    disk.kill()
    del inode_of(disk, files_of(disk, names.LOG)[-1]).cached[end - 9 :]
    assert [d.reason for d in damages(disk)] == ["no whole frame"]
    with open_on(disk) as db:
        assert db.recovery_report.cuts[0].offset > 0
        assert "was cut at byte" in str(db.recovery_report)
        assert list(db.verify()) == []


def test_a_scrub_keeps_to_its_rate_and_can_be_left(disk, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    with open_on(disk) as db:
        fill(db, total=200)
        db.checkpoint()
        size = db.size_on_disk()
        monkeypatch.setattr(pieces.paced, "__defaults__", (slept.append,))
        assert list(db.verify(bytes_per_second=1_000)) == []
        assert sum(slept) == pytest.approx(size / 1_000, rel=0.2)

        def stop(_size):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(db.verify(on_read=stop))
        assert list(db.verify()) == []


# Repair -------------------------------------------------------------------------------------------


def newest_leaves(disk):
    """Names and offsets of the leaves that only the newest generation has."""
    with open_on(copy.deepcopy(disk)) as db:
        places = [place for tree in ("t", "u") for place in _locations(db, tree)]
    newest = max(place[1] for place in places)
    return [place for place in places if place[1] == newest]


def test_the_newest_leaves_are_mended_from_the_generation_before(disk, closed):
    places = newest_leaves(disk)
    assert len(places) >= 2
    for _, name, offset, _ in places:
        damage(disk, name, offset + 25)
    with pytest.raises(CorruptedError), open_on(copy.deepcopy(disk)) as db:
        content(db)
    repairs = embedded.repair("store", files=disk)
    assert {r.source for r in repairs} == {"the generation before and the log"}
    assert len(repairs) == len(places)
    with open_on(disk) as db:
        assert content(db) == closed
        assert [d for d in db.verify() if d.tree is not None] == []


def test_a_damaged_header_costs_nothing(disk, closed):
    segment = files_of(disk, names.SEGMENT)[0]
    damage(disk, segment, 30)
    with open_on(copy.deepcopy(disk)) as db:
        assert content(db) == closed
        assert {d.file for d in db.recovery_report.mended} == {segment}
        assert "mended: segment" in str(db.recovery_report)
    with pytest.raises(CorruptedError, match=f"{segment} is damaged at byte 0"):
        open_on(disk, read_only=True)
    assert {r.source for r in embedded.repair("store", files=disk)} == {"the segment itself"}
    with open_on(disk) as db:
        assert content(db) == closed


def older_leaf(disk):
    with open_on(copy.deepcopy(disk)) as db:
        return min((p for p in _locations(db, "t")), key=lambda place: (place[1], place[2]))


def test_older_leaves_are_mended_from_a_backup_and_else_reported(disk, closed):
    with open_on(disk) as db:
        db.backup("backup")
    _, name, offset, _ = older_leaf(disk)
    damage(disk, name, offset + 25)
    with open_on(disk) as db:
        db.insert(b"so that", b"two generations lie behind")
    with open_on(disk) as db:
        closed = {**closed, "__default__": list(db)}
    unmended = copy.deepcopy(disk)
    (only,) = embedded.repair("store", files=unmended)
    assert only.source is None
    assert "not repaired" in str(only)
    assert everything(unmended) == everything(disk), "what cannot be mended is left as it is"
    assert damages(unmended) == [only.damage]
    (only,) = embedded.repair("store", backup="backup", files=disk)
    assert only.source == "the backup"
    with open_on(disk) as db:
        assert content(db) == closed


def test_a_backup_of_another_life_mends_nothing(disk, closed):
    with open_on(disk) as db:
        db.backup("backup")
    open_on(disk, "backup").close()
    with open_on(disk, "backup") as db:
        fill(db, seed=9)
    with open_on(disk) as db:
        fill(db, seed=3)
    with open_on(disk) as db:
        db.insert(b"a", b"1")
    open_on(disk).close()
    newest = max(place[1] for place in newest_leaves(disk))
    for at in range(64, len(inode_of(disk, newest).cached), 40):
        damage(disk, newest, at)
    repairs = embedded.repair("store", backup="backup", files=disk)
    assert all(r.source != "the backup" for r in repairs)


def test_a_repair_can_die_at_every_call(disk, closed):
    for _, name, offset, _ in newest_leaves(disk):
        damage(disk, name, offset + 25)
    at = 0
    while True:
        at += 1
        tried = copy.deepcopy(disk)
        tried.crash_at = at
        try:
            embedded.repair("store", files=tried)
        except SimulatedCrash:
            pass
        else:
            break
        for keep in ("nothing", "everything", "some"):
            struck = copy.deepcopy(tried)
            struck.power_loss(seed=at, keep=keep)
            embedded.repair("store", files=struck)
            with open_on(struck) as db:
                assert content(db) == closed
    assert at > 8


def test_a_store_in_use_or_none_is_not_repaired(disk):
    with open_on(disk):
        for call in (embedded.repair, lambda *a, **k: list(embedded.verify(*a, **k))):
            with pytest.raises(LockedError):
                call("store", files=disk)
            with pytest.raises(InvalidArgumentError, match="no store"):
                call("nowhere", files=disk)
