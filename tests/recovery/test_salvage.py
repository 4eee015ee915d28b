"""Whatever verifies: which copy counts, what the log adds, what the account says."""

import copy

import msgpack
import pytest
from damaged import (
    all_gone,
    bytes_of,
    files_of,
    flipped,
    frames_of,
    killed,
    open_on,
    replaced,
    salvaged,
    without_frame,
)

from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.format import (
    HEADER_BYTES,
    FrameKind,
    Header,
    decode_header,
    encode_frame,
)
from conduitstore.engine.embedded.layers import FoundLeaf, Layers
from conduitstore.engine.embedded.leaf import encode_leaf
from conduitstore.errors import CorruptedError
from conduitstore.testing.crash import content
from conduitstore.testing.disk import SimulatedDisk

LIVED = killed()
NEWEST = max(LIVED.states)
LOG = LIVED.files(names.LOG)[-1]
MANIFEST = LIVED.files(names.MANIFEST)[-1]
BIG = bytes(range(200))


def test_the_log_goes_on_behind_its_damage():
    frames = frames_of(LIVED.disk, LOG)
    disk = flipped(LIVED.disk, LOG, frames[2].offset + 20)
    found, report = salvaged(disk)
    sequence, _, _, *ops = msgpack.unpackb(frames[2].payload)
    lost = {key for key in ops[1::3] if type(key) is bytes}
    assert report.commits_lost == 1
    assert report.sequence == NEWEST
    assert [(d.file, d.offset) for d in report.damages] == [(LOG, frames[2].offset)]
    whole = LIVED.states[NEWEST]
    assert found.keys() == whole.keys()
    for tree, rows in whole.items():
        differing = set(rows) ^ set(found[tree])
        assert {key for key, _ in differing} <= lost
    assert sequence > 22


def test_everything_is_made_of_leaves_and_log_without_any_manifest():
    found, report = salvaged(all_gone(LIVED.disk, names.MANIFEST))
    # The log that is kept says how trees were called, and what was in them.
    assert found == LIVED.states[NEWEST]
    assert report.trees == {tree: len(rows) for tree, rows in found.items()}


def test_trees_without_a_name_get_one_and_deleted_keys_stay_deleted():
    disk = SimulatedDisk()
    with open_on(disk, log_keep_bytes=0) as db:
        for number in range(40):
            db.open_tree("t").insert(bytes([number]), b"%d" % number)
        db.checkpoint()
        for number in range(10, 30):
            db.open_tree("t").remove(bytes([number]))
        db.insert(b"a", b"1")
    with open_on(disk, log_keep_bytes=0) as db:
        db.checkpoint()
    open_on(disk, log_keep_bytes=0).close()
    found, report = salvaged(all_gone(disk, names.MANIFEST), log_keep_bytes=0)
    assert found["__default__"] == [(b"a", b"1")]
    assert "tree 'salvaged_1'" in str(report)
    rows = dict(found["salvaged_1"])
    for number in [*range(10), *range(30, 40)]:
        assert rows[bytes([number])] == b"%d" % number
    assert all(rows[key] == b"%d" % key[0] for key in rows)


def test_a_missing_segment_is_filled_in_with_what_there_is():
    mended_total = 0
    for name in LIVED.files(names.SEGMENT):
        disk = replaced(LIVED.disk, name, None)
        try:
            with open_on(copy.deepcopy(disk)) as db:
                assert content(db) == LIVED.states[NEWEST], "a repair is enough"
                assert {d.file for d in db.recovery_report.mended if d.tree is not None} == {name}
                mended_total += 1
        except CorruptedError:
            found, report = salvaged(disk)
            assert found == LIVED.states[NEWEST], "the logs that are kept have all of it"
            assert {d.file for d in report.damages if d.tree is not None} == {name}
        found, _ = salvaged(flipped(disk, MANIFEST, 30))
        assert found == LIVED.states[NEWEST], "without a repair too"
    assert 0 < mended_total < len(LIVED.files(names.SEGMENT))


def test_a_lost_leaf_comes_back_as_it_was_before():
    disk = SimulatedDisk()
    with open_on(disk, log_keep_bytes=0) as db:
        for value in (b"old", b"new"):
            for key in (b"a", b"b", b"c"):
                db.insert(key, value + key)
            db.checkpoint()
        db.open_tree("other").insert(b"k", b"v")
    # The generation before has no log any more that leads from the old leaf to the new one.
    segments = sorted(n for n in disk.directory("store").names() if n.startswith(names.SEGMENT))
    for name in segments:
        for frame in frames_of(disk, name):
            if b"newa" in frame.payload:
                disk = flipped(disk, name, frame.offset + 20)
    found, report = salvaged(disk, log_keep_bytes=0)
    assert found["other"] == [(b"k", b"v")]
    assert {value[:3] for _, value in found["__default__"]} <= {b"old", b"new"}
    assert any(d.tree == "__default__" for d in report.damages)


def test_a_lost_blob_is_one_key():
    disk = SimulatedDisk()
    with open_on(disk, log_keep_bytes=0, compression_level=0) as db:
        for key in (b"a", b"b"):
            db.insert(key, key + BIG)
        db.insert(b"c", b"small")
    for _ in range(3):  # So that no log has them any more.
        with open_on(disk, log_keep_bytes=0) as db:
            db.insert(b"z", b"small")
    for name in disk.directory("store").names():
        at = bytes_of(disk, name).find(b"a" + BIG)
        if at >= 0:
            disk = flipped(disk, name, at + 5)
    found, report = salvaged(disk, log_keep_bytes=0)
    assert dict(found["__default__"]) == {b"b": b"b" + BIG, b"c": b"small", b"z": b"small"}
    lost = [d for d in report.damages if d.tree is not None]
    assert [(d.tree, d.low, d.high) for d in lost] == [("__default__", b"a", b"a\0")]
    assert "blob" in lost[0].reason


def test_nothing_that_was_there_is_gone():
    before = {n: bytes_of(LIVED.disk, n) for n in LIVED.disk.directory("store").names()}
    disk = flipped(LIVED.disk, MANIFEST, 90)
    damaged = bytes_of(disk, MANIFEST)
    open_on(disk, recover="salvage")
    there = {n: bytes_of(disk, n) for n in disk.directory("store").names()}
    for name, data in before.items():
        if names.parse(name):
            kept = there.get(name, there.get(name + names.DAMAGED))
            assert kept == (damaged if name == MANIFEST else data)


def test_dropped_trees_stay_dropped():
    disk = copy.deepcopy(LIVED.disk)
    with open_on(disk) as db:
        db.drop_tree("u")
        db.checkpoint()
        db.open_tree("v").insert(b"k", b"v")
    with open_on(disk) as db:
        expected, manifest = content(db), db.checkpointer.manifest.name
    for at in (30, 90):
        found, _ = salvaged(flipped(disk, manifest, at))
        assert found == expected
    found, _ = salvaged(all_gone(disk, names.MANIFEST))
    assert found == expected, "the log says so too"


def test_a_tree_stays_dropped_where_the_generation_that_dropped_it_is_damaged():
    """The newest whole one has it; one behind the damage does not."""
    disk = copy.deepcopy(LIVED.disk)
    db = open_on(disk)
    db.drop_tree("u")
    db.checkpoint()
    db.open_tree("v").insert(b"k", b"v")
    db.checkpoint()
    expected, manifest = content(db), db.checkpointer.manifest.name
    disk.kill()
    _, dropping, _ = frames_of(disk, manifest)
    found, _ = salvaged(flipped(disk, manifest, dropping.offset + 20))
    assert found == expected


def test_a_log_whose_header_is_damaged_is_no_damage_where_memory_is_short(monkeypatch):
    """Else what it has would be given up, and the store opened without it."""

    class Unpacker(msgpack.Unpacker):
        def read_array_header(self):
            raise MemoryError

    monkeypatch.setattr("conduitstore.engine.embedded.remains.msgpack.Unpacker", Unpacker)
    disk = flipped(flipped(LIVED.disk, LOG, 20), MANIFEST, 90)
    with pytest.raises(MemoryError):
        salvaged(disk)


# Hostile bytes ------------------------------------------------------------------------------------


def with_segment(disk, *leaves):
    """A disk with one more segment, whose frames verify whatever is in them."""
    name = files_of(disk, names.MANIFEST)[-1]
    store_id = decode_header(bytes_of(disk, name)[:HEADER_BYTES], name, b"M").store_id
    header = Header(b"S", store_id, 0x99)
    data = header.encode()
    for payload, flags in leaves:
        data += encode_frame(header.seed, len(data), FrameKind.LEAF, payload, flags)
    disk = copy.deepcopy(disk)
    file = disk.directory("store").create("segment-00000099")
    file.write_at(data, 0)
    file.sync()
    disk.directory("store").sync()
    return disk


@pytest.mark.parametrize(
    "leaf",
    [
        (1, 99, [b"b", b"a"], [b"1", b"2"]),
        (1, 99, [b"a"], [[1, 2, 3]]),
        (1, 99, [b"a"], [[1, 2, 3, -4]]),
        (1, 99, [b"a"], ["text"]),
        (1, 99, [b"a" * 3000], [b"1"]),
        (-1, 99, [b"a"], [b"1"]),
        (1, -99, [b"a"], [b"1"]),
        ("t", 99, [b"a"], [b"1"]),
        (1, 99, [b"a", b"b"], [b"1"]),
        (1, 99, [], []),
    ],
    ids=str,
)
def test_leaves_that_no_store_writes_are_damage(leaf):
    tree_id, generation, keys, values = leaf
    payload = msgpack.packb([tree_id, generation, b"", keys, values])
    disk = with_segment(flipped(LIVED.disk, MANIFEST, 90), (payload, 0))
    found, report = salvaged(disk)
    assert found == LIVED.states[NEWEST]
    assert any(d.file == "segment-00000099" for d in report.damages)


@pytest.mark.parametrize("reference", [(0x99, 64, 80, 9), (0x77, 64, 80, 9), (8, 64, 80, 1 << 60)])
def test_references_to_what_is_no_blob_are_damage(reference):
    payload = encode_leaf(1, 99, [b"\x00", b"\x01"], [reference, b"taken"], None)
    disk = with_segment(flipped(LIVED.disk, MANIFEST, 90), payload)
    found, report = salvaged(disk)
    assert dict(found["t"])[b"\x01"] == b"taken"
    assert any(d.low == b"\x00" and "blob" in d.reason for d in report.damages)


def test_unpublished_leaves_count_only_where_the_manifest_is_damaged():
    disk = SimulatedDisk()
    with open_on(disk, compression_level=0) as db:
        db.insert(b"a", b"published")
    (name,) = files_of(disk, names.SEGMENT)
    (manifest,) = files_of(disk, names.MANIFEST)
    disk = without_frame(all_gone(disk, names.LOG), name, HEADER_BYTES)
    leaves = [encode_leaf(tree, 99, [b"a"], [b"unpublished"], None) for tree in (0, 9)]
    disk = with_segment(disk, *leaves)
    found, _ = salvaged(disk)
    assert found == {"__default__": []}
    found, _ = salvaged(replaced(disk, manifest, bytes_of(disk, manifest) + b"torn"))
    rows = [(b"a", b"unpublished")]
    assert found == {"__default__": rows, "salvaged_9": rows}


def test_an_unpublished_leaf_does_not_stand_in_for_a_lost_blob():
    disk = SimulatedDisk()
    with open_on(disk, compression_level=0) as db:
        db.insert(b"a", BIG)
    (name,) = (n for n in disk.directory("store").names() if n.startswith(names.SEGMENT))
    disk = all_gone(flipped(disk, name, bytes_of(disk, name).find(BIG) + 5), names.LOG)
    payload = encode_leaf(0, 99, [b"a"], [b"never published"], None)
    found, report = salvaged(with_segment(disk, payload))
    assert found["__default__"] == []
    assert any(d.low == b"a" and "blob" in d.reason for d in report.damages)


def test_a_store_of_which_nothing_is_left_is_empty_and_says_so():
    disk = LIVED.disk
    for name in disk.directory("store").names():
        if names.parse(name):
            disk = replaced(disk, name, bytes_of(disk, name)[:HEADER_BYTES])
    with pytest.raises(CorruptedError):
        open_on(disk)
    found, report = salvaged(disk)
    assert found == {"__default__": []}
    assert report
    with open_on(disk, recover="salvage") as db:
        assert db.generate_id() >= 1 << 60
        assert db.current_count() >= 1 << 44


# Layers -------------------------------------------------------------------------------------------


def leaf_of(first, last):
    return FoundLeaf(1, 1, 64, 10, 1, first, last, 2, 4, ())


def ranges(layers):
    return [(layer.lo, layer.hi, layer.is_whole) for layer in layers]


def test_a_later_layer_takes_what_is_left():
    layers = Layers()
    layers.lay(leaf_of(b"c", b"e"), 3, b"c", b"f", only_whole=False)
    layers.lay(leaf_of(b"a", b"g"), 2, b"a", b"h", only_whole=False)
    layers.lay(leaf_of(b"c", b"d"), 1, b"c", b"e", only_whole=False)
    assert ranges(layers) == [(b"a", b"c", False), (b"c", b"f", True), (b"f", b"h", False)]
    assert [layers.at(key) and layers.at(key).sequence for key in (b"0", b"b", b"d", b"h")] == [
        None,
        2,
        3,
        None,
    ]
    assert not layers.is_complete
    layers.lay(leaf_of(b"a", b"b"), 1, b"", b"\xff" * 3000, only_whole=False)
    assert layers.is_complete


def test_what_shares_a_range_with_a_newer_one_goes_as_a_whole():
    layers = Layers()
    layers.lay(leaf_of(b"c", b"e"), 3, b"c", b"f", only_whole=True)
    layers.lay(leaf_of(b"a", b"c"), 2, b"a", b"d", only_whole=True)
    layers.lay(leaf_of(b"a", b"b"), 1, b"a", b"c", only_whole=True)
    layers.lay(leaf_of(b"x", b"y"), 1, b"x", b"z", only_whole=True)
    assert ranges(layers) == [(b"c", b"f", True), (b"x", b"z", True)]
