"""Leaves to bytes and back, and hostile bytes to a typed error."""

from contextlib import suppress

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from conduitstore.engine import embedded
from conduitstore.engine.embedded.leaf import COMPRESSED, decode_leaf, encode_leaf
from conduitstore.errors import CorruptedError
from conduitstore.testing.disk import SimulatedDisk

ENTRIES = st.dictionaries(st.binary(min_size=1, max_size=12), st.binary(max_size=20), max_size=20)


def columns(entries):
    keys = sorted(entries)
    return keys, [entries[key] for key in keys]


@given(ENTRIES, st.booleans(), st.binary(max_size=6))
def test_a_leaf_comes_back(entries, compressed, shared):
    entries = {shared + key: value for key, value in entries.items()}
    compressor = zstandard.ZstdCompressor() if compressed else None
    payload, flags = encode_leaf(7, 3, *columns(entries), compressor)
    tree_id, generation, keys, values = decode_leaf(payload, flags)
    assert (tree_id, generation) == (7, 3)
    assert list(zip(keys, values, strict=True)) == sorted(entries.items())


def test_equal_lengths_and_shared_prefixes_are_stored_once():
    keys = [b"!room:example.org\xff" + number.to_bytes(8) for number in range(256)]
    entries = dict.fromkeys(keys, b"12345678")
    payload, _ = encode_leaf(1, 1, *columns(entries), None)
    # Behind the shared prefix the numbers differ in their last byte only.
    assert len(payload) < 256 * (1 + 8) + 60


@given(
    st.integers(1, 10).flatmap(
        lambda size: st.sets(st.binary(min_size=size, max_size=size), min_size=1, max_size=300)
    )
)
def test_keys_of_one_length_come_back(keys):
    keys = sorted(keys)
    payload, flags = encode_leaf(1, 1, keys, [b"value"] * len(keys), None)
    assert decode_leaf(payload, flags)[2] == keys


def test_keys_in_sequence_take_next_to_nothing():
    keys = [number.to_bytes(16) for number in range(10**6, 10**6 + 128)]
    payload, flags = encode_leaf(1, 1, keys, [b""] * 128, None)
    assert len(payload) < 0.016 * 16 * 128, "without a compressor, too"
    assert decode_leaf(payload, flags)[2] == keys


@given(
    st.integers(0, 1 << 40),
    st.integers(1, 70_000),
    st.integers(1, 300),
    st.integers(6, 9),
    st.data(),
)
def test_steps_that_are_equal_or_all_but(first, step, total, length, data):
    numbers = [first + step * at for at in range(total)]
    if data.draw(st.booleans()):
        numbers[data.draw(st.integers(0, total - 1))] += 1 if step > 1 else 0
    keys = [number.to_bytes(length) for number in numbers]
    payload, flags = encode_leaf(1, 1, keys, [b""] * total, None)
    assert decode_leaf(payload, flags)[2] == keys


@pytest.mark.parametrize(
    "suffixes",
    [[1, b"\0\1", 2], [1, b"\0\1", 1 << 40], [1, b"\0\1", -1], [2, b"\0\1", 5], [0, b"", 5]],
    ids=str,
)
def test_no_column_of_equal_steps(suffixes):
    with pytest.raises(ValueError, match="column"):
        decode_leaf(msgpack.packb([1, 1, b"", suffixes, [0, b""]]), 0)


@given(st.binary(max_size=80), st.sampled_from((0, COMPRESSED)))
def test_hostile_leaves_raise_only_what_segments_catch(payload, flags):
    with suppress(Exception):  # segment.py turns any of them into a CorruptedError.
        _, _, keys, values = decode_leaf(payload, flags)
        assert len(keys) == len(values)


def test_a_bomb_is_refused_before_it_is_unpacked():
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 20))
    declared = bytearray(bomb)
    assert zstandard.frame_content_size(bomb) == 1 << 20
    # Declare two exbibytes: a frame header with an eight-byte content size.
    declared[4:] = bytes([0xE0]) + (1 << 61).to_bytes(8, "little") + b"rest"
    with pytest.raises(ValueError, match="sane size"):
        decode_leaf(bytes(declared), COMPRESSED)


def test_a_damaged_leaf_names_file_and_offset_and_spares_the_rest():
    disk = SimulatedDisk()
    db = embedded.open("store", files=disk, leaf_entries_max=4, flush_every_ms=None)
    for number in range(40):
        db.insert(bytes([number]), b"value %d" % number)
    db.close()
    files = disk.directory("store")
    (segment,) = [name for name in files.names() if name.startswith("segment")]
    inode = files._inode(segment)
    inode.cached[-3] ^= 1
    db = embedded.open("store", files=disk, leaf_entries_max=4, flush_every_ms=None)
    assert db.get(b"\x00") == b"value 0"
    with pytest.raises(CorruptedError) as caught:
        db.get(bytes([39]))
    assert caught.value.file == segment
    assert 0 < caught.value.offset < len(inode.cached)
    with pytest.raises(CorruptedError):
        db.insert(bytes([39]), b"new")
    assert db.sequence == 40, "a write that cannot be prepared changes nothing"
    db.insert(b"\x00", b"goes on")
    assert [key for key, _ in db.range(hi=bytes([30]))] == [bytes([n]) for n in range(30)]


def test_columns_are_not_confused_with_pairs():
    assert msgpack.unpackb(msgpack.packb([3, b"abcdef"])) == [3, b"abcdef"]
    payload, flags = encode_leaf(1, 1, [b"ab", b"abc"], [b"", b"x"], None)
    assert decode_leaf(payload, flags)[2:] == ([b"ab", b"abc"], [b"", b"x"])
