"""Records keep what they do not know and refuse what they do."""

from dataclasses import dataclass, replace
from typing import NewType

import msgpack
import pytest

from conduitstore.codec.records import Record, pack_record, unpack_record
from conduitstore.errors import CorruptedError, InvalidArgumentError

Name = NewType("Name", str)


@dataclass(frozen=True, kw_only=True)
class Flag(Record):
    by: Name
    when_ms: int
    tags: list[str] | None = None


FLAG = Flag(by=Name("@a:x"), when_ms=5)


@pytest.mark.parametrize("flag", [FLAG, replace(FLAG, tags=["a"])])
def test_a_record_comes_back_equal(flag):
    assert unpack_record("t", pack_record(flag), Flag) == flag


def test_fields_of_a_newer_version_survive_a_change():
    stored = msgpack.packb({"by": "@a:x", "when_ms": 5, "colour": "red"})
    found = unpack_record("t", stored, Flag)
    again = msgpack.unpackb(pack_record(replace(found, when_ms=6)))
    assert again == {"by": "@a:x", "when_ms": 6, "colour": "red", "tags": None}


@pytest.mark.parametrize(
    "changes", [{"by": 5}, {"when_ms": True}, {"when_ms": "5"}, {"tags": "a"}, {"when_ms": 1 << 64}]
)
def test_wrong_values_are_not_written(changes):
    with pytest.raises(InvalidArgumentError):
        pack_record(replace(FLAG, **changes))


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\xc1",
        b"\x81",
        msgpack.packb([1]),
        msgpack.packb({1: 2}),
        msgpack.packb({"by": "@a:x"}),
        msgpack.packb({"by": "@a:x", "when_ms": None}),
        pack_record(FLAG) + b"x",
        msgpack.packb({"by": "@a:x", "when_ms": 5, "tags": {}}),
    ],
)
def test_damaged_rows_name_their_tree(stored):
    with pytest.raises(CorruptedError, match="mytree"):
        unpack_record("mytree", stored, Flag)
