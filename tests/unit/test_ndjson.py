import gzip
import io
import tracemalloc
import zlib

import pytest
import zstandard

from conduitstore.ndjson import LINE_BYTES_MAX, Line, Source, read_lines

PACKINGS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "zstd without size": lambda text: b"".join(
        [(z := zstandard.ZstdCompressor().compressobj()).compress(text), z.flush()]
    ),
}


def lines(packed, **limits):
    return list(read_lines(Source(io.BytesIO(packed)), **limits))


@pytest.mark.parametrize("pack", PACKINGS.values(), ids=PACKINGS)
def test_lines_are_numbered_from_one_whatever_the_packing(pack):
    text = "eins\r\n\nzwei ☕\nthe last has no end".encode()
    assert lines(pack(text)) == [
        Line(1, b"eins"),
        Line(2, b""),
        Line(3, "zwei ☕".encode()),
        Line(4, b"the last has no end"),
    ]


@pytest.mark.parametrize("pack", PACKINGS.values(), ids=PACKINGS)
def test_packed_parts_one_after_the_other_are_one_stream(pack):
    assert lines(pack(b"one\ntw") + pack(b"o\n")) == [Line(1, b"one"), Line(2, b"two")]


@pytest.mark.parametrize("content", [b"", b"{", b"\x1f", b"\n"])
def test_streams_shorter_than_any_magic_are_plain(content):
    assert [line.content for line in lines(content)] == content.splitlines()


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_line_of_the_greatest_length_goes_in_and_one_byte_more_does_not(end):
    fits, too_long, after = b"x" * 10, b"x" * 11, b"after"
    first, second = lines(fits + (end or b"\n") + too_long + end, line_bytes_max=10)
    assert first == Line(1, fits)
    assert second.number == 2
    assert second.fault == "over-long line: more than 10 bytes"
    skipped = lines(too_long * 5_000 + (end or b"\n") + after, line_bytes_max=10)
    assert skipped[1:] == [Line(2, after)]


def test_lines_go_on_after_an_over_long_one_in_a_packed_stream():
    text = b"a\n" + b"x" * (LINE_BYTES_MAX * 3) + b"\nb\n"
    for pack in PACKINGS.values():
        found = lines(pack(text))
        assert [(line.number, line.content, bool(line.fault)) for line in found] == [
            (1, b"a", False),
            (2, b"", True),
            (3, b"b", False),
        ]


@pytest.mark.parametrize("name", ["gzip", "zstd", "zstd without size"])
def test_a_cut_stream_gives_what_came_before_and_one_fault(name):
    packed = PACKINGS[name](b"".join(b"line %d\n" % n for n in range(20_000)))
    found = lines(packed[:-3])
    assert found[-1].fault.startswith("damaged stream: ")
    assert all(line.fault is None for line in found[:-1])
    assert found[-1].number == len(found)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_flipped_byte_is_one_fault_and_nothing_raises(name):
    packed = PACKINGS[name](bytes(range(33, 127)) * 50)
    for offset in range(4, len(packed)):
        spoiled = bytearray(packed)
        spoiled[offset] ^= 0x55
        assert sum(line.fault is not None for line in lines(bytes(spoiled))) <= 1


def test_a_pipe_that_gives_a_byte_at_a_time_is_read_like_a_file():
    class Drop(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 1))

    packed = PACKINGS["gzip"](b"one\ntwo\n")
    assert [line.content for line in read_lines(Source(Drop(packed)))] == [b"one", b"two"]


def test_what_was_consumed_is_counted_in_bytes_of_the_source():
    packed = PACKINGS["zstd"](b"one\ntwo\n" * 1_000)
    source = Source(io.BytesIO(packed))
    assert len(list(read_lines(source))) == 2_000
    assert source.consumed_bytes == len(packed)


@pytest.mark.parametrize("name", ["gzip", "zstd without size"])
def test_a_bomb_is_unpacked_in_bounded_memory(name):
    compressor = (
        zlib.compressobj(9, wbits=31)
        if name == "gzip"
        else zstandard.ZstdCompressor().compressobj()
    )
    step = bytes(16 * 1024 * 1024)
    bomb = b"".join([*(compressor.compress(step) for _ in range(16)), compressor.flush()])
    tracemalloc.start()
    (only,) = lines(bomb)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert only.fault is not None
    assert peak_bytes < 2 * len(step)


def test_a_full_line_with_more_behind_its_carriage_returns_is_over_long():
    lines = list(read_lines(Source(io.BytesIO(b"12345678\r\rrest\nnext\n")), line_bytes_max=8))
    assert [(line.number, line.content, bool(line.fault)) for line in lines] == [
        (1, b"", True),
        (2, b"next", False),
    ]
    full = list(read_lines(Source(io.BytesIO(b"12345678\r\n12345678")), line_bytes_max=8))
    assert [line.content for line in full] == [b"12345678", b"12345678"]


def test_zstd_may_begin_with_a_frame_to_skip():
    skipped = b"\x5a\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"\n{}\n"
    frame = zstandard.compress(b"one\ntwo\n")
    lines = list(read_lines(Source(io.BytesIO(skipped + frame + skipped + frame))))
    assert [line.content for line in lines] == [b"one", b"two"] * 2
