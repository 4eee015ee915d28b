"""Directories that somebody damaged or made up: an answer that is right, or a typed error."""

import copy

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduitstore.engine import embedded
from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.format import FrameKind, decode_header, encode_frame
from conduitstore.engine.embedded.wal import Op
from conduitstore.errors import ConduitStoreError, CorruptedError
from conduitstore.testing.crash import content
from conduitstore.testing.disk import SimulatedDisk

SETTINGS = {"flush_every_ms": None, "leaf_entries_max": 4}


def open_on(disk, **settings):
    return embedded.open("store", files=disk, **SETTINGS | settings)


def killed_store(commits=5):
    """A store of two trees, one of them in a checkpoint, killed after its last sync."""
    disk = SimulatedDisk(can_map=False)  # So that a file's end is that of what is in it.
    db = open_on(disk)
    for number in range(10):
        db.open_tree("t").insert(bytes([number]), b"value %d" % number)
    db.checkpoint()
    for number in range(commits):
        db.insert(bytes([number]), b"value %d" % number)
        db.flush()
    disk.kill()
    return disk, content(db)


KILLED, WHOLE = killed_store()
FILES = [name for name in KILLED.directory("store").names() if names.parse(name)]


def replaced(name, data):
    """A copy of the disk with other bytes in one file."""
    disk = copy.deepcopy(KILLED)
    inode = disk.directory("store")._inode(name)
    inode.cached, inode.platter = bytearray(data), bytes(data)
    return disk


def bytes_of(name):
    return bytes(KILLED.directory("store")._inode(name).cached)


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_byte_gives_a_wrong_answer(name):
    data = bytes_of(name)
    for at in range(len(data)):
        disk = replaced(name, data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        try:
            found = content(open_on(disk))
        except CorruptedError:
            continue
        if found != WHOLE:
            # Nothing tells the last commit, damaged, from one that was never whole.
            assert name == max(file for file in FILES if file.startswith("log"))
            assert {**WHOLE, "__default__": WHOLE["__default__"][:-1]} == found


@pytest.mark.parametrize("name", FILES)
def test_no_cut_gives_a_wrong_answer(name):
    data = bytes_of(name)
    for size in range(len(data)):
        try:
            found = content(open_on(replaced(name, data[:size])))
        except ConduitStoreError:
            continue
        assert found["t"] == WHOLE["t"]
        assert found["__default__"] == WHOLE["__default__"][: len(found["__default__"])]


def test_a_damaged_header_of_a_log_loses_nothing():
    name = max(file for file in FILES if file.startswith("log"))
    assert content(open_on(replaced(name, bytes(64) + bytes_of(name)[64:]))) == WHOLE


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats()
    | st.binary(max_size=5) | st.text(max_size=5) | st.sampled_from([0, 1, 2, b"", b"k", "t"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(-1, 5) | ANY, ANY, ANY), max_size=3), ANY, st.booleans())
def test_made_up_commits_raise_nothing_untyped(ops, count, is_next):
    name = max(file for file in FILES if file.startswith("log"))
    data = bytes_of(name)
    flat = [field for op in ops for field in op]
    payload = msgpack.packb([len(WHOLE["t"]) + 7 if is_next else count, 0, count, *flat])
    seed = decode_header(data, name, b"L").seed
    frame = encode_frame(seed, len(data), FrameKind.COMMIT, payload)
    try:
        db = open_on(replaced(name, data + frame))
        content(db)
        db.close()
    except ConduitStoreError:
        pass


@pytest.mark.parametrize("op", [(99, b"k", b"v"), (99, Op.DROP, None), (0, Op.DROP, None),
                                (0, Op.CREATE, "x"), (1, b"k", 7), (1, b"", b"v"),
                                ("t", b"k", b"v"), (-1, b"k", b"v")])  # fmt: skip
def test_commits_that_cannot_be_are_damage(op):
    name = max(file for file in FILES if file.startswith("log"))
    data = bytes_of(name)
    sequence = open_on(copy.deepcopy(KILLED)).sequence + 1
    payload = msgpack.packb([sequence, 0, 0, *op])
    seed = decode_header(data, name, b"L").seed
    frame = encode_frame(seed, len(data), FrameKind.COMMIT, payload)
    with pytest.raises(CorruptedError, match=name):
        open_on(replaced(name, data + frame))


@given(st.data())
def test_made_up_generations_raise_nothing_untyped(data):
    name = max(file for file in FILES if file.startswith("manifest"))
    header = bytes_of(name)[:64]
    fields = {**GENERATION}
    wrong = data.draw(st.sampled_from(sorted(fields)))
    fields[wrong] = data.draw(ANY)
    seed = decode_header(header, name, b"M").seed
    frame = encode_frame(seed, len(header), FrameKind.WHOLE, msgpack.packb(fields))
    try:
        db = open_on(replaced(name, header + frame))
        content(db)
        db.close()
    except ConduitStoreError:
        pass


GENERATION = {
    "generation": 3, "sequence": 11, "log_start": 3, "previous_log_start": 1, "count": 0,
    "drawn": 0, "ids": 0, "ceilings": [10, 10], "is_clean": True,
    "trees": {0: "__default__", 1: "t"}, "next_tree_id": 2, "leaves": {},
}  # fmt: skip
