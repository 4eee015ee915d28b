"""Small files that say they are large, in a process that has not the memory to believe them."""

import multiprocessing
import resource
from pathlib import Path

import pytest
import zstandard
from hostile import BLOB_FRAME, WITH_BLOB, generation, image, use, with_blob
from targets import TARGETS, as_chunks, exported

from conduitstore.engine import embedded
from conduitstore.engine.embedded.leaf import encode_leaf
from conduitstore.kv import VALUE_BYTES_MAX

HUGE = 1 << 30
ROOM_BYTES = 400 << 20
"""Beyond what the process has already: more than ours take, much less than what bombs claim."""


def bomb(size=HUGE, begin=b""):
    """A small zstd frame that truly becomes so many bytes."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=size)
    parts, zeros = [compressor.compress(begin)], bytes(1 << 20)
    left = size - len(begin)
    while left:
        parts.append(compressor.compress(zeros[: min(left, 1 << 20)]))
        left -= min(left, 1 << 20)
    return b"".join(parts) + compressor.flush()


def leaf():
    use(image(leaf=bomb(), flags=1))


def leaf_of_empty_lists():
    use(image(leaf=bomb(1 << 24, b"\xdc\xff\xff" + b"\x90" * 65_535), flags=1))


def blob():
    """A leaf that believes in it too."""
    reference = (3, 64, BLOB_FRAME, HUGE)
    made, _ = encode_leaf(1, 3, [b"ka", b"kb"], [b"value", reference], None)
    use(with_blob(made))
    use(image(leaf=WITH_BLOB, blob=bomb(), flags=1))


def row():
    for size in (HUGE, 1 << 40, (1 << 48) - 1, VALUE_BYTES_MAX):
        rows = {1: {b"": (3, 64, size, 2, size)}}
        use(image(whole=generation(rows).encode(), log=[]))


def lengths():
    """Of msgpack: arrays, maps, bytes and text that say they are long."""
    for code in (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"):
        huge = code + b"\xff" * 4
        use(image(leaf=huge, log=[]))
        use(image(whole=huge))
        use(image(changes=huge))
        use(image(ceilings=huge))
        use(image(log=[huge, b"\x94\x03\x02\x05" + huge]))


def stream():
    packed = as_chunks(b"".join(exported().export()))
    TARGETS["chunks"].run(b"\2\1" + b"\xff\xff" + bomb()[:65_535])
    TARGETS["chunks"].run(packed + b"\2\1" + len(bomb()[:60_000]).to_bytes(2) + bomb()[:60_000])
    TARGETS["stream"].run(packed[:16] + b"\xff\xff\xff\xff\2\0\0\0" + bytes(4))


def lines():
    TARGETS["ndjson"].run(bomb())
    TARGETS["import"].run(bomb(1 << 27, b'{"pdu":' * 1_000))


def records():
    for code in (b"\xdd", b"\xdf", b"\xc6", b"\xdb"):
        TARGETS["records"].run(code + b"\xff" * 4)


def _held(run):
    """Run it with little room; what happens is told by the exit."""
    room_bytes = ROOM_BYTES + taken_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (room_bytes, room_bytes))
    run()


def taken_bytes():
    """The address space that it has inherited: threads of earlier tests have left some."""
    sizes = Path("/proc/self/statm")
    return int(sizes.read_text().split()[0]) * resource.getpagesize() if sizes.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "run", [leaf, leaf_of_empty_lists, blob, row, lengths, stream, lines, records]
)
def test_no_claim_is_believed(run, faults):
    child = multiprocessing.get_context("fork").Process(target=_held, args=(run,))
    child.start()
    child.join(120)
    assert child.exitcode == 0, "it took more memory than there was, or ended in another error"
    faults["bombs"] += 1


def test_there_is_too_little_room_for_a_bomb():
    """Else the tests above could not fail."""
    unpack = zstandard.ZstdDecompressor().decompress
    child = multiprocessing.get_context("fork").Process(
        target=_held, args=(lambda: unpack(bomb()),)
    )
    child.start()
    child.join(120)
    assert child.exitcode == 1


def test_what_is_written_is_never_taken_for_a_bomb(tmp_path):
    """Values that compress as nothing does, in leaves, in blobs and many of them."""
    settings = {"leaf_bytes_max": 1 << 24, "blob_bytes_min": 1 << 23, "flush_every_ms": None}
    with embedded.open(tmp_path / "s", **settings) as db:
        for number in range(4):
            db.insert(bytes([number]), bytes(3 << 20))
        db.insert(b"blob", bytes(12 << 20))
    with embedded.open(tmp_path / "s", **settings) as db:
        assert [len(value) for _, value in db] == [3 << 20] * 4 + [12 << 20]
        assert list(db.verify()) == []
