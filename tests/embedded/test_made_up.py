"""Files whose every checksum holds, and that say what cannot be: each is named for what it is."""

import errno

import msgpack
import pytest
from hostile import (
    BLOB,
    BLOB_FRAME,
    COMMITS,
    LEAF,
    SETTINGS,
    STORE_ID,
    WITH_BLOB,
    commit,
    file,
    generation,
    image,
    with_blob,
)

from conduitstore.engine import embedded
from conduitstore.engine.blocks import Log
from conduitstore.engine.embedded.format import FrameKind, Header
from conduitstore.engine.embedded.leaf import encode_leaf
from conduitstore.engine.embedded.manifest import ENTRIES_MAX, NUMBER_MAX
from conduitstore.engine.stream import encode_stream
from conduitstore.errors import (
    CorruptedError,
    InvalidArgumentError,
    PoisonedError,
    StoreFullError,
    UnsupportedFormatError,
)
from conduitstore.kv import DEFAULT_TREE
from conduitstore.testing import MemoryDatabase
from conduitstore.testing.crash import content
from conduitstore.testing.damage import disk_of

SEGMENT, MANIFEST, LOG = "segment-00000003", "manifest-00000004", "log-00000002"
ROWS = [(b"ka", b"value"), (b"kb", b"another")]
NONSENSE = b"\xc1" * 30  # A byte that msgpack never uses.


def open_on(files, **settings):
    return embedded.open("store", files=disk_of(files), **SETTINGS | settings)


def damages(files):
    return list(embedded.verify("store", files=disk_of(files)))


def with_leaf(leaf, *, total=2, low=b"", kind=FrameKind.LEAF):
    """A store whose one leaf is in the place, and of the size, that the manifest says."""
    row = (3, 64, 16 + len(leaf), total, 16)
    whole = generation({1: {low: row}}).encode()
    return image(whole=whole, log=[]) | file(b"S", 3, (kind, leaf))


OTHER_TREE, _ = encode_leaf(2, 3, [b"ka", b"kb"], [b"value", b"another"], None)
UNORDERED = msgpack.packb([1, 3, b"k", [b"b", b"a"], [b"value", b"another"]])
RAGGED = msgpack.packb([1, 3, b"k", [b"a", b"b"], [4, b"12345"]])
NO_VALUE = msgpack.packb([1, 3, b"k", [b"a", b"b"], [b"value", [3, 64, -1, 5]]])
TEXT_KEYS = msgpack.packb([1, 3, "", ["ka", "kb"], [b"value", b"another"]])


@pytest.mark.parametrize(
    ("files", "reason", "reads"),
    [
        (with_leaf(LEAF, kind=FrameKind.BLOB), "another frame stands", False),
        (with_leaf(NONSENSE), "not a leaf", False),
        (with_leaf(RAGGED), "no multiple of its item length", False),
        (with_leaf(NO_VALUE), "neither bytes nor a reference", False),
        (with_leaf(TEXT_KEYS), "keys that are not bytes", False),
        (with_leaf(LEAF, total=1), "another leaf stands", False),
        (with_leaf(WITH_BLOB), "its blobs are not those of the manifest", False),
        # Nothing but the manifest leads here, so who reads by it does not ask again.
        (with_leaf(OTHER_TREE), "another leaf stands", True),
        (with_leaf(UNORDERED), "not in order", True),
    ],
)
def test_a_leaf_that_is_none_is_damage(files, reason, reads):
    (damage,) = damages(files)
    assert (damage.file, damage.offset, damage.tree) == (SEGMENT, 64, "t")
    assert reason in damage.reason
    with open_on(files) as db:
        assert list(db) == []
        if not reads:
            for read in (lambda: db.open_tree("t").get(b"ka"), lambda: list(db.open_tree("t"))):
                with pytest.raises(CorruptedError) as caught:
                    read()
                assert (caught.value.file, caught.value.offset) == (SEGMENT, 64)
    (repair,) = embedded.repair("store", files=disk_of(files))
    assert repair.is_lost


def test_a_leaf_of_another_range_is_damage():
    row = (3, 64, 16 + len(LEAF), 2, 16)
    lows = {b"": None, b"m": row}
    files = image(whole=generation({1: {b"a": row} | lows}).encode(), log=[])
    assert any("keys of another range" in damage.reason for damage in damages(files))


def test_blobs_that_the_manifest_does_not_know_are_damage():
    row = (3, 64 + BLOB_FRAME, 16 + len(WITH_BLOB), 2, 16, 3, BLOB_FRAME + 1)
    files = image(leaf=WITH_BLOB, whole=generation({1: {b"": row}}).encode(), log=[])
    (damage,) = damages(files)
    assert damage.reason == "its blobs are not those of the manifest"


def referring(*reference):
    leaf, _ = encode_leaf(1, 3, [b"ka", b"kb"], [b"value", reference], None)
    return with_blob(leaf)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (referring(3, 64, BLOB_FRAME, len(BLOB) + 1), "another size than its leaf says"),
        (referring(3, 64, BLOB_FRAME, 1 << 62), "no value is so long"),
        (image(leaf=WITH_BLOB, flags=1, log=[]), "not a blob"),
    ],
)
def test_a_blob_that_is_none_takes_its_key_and_no_other(files, reason):
    (damage,) = damages(files)
    assert (damage.reason, damage.low) == ("no whole blob", b"kb")
    with open_on(files) as db:
        tree = db.open_tree("t")
        assert tree.get(b"ka") == b"value"
        with pytest.raises(CorruptedError, match=reason):
            tree.get(b"kb")
    (repair,) = embedded.repair("store", files=disk_of(files))
    assert repair.is_lost


def test_a_leaf_with_blobs_that_is_none_becomes_no_backup():
    disk = disk_of(with_blob(NONSENSE))
    db = embedded.open("store", files=disk, **SETTINGS)
    with pytest.raises(CorruptedError, match="not a leaf"):
        db.backup("backup")
    with pytest.raises(InvalidArgumentError, match="holds no backup"):
        embedded.restore("backup", "new", files=disk)
    db.close()


# Manifests ----------------------------------------------------------------------------------------


ROW = (3, 64, 16 + len(LEAF), 2, 16)
WHOLE = generation({1: {b"": ROW}}).encode()
CHANGES = generation({1: {b"": None}}, generation=5, sequence=9).encode()
NO_GENERATION = generation({1: {b"": ROW}}, next_tree_id=1).encode()


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([(FrameKind.WHOLE, NO_GENERATION)], "not a generation"),
        ([(FrameKind.CHANGES, CHANGES)], "without anything it changes"),
        ([(FrameKind.WHOLE, WHOLE), (9, CHANGES)], "a frame of kind 9"),
    ],
)
def test_a_manifest_that_says_what_cannot_be_is_damage(frames, reason):
    files = image() | file(b"M", 4, *frames)
    with pytest.raises(CorruptedError, match=reason) as caught:
        open_on(files)
    assert caught.value.file == MANIFEST
    with open_on(files, recover="salvage") as db:
        kept = {row for name in db.tree_names() for row in db.open_tree(name)}
        assert kept >= set(ROWS)


@pytest.mark.parametrize(
    "row",
    [
        7,
        b"",
        bytes(ROW[:2]) * 3,
        (),
        ROW[:4],
        (*ROW, 3),
        ("3", *ROW[1:]),
        (True, *ROW[1:]),
        (-1, *ROW[1:]),
        (3, NUMBER_MAX + 1, *ROW[2:]),
        (*ROW[:3], 0, 16),
        (*ROW[:3], ENTRIES_MAX + 1, 16),
    ],
    ids=repr,
)
def test_a_row_that_no_checkpoint_writes_is_damage(row):
    """Beside one that is as it should be."""
    made = generation({1: {b"": ROW, b"kb": row}}).encode()
    with pytest.raises(CorruptedError, match="not a generation") as caught:
        open_on(image(whole=made))
    assert caught.value.file == MANIFEST


def test_a_low_key_that_is_text_is_damage():
    with pytest.raises(CorruptedError, match="not a generation"):
        open_on(image(whole=generation({1: {b"": ROW, "kb": ROW}}).encode()))


def test_the_newest_generation_counts_wherever_it_stands():
    """A manifest of a higher number may hold an older generation: a copy put back, say."""
    older = generation({}, generation=2, sequence=1, trees={0: "__default__"}).encode()
    files = image() | file(b"M", 5, (FrameKind.WHOLE, older), (9, NONSENSE))
    with open_on(files, recover="salvage") as db:
        assert list(db.open_tree("t")) == [*ROWS, (b"kc", b"3")]
        assert any(damage.file == "manifest-00000005" for damage in db.recovery_report.damages)


def test_a_release_that_may_only_read_does_not_recover():
    header = Header(b"M", STORE_ID, 4, read_only_flags=1)
    made = image()[MANIFEST]
    assert made[:64] == Header(b"M", STORE_ID, 4).encode()
    files = image() | {MANIFEST: header.encode() + made[64:]}
    for how in ("strict", "prefix", "salvage"):
        with pytest.raises(UnsupportedFormatError, match="may only be read"):
            open_on(files, recover=how)


# Logs ---------------------------------------------------------------------------------------------


def test_a_record_that_is_no_commit_is_damage():
    log = [*COMMITS, NONSENSE, commit(6, 1, b"kd", b"4")]
    files = image(log=log)
    with pytest.raises(CorruptedError, match="not a commit") as caught:
        open_on(files)
    assert caught.value.file == LOG
    assert any("not a frame of a log" in damage.reason for damage in damages(files))
    with open_on(files, recover="prefix") as db:
        assert content(db) == {"__default__": [], "t": [*ROWS, (b"kc", b"3")]}
        report = db.recovery_report
        assert (report.sequence, report.commits_lost) == (5, 1)
    with open_on(files, recover="salvage") as db:
        assert content(db)["t"] == [*ROWS, (b"kc", b"3"), (b"kd", b"4")]


def test_what_a_record_promises_and_no_record_has_is_counted_as_lost():
    files = image(log=[msgpack.packb([3, 9, 5, 1, b"kc", b"3"])])
    with pytest.raises(CorruptedError, match="commits up to 9 were on the platter"):
        open_on(files)
    with open_on(files, recover="prefix") as db:
        assert list(db.open_tree("t")) == [*ROWS, (b"kc", b"3")]
        report = db.recovery_report
        assert (report.sequence, report.commits_lost, report.damages) == (3, 6, ())
        assert report.set_aside == (LOG + ".damaged",)
        assert db.sequence > 9


def test_what_follows_a_torn_record_is_damage_though_it_is_no_commit():
    """Behind a torn record a commit that was never promised proves nothing; nonsense does."""
    files = image(log=[commit(3, 1, b"kc", b"3"), commit(4, 1, b"kd", b"4"), NONSENSE])
    data = bytearray(files[LOG])
    data[data.rindex(b"kd")] ^= 1
    reasons = [damage.reason for damage in damages(files | {LOG: bytes(data)})]
    assert reasons[0] == "no whole frame"
    assert "not a frame of a log" in reasons[1]


def test_a_log_whose_records_are_another_stores_commits_is_refused():
    made = file(b"L", 1, (FrameKind.COMMIT, msgpack.packb([1, 0, 0, 1, b"k", b"v"])), first=1)
    with pytest.raises(CorruptedError, match="not a record"):
        Log("store", files=disk_of(made))


# Segments -----------------------------------------------------------------------------------------


def test_a_frame_of_no_kind_is_passed_over_by_a_salvage():
    files = image(log=[]) | file(b"S", 3, (FrameKind.LEAF, LEAF), (9, NONSENSE))
    del files[MANIFEST]
    with open_on(files, recover="salvage") as db:
        assert content(db) == {"__default__": [], "salvaged_1": ROWS}
        assert any("a frame of kind 9" in one.reason for one in db.recovery_report.damages)


def test_a_tree_whose_name_is_lost_takes_nobody_elses():
    newer, _ = encode_leaf(2, 5, [b"n"], [b"new"], None)
    trees = {0: "__default__", 1: "salvaged_2"}
    whole = generation({1: {b"": ROW}}, trees=trees).encode()
    files = image(log=[]) | file(b"M", 4, (FrameKind.WHOLE, whole), (9, NONSENSE))
    files |= file(b"S", 3, (FrameKind.LEAF, LEAF), (FrameKind.LEAF, newer))
    with open_on(files, recover="salvage") as db:
        assert content(db) == {
            "__default__": [],
            "salvaged_2": ROWS,
            "salvaged_2_": [(b"n", b"new")],
        }


# Streams ------------------------------------------------------------------------------------------


class WithoutDefault:
    """A view that hides the default tree, which no engine of ours does."""

    def __init__(self, view):
        self.view = view

    def __getattr__(self, name):
        return getattr(self.view, name)

    def tree_names(self):
        return [name for name in self.view.tree_names() if name != DEFAULT_TREE]


def test_a_stream_without_the_default_tree_empties_it():
    source, db = MemoryDatabase(), open_on({})
    source.open_tree("t").insert(b"a", b"1")
    for key in (b"a", b"b", b"c"):
        db.insert(key, b"old")
        db.open_tree("t").insert(key, b"old")
    with source.snapshot() as view:
        db.import_(encode_stream(WithoutDefault(view), 0, 0, 3), over=True)
    assert content(db) == {DEFAULT_TREE: [], "t": [(b"a", b"1")]}
    assert list(db.verify()) == []
    db.close()


def test_an_import_without_space_for_its_end_is_done_again():
    source, disk = MemoryDatabase(), disk_of({})
    source.insert(b"a", b"1")
    db = embedded.open("store", files=disk, **SETTINGS)
    disk.fail = lambda operation, name: (
        OSError(errno.ENOSPC, "full")
        if operation == "create" and name.startswith("segment")
        else None
    )
    with pytest.raises(StoreFullError):
        db.import_(source.export())
    with pytest.raises(PoisonedError):
        db.insert(b"b", b"2")
    disk.fail = lambda _operation, _name: None
    db.close()
    with embedded.open("store", files=disk, **SETTINGS) as db:
        db.import_(source.export())
        assert list(db) == [(b"a", b"1")]


def test_a_store_that_is_mended_and_still_damaged_elsewhere_says_where():
    files = image(log=[commit(number, 1, b"k%d" % number, b"") for number in (3, 4, 5)])
    segment, log = bytearray(files[SEGMENT]), bytearray(files[LOG])
    segment[20] ^= 1
    log[log.rindex(b"k4")] ^= 1
    with pytest.raises(CorruptedError, match=LOG):
        open_on(files | {LOG: bytes(log)})
    with open_on(files | {SEGMENT: bytes(segment)}) as db:
        assert db.recovery_report.mended
        assert db.open_tree("t").get(b"ka") == b"value"
    with pytest.raises(CorruptedError, match=LOG):
        open_on(files | {LOG: bytes(log), SEGMENT: bytes(segment)})


def test_a_segment_of_another_number_is_none_of_this_place():
    made = file(b"S", 9, (FrameKind.LEAF, LEAF))["segment-00000009"]
    with pytest.raises(CorruptedError, match="it belongs to another place or store") as caught:
        open_on(image(log=[]) | {SEGMENT: made})
    assert (caught.value.file, caught.value.offset) == (SEGMENT, 0)
