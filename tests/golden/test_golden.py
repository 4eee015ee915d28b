"""Stores of every released format, opened for ever; and what the flags of a header do."""

import json
import shutil
from pathlib import Path

import pytest

from conduitstore.engine import embedded
from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.files import OsDirectory
from conduitstore.engine.embedded.format import (
    CRC,
    FORMAT_VERSION,
    FRAME_BYTES,
    HEADER,
    HEADER_BYTES,
    FrameKind,
    crc32,
    encode_frame,
)
from conduitstore.engine.embedded.pieces import ignore, pieces
from conduitstore.errors import InvalidArgumentError, UnsupportedFormatError

GOLDEN = Path(__file__).parent
VERSIONS = sorted(path.name for path in GOLDEN.glob("v*"))
STORES = [(version, name) for version in VERSIONS for name in ("clean", "unclean", "backup")]


def expected(version, name):
    return json.loads((GOLDEN / version / "expected.json").read_text())[name]


@pytest.fixture(params=STORES, ids="-".join)
def golden(request, tmp_path):
    """A copy of one golden store, and what is in it."""
    version, name = request.param
    path = shutil.copytree(GOLDEN / version / name, tmp_path / name)
    return path, name, expected(version, name)


def test_this_version_has_its_golden_stores():
    assert f"v{FORMAT_VERSION}" in VERSIONS


def test_a_golden_store_is_whole(golden):
    path, _, _ = golden
    assert list(embedded.verify(path)) == []


def test_a_golden_store_opens_with_everything_in_it(golden):
    path, name, held = golden
    with embedded.open(path) as db:
        assert {tree: len(db.open_tree(tree)) for tree in db.tree_names()} == held["trees"]
        assert db.checksum() == held["checksum"]
        assert db.recovery_report.sequence == held["sequence"]
        assert db.was_recovered == (name == "unclean")
        assert db.recovery_report.was_backup == (name == "backup")
        if name == "clean":
            assert (db.current_count(), db.generate_id()) == (held["count"], held["next_id"])
        else:
            assert db.current_count() > held["count"]
            assert db.generate_id() > held["next_id"]
        assert list(db.verify()) == []
        db.insert(b"goes", b"on")
    with embedded.open(path) as db:
        assert db.get(b"goes") == b"on"


def test_a_golden_store_holds_leaves_of_both_kinds_and_commits():
    kinds = set()
    path = GOLDEN / f"v{FORMAT_VERSION}" / "unclean"
    for file in path.iterdir():
        data = file.read_bytes()
        if names.parse(file.name) is None:
            continue
        seed = crc32(data[: HEADER.size])
        for frame in pieces(OsDirectory(str(path)).open(file.name), len(data), seed, ignore):
            kinds.add((frame.kind, frame.flags))
    assert {(FrameKind.LEAF, 0), (FrameKind.LEAF, 1), (FrameKind.COMMIT, 0)} <= kinds
    assert FrameKind.BLOB in {kind for kind, _ in kinds}


# Flags --------------------------------------------------------------------------------------------


def set_flags(path, refuse=0, read_only=0, ignored=0):
    """What a later release might write: new headers, and frames whose checksums follow them."""
    for file in path.iterdir():
        if names.parse(file.name) is None:
            continue
        data = file.read_bytes()
        fields = list(HEADER.unpack_from(data))
        fields[3:6] = refuse, read_only, ignored
        head = HEADER.pack(*fields)
        seed, out = crc32(head), [head + CRC.pack(crc32(head))]
        opened = OsDirectory(str(path)).open(file.name)
        for frame in pieces(opened, len(data), crc32(data[: HEADER.size]), ignore):
            out.append(encode_frame(seed, frame.offset, frame.kind, frame.payload, frame.flags))
            assert len(out[-1]) == FRAME_BYTES + len(frame.payload)
        assert len(out[0]) == HEADER_BYTES
        file.write_bytes(b"".join(out))


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_a_refuse_flag_keeps_everybody_out(golden):
    path, _, _ = golden
    set_flags(path, refuse=1 << 5)
    before = contents(path)
    for call in (
        lambda: embedded.open(path),
        lambda: embedded.open(path, read_only=True),
        lambda: list(embedded.verify(path)),
        lambda: embedded.repair(path),
        lambda: embedded.restore(path, path.with_name("restored")),
    ):
        with pytest.raises(UnsupportedFormatError, match="the release that wrote it"):
            call()
    assert contents(path) == before


def test_a_read_only_flag_keeps_writers_out(golden):
    path, _, held = golden
    set_flags(path, read_only=1 << 31)
    before = contents(path)
    for call in (
        lambda: embedded.open(path),
        lambda: embedded.repair(path),
        lambda: embedded.restore(path, path.with_name("restored")),
    ):
        with pytest.raises(UnsupportedFormatError, match="may only be read"):
            call()
    assert contents(path) == before
    with embedded.open(path, read_only=True) as db:
        assert db.checksum() == held["checksum"]
        with pytest.raises(InvalidArgumentError, match="reading only"):
            db.insert(b"a", b"1")
    assert contents(path) == before


def test_an_ignore_flag_changes_nothing(golden):
    path, _, held = golden
    set_flags(path, ignored=1 << 7)
    assert list(embedded.verify(path)) == []
    with embedded.open(path) as db:
        assert db.checksum() == held["checksum"]
        db.insert(b"goes", b"on")
        assert list(db.verify()) == []
    with embedded.open(path) as db:
        assert db.get(b"goes") == b"on"
