"""Every decoder, with real inputs to begin from; ``TARGETS[name].run(data)`` tries one input.

Whatever leaves a ``run`` is a finding: an error without a type, or an answer that is not one.
"""

import gzip
import io
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple
from zlib import crc32

import msgpack
import zstandard
from hostile import (
    BLOB,
    BLOB_FRAME,
    COMMITS,
    LEAF,
    STORE_ID,
    WITH_BLOB,
    generation,
    image,
    use,
    with_blob,
)

import conduitstore
from conduitstore.codec import keypairs, positions, records, states
from conduitstore.engine.embedded.leaf import encode_leaf
from conduitstore.engine.stream import CHUNK, CRC, STREAM_HEADER, STREAM_MAGIC
from conduitstore.errors import ConduitStoreError, CorruptedError
from conduitstore.importer import Importer, Refusal
from conduitstore.ndjson import Source, read_lines
from conduitstore.parts.backoff import Failures
from conduitstore.parts.media.previews import UrlPreview
from conduitstore.schema import TREES, decode_key, decode_value
from conduitstore.testing import MemoryDatabase


class Target(NamedTuple):
    """A decoder, and where to begin."""

    run: Callable[[bytes], object]
    seeds: list[bytes]


def typed(run):
    """``run`` with its lawful errors taken away."""

    def tried(data):
        with suppress(ConduitStoreError):
            run(data)

    return tried


# The engine's files -------------------------------------------------------------------------------


WHOLE = generation({1: {b"": (3, 64, 16 + len(LEAF), 2, 16)}}).encode()
CHANGES = generation({1: {b"": None, b"m": (3, 64, 99, 1, 5, 3, 10)}}, generation=5).encode()
REAL = image()


def packed(data):
    """With a zstd frame's flag where the first byte is odd."""
    flag = data[:1] > b"\x7f"
    return {"flags": int(flag)}, data[1:]


def leaf(data):
    more, payload = packed(data)
    use(image(leaf=payload, **more))


def blob(data):
    more, payload = packed(data)
    use(image(leaf=WITH_BLOB, blob=payload, **more))


def values_of(data):
    """msgpack values behind each other, as long as they are whole."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(data)
    try:
        yield from unpacker
    except (ValueError, TypeError, msgpack.exceptions.UnpackException):
        return


def packed_values(*values):
    return b"".join(map(msgpack.packb, values))


def row(data):
    """What a manifest says of one leaf."""
    made = generation({1: {b"": tuple(values_of(data))}})
    use(image(whole=made.encode(), log=[]))


def reference(data):
    """What a leaf says of one blob."""
    made, _ = encode_leaf(1, 3, [b"ka", b"kb"], [b"value", list(values_of(data))], None)
    use(with_blob(made))


def fields(data):
    """One field of a generation is another value."""
    name, value, *_ = [*values_of(data), None, None]
    name = name if isinstance(name, str) else "leaves"
    made = msgpack.unpackb(WHOLE, strict_map_key=False)
    use(image(whole=msgpack.packb(made | {name: value}), log=[]))


def columns(data):
    """A leaf of five parts, whatever they are."""
    made = msgpack.packb(list(values_of(data))[:5])
    for use_blob in (False, True):
        use(with_blob(made) if use_blob else image(leaf=made, log=[]))


def operation(data):
    """A commit whose operations are these."""
    use(image(log=[msgpack.packb([3, 2, 5, *list(values_of(data))])]))


def raw(name, data):
    """A whole file, checksums and all."""
    use({**REAL, name: data})


def log(data):
    """Commits behind each other, each behind its length."""
    commits, rest = [], data
    while rest and len(commits) < 5:
        size = rest[0] + 1
        commits.append(rest[1 : 1 + size])
        rest = rest[1 + size :]
    use(image(log=commits))


# Streams ------------------------------------------------------------------------------------------


def stream_of(chunks):
    """A stream whose checksums hold."""
    head = STREAM_HEADER.pack(STREAM_MAGIC, 1)
    crc = crc32(head)
    parts = [head, CRC.pack(crc)]
    for kind, flags, payload in chunks:
        head = CHUNK.pack(len(payload), kind, flags)
        crc = crc32(payload, crc32(head, crc))
        parts += [head, CRC.pack(crc), payload]
    return b"".join(parts)


def chunks(data):
    """Kind, flags, length, payload; and again."""
    found, rest = [], data
    while len(rest) > 3 and len(found) < 8:
        size = int.from_bytes(rest[2:4])
        found.append((rest[0], rest[1], rest[4 : 4 + size]))
        rest = rest[4 + size :]
    stream(stream_of(found))


def stream(data):
    db = MemoryDatabase()
    try:
        db.import_(io.BytesIO(data))
    except CorruptedError as error:
        if error.file != "stream" or not 0 <= error.offset <= len(data):
            raise AssertionError(f"no such place: {error}") from error
    except ConduitStoreError:
        pass
    else:
        again = MemoryDatabase()
        again.import_(db.export())
        assert again.checksum() == db.checksum()
        return
    assert db.tree_names() == ["__default__"], "a part of it stayed"
    assert list(db) == []


def exported():
    db = MemoryDatabase()
    db.insert(b"k", b"v" * 300)
    db.open_tree("t").insert(b"a", b"1")
    db.transaction(lambda tx: tx.next_count())
    return db


STREAM = b"".join(exported().export(compression_level=0))


def as_chunks(data):
    """The inverse of ``chunks``."""
    at, found = 16, b""
    while at < len(data):
        size, kind, flags = CHUNK.unpack_from(data, at)
        payload = data[at + 12 : at + 12 + size]
        found += bytes([kind, flags]) + len(payload).to_bytes(2) + payload
        at += 12 + size
    return found


# Codecs -------------------------------------------------------------------------------------------


NAMES = sorted(TREES)


def of_a_tree(decode, data):
    """A key or a value of the tree that the first bytes choose."""
    name = NAMES[int.from_bytes(data[:2]) % len(NAMES)]
    try:
        found = decode(name, data[2:])
    except CorruptedError as error:
        assert error.file == name  # noqa: PT017 - one of two ways to be right
    else:
        json.dumps(found, default=str)
        if decode is decode_key:
            shape = TREES[name].key
            assert shape.join(*shape.cut(data[2:])) == data[2:]


def state(data):
    diff = states.unpack_diff("t", data)
    assert states.unpack_diff("t", states.pack_diff(diff)) == diff
    states.show_diff("t", data)
    states.find_in("t", data, [1, 2, (1 << 64) - 1])
    states.parent_of("t", data)


def record(data):
    for kind in (Failures, UrlPreview):
        try:
            found = records.unpack_record("t", data, kind)
        except CorruptedError:
            continue
        assert records.unpack_record("t", records.pack_record(found), kind) == found


def keypair(data):
    found = keypairs.unpack_keypair(data)
    assert keypairs.pack_keypair(found) == data
    assert keypairs.Keypair.from_text(found.to_text()).seed == found.seed


def text(decode, data):
    decode(data.decode(errors="surrogateescape"))


PDU = {
    "type": "m.room.message", "room_id": "!r:x.org", "sender": "@a:x.org", "content": {"body": "b"},
    "origin_server_ts": 1, "event_id": "$e:x.org", "depth": 1, "prev_events": [], "auth_events": [],
}  # fmt: skip
LINES = b"\n".join(
    json.dumps(line).encode()
    for line in (
        PDU,
        {"event_id": "$f:x.org", "room_version": "1", "pdu": PDU | {"event_id": "$f:x.org"}},
        PDU | {"type": "m.room.member", "state_key": "@a:x.org", "content": {"membership": "join"}},
        PDU | {"type": "m.room.create", "state_key": "", "content": {"room_version": "10"}},
    )
)


def ndjson(data):
    for number, line in enumerate(read_lines(Source(io.BytesIO(data)), 2_000), start=1):
        assert line.number == number
        assert len(line.content) <= 2_000


def imported(data):
    store = conduitstore.Store(MemoryDatabase())
    for answer in Importer(store).run(read_lines(Source(io.BytesIO(data)))):
        assert answer is None or isinstance(answer, Refusal)


def lengths(payloads):
    return b"".join(bytes([len(one) - 1]) + one for one in payloads)


def zstd(data):
    return zstandard.ZstdCompressor().compress(data)


KEYPAIR = keypairs.Keypair.from_seed("a", bytes(32))
MANIFEST, LOG, SEGMENT = "manifest-00000004", "log-00000002", "segment-00000003"
TARGETS = {
    "leaf": Target(leaf, [b"\0" + LEAF, b"\0" + WITH_BLOB, b"\xff" + zstd(LEAF * 9)]),
    "blob": Target(blob, [b"\0" + BLOB, b"\xff" + zstd(BLOB)]),
    "generation": Target(lambda data: use(image(whole=data)), [WHOLE, CHANGES]),
    "changes": Target(lambda data: use(image(changes=data)), [CHANGES, WHOLE]),
    "row": Target(row, [packed_values(3, 64, 45, 2, 16), packed_values(3, 64, 45, 2, 16, 3, 9)]),
    "reference": Target(reference, [packed_values(3, 64, BLOB_FRAME, len(BLOB))]),
    "fields": Target(
        fields,
        [packed_values(*one) for one in msgpack.unpackb(WHOLE, strict_map_key=False).items()],
    ),
    "columns": Target(
        columns, [packed_values(*msgpack.unpackb(one)) for one in (LEAF, WITH_BLOB)]
    ),
    "operation": Target(
        operation,
        [packed_values(1, b"kc", b"3"), packed_values(2, 0, "new", 2, b"k", b"v", 1, 1, None)],
    ),
    "ceilings": Target(lambda data: use(image(ceilings=data)), [msgpack.packb([9, 9])]),
    "log": Target(log, [lengths(COMMITS), lengths(COMMITS[:1])]),
    "manifest file": Target(partial(raw, MANIFEST), [REAL[MANIFEST], image(log=[])[MANIFEST]]),
    "log file": Target(partial(raw, LOG), [REAL[LOG], image(log=[])[LOG]]),
    "segment file": Target(partial(raw, SEGMENT), [REAL[SEGMENT], image(leaf=WITH_BLOB)[SEGMENT]]),
    "stream": Target(stream, [STREAM, b"".join(exported().export())]),
    "chunks": Target(chunks, [as_chunks(STREAM)]),
    "keys": Target(partial(of_a_tree, decode_key), [b"\0\1!room\xff@user\xff" + bytes(8)]),
    "values": Target(partial(of_a_tree, decode_value), [b"\0\2" + bytes(8), b"\0\3{}", STORE_ID]),
    "states": Target(
        typed(state), [bytes(8) + b"k" * 32, b"parent__" + b"k" * 16 + bytes(8) + b"r" * 16]
    ),
    "records": Target(record, [records.pack_record(Failures(total=1, last_ms=2))]),
    "keypair": Target(typed(keypair), [keypairs.pack_keypair(KEYPAIR)]),
    "key text": Target(
        typed(partial(text, keypairs.Keypair.from_text)), [KEYPAIR.to_text().encode()]
    ),
    "token": Target(typed(partial(text, positions.parse_token)), [b"t12", b"-3"]),
    "ndjson": Target(ndjson, [LINES, gzip.compress(LINES), zstd(LINES)]),
    "import": Target(imported, [LINES, zstd(LINES)]),
}  # fmt: skip
