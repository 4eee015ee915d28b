"""The bytes of every file kind, as docs/format draws them."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduitstore.engine.embedded import format as f
from conduitstore.engine.embedded import names
from conduitstore.errors import CorruptedError, UnsupportedFormatError

HEADER = f.Header(b"L", bytes(range(16)), 0x2A, 7)


def test_a_header_is_as_drawn():
    data = HEADER.encode()
    assert len(data) == 64
    assert data[:8] == b"\x89CONDUIT"
    assert data[8:10] == b"L\0"
    assert data[10:12] == b"\x01\x00"
    assert data[12:24] == bytes(12)
    assert data[24:40] == bytes(range(16))
    assert data[40:48] == b"\x2a" + bytes(7)
    assert data[48:56] == b"\x07" + bytes(7)
    assert data[56:60] == bytes(4)
    assert data[60:] == zlib.crc32(data[:60]).to_bytes(4, "little")
    assert f.decode_header(data, "log-1", b"L") == HEADER


def test_a_frame_is_as_drawn():
    seed = HEADER.seed
    assert seed == zlib.crc32(HEADER.encode()[:60])
    frame = f.encode_frame(seed, 0x1_0000_0042, f.FrameKind.COMMIT, b"payload", f.COMPRESSED)
    assert frame[:4] == b"\xf7CSf"
    assert frame[4:8] == b"\x07\0\0\0"
    assert frame[8:12] == b"\x01\x01\0\0"
    checksum = zlib.crc32(b"payload", zlib.crc32(frame[:12], seed ^ 0x42 ^ 0x1))
    assert frame[12:16] == checksum.to_bytes(4, "little")
    assert frame[16:] == b"payload"
    found = f.decode_frame(b"xx" + frame, 2, seed, 0x1_0000_0040)
    assert found == f.Frame(0x1_0000_0042, 1, 1, b"payload")


@pytest.mark.parametrize("at", range(64))
def test_a_flipped_bit_of_a_header_is_found(at):
    data = bytearray(HEADER.encode())
    data[at] ^= 0x10
    with pytest.raises(CorruptedError, match="log-1"):
        f.decode_header(bytes(data), "log-1", b"L")


@pytest.mark.parametrize("at", range(23))
def test_a_flipped_bit_of_a_frame_is_found(at):
    data = bytearray(f.encode_frame(HEADER.seed, 0, f.FrameKind.COMMIT, b"payload"))
    data[at] ^= 0x10
    assert f.decode_frame(bytes(data), 0, HEADER.seed) is None


def test_a_frame_of_another_file_does_not_verify():
    frame = f.encode_frame(HEADER.seed, 0, f.FrameKind.COMMIT, b"payload")
    assert f.decode_frame(frame, 0, HEADER._replace(number=43).seed) is None


@pytest.mark.parametrize("place", [65, 128, 1 << 20, (1 << 32) + 64, (1 << 40) + 64])
@pytest.mark.parametrize("kind", f.FrameKind)
def test_a_frame_of_another_place_does_not_verify(kind, place):
    frame = f.encode_frame(HEADER.seed, 64, kind, b"payload")
    assert f.decode_frame(frame, 0, HEADER.seed, 64) == f.Frame(64, kind, 0, b"payload")
    assert f.decode_frame(frame, 0, HEADER.seed, place) is None


@pytest.mark.parametrize(("field", "at"), [("version", 10), ("refuse", 12)])
def test_a_newer_format_is_told_from_damage(field, at):
    data = bytearray(HEADER.encode()[:60])
    data[at] = 9
    data += zlib.crc32(data).to_bytes(4, "little")
    with pytest.raises(UnsupportedFormatError, match="format version"):
        f.decode_header(bytes(data), "log-1", b"L")


@pytest.mark.parametrize(("field", "at"), [("read_only_flags", 16), ("ignore_flags", 20)])
def test_flags_that_do_not_refuse_are_known_to_the_checksums(field, at):
    data = bytearray(HEADER.encode()[:60])
    data[at] = 9
    data += zlib.crc32(data).to_bytes(4, "little")
    found = f.decode_header(bytes(data), "log-1", b"L")
    assert found == HEADER._replace(**{field: 9})
    assert found.encode() == data, "the seed is that of the bytes in the file"


@given(st.lists(st.binary(max_size=60), max_size=5), st.integers(0, 400), st.binary(max_size=40))
def test_frames_stop_at_damage_and_those_behind_it_are_found(payloads, at, rubbish):
    data = bytearray(HEADER.encode())
    offsets = []
    for payload in payloads:
        offsets.append(len(data))
        data += f.encode_frame(HEADER.seed, len(data), f.FrameKind.COMMIT, payload)
    whole = bytes(data)
    assert [frame.payload for frame in f.frames(whole, HEADER.seed)] == payloads
    at += 64
    damaged = whole[:at] + rubbish + whole[at + len(rubbish) :]
    found = list(f.frames(damaged, HEADER.seed))
    end = found[-1].end if found else 64
    behind = [frame.offset for frame in f.frames_behind(damaged, end, HEADER.seed)]
    untouched = [
        offset
        for offset, payload in zip(offsets, payloads, strict=True)
        if damaged[offset : offset + 16 + len(payload)]
        == whole[offset : offset + 16 + len(payload)]
    ]
    assert {frame.offset for frame in found} | set(behind) >= set(untouched)


@given(st.sampled_from((names.LOG, names.SEGMENT, names.MANIFEST)), st.integers(0, 2**64 - 1))
def test_names_are_parsed_back(kind, number):
    assert names.parse(names.numbered(kind, number)) == (kind, number)
    assert names.is_leftover(names.numbered(kind, number) + names.NEW)


@pytest.mark.parametrize("name", ["log-1", "log-0000000G", "log-0000000001", "LOG-00000001", "x"])
def test_other_names_are_none_of_ours(name):
    assert names.parse(name) is None
    assert not names.is_ours(name)
